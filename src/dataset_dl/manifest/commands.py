"""Manifests of s5cmd commands, as the IDC portal and idc-index write them and users edit them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dataset_dl.manifest.entry import Entry, Line, WrongLine, wrong_lines
from dataset_dl.plans.names import check_directory

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.dcm")
_ADDRESS = re.compile(
    r"""(?:^|(?<=\s)|(?P<mark>["']))(?P<address>(?:s3|gs)://[^/\s"'][^\s"']*)""", re.IGNORECASE
)
# Words of an s5cmd copy command that may precede an address.
_COPYING = {"s5cmd", "run", "cp", "sync"}
_OTHER_COMMANDS = {"rm", "mv", "ls", "cat", "du", "mb", "rb", "head", "select", "pipe", "presign"}
_PLACES_HINT = "--layout overrides all directories of a manifest; a line may also name the destination."
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|~")


@dataclass(frozen=True, slots=True)
class Places:
    """How to interpret the directories and buckets in a manifest.

    Attributes
    ----------
    destination
        Where the download goes: a line with exactly this directory counts as a line without one.
    ignored
        Whether a layout overrides the directories in the lines.
    buckets
        Lines with other buckets name nothing; None if every bucket is accepted.
    """

    destination: Path | None = None
    ignored: bool = False
    buckets: frozenset[str] | None = None


def entries(lines: Iterable[Line], name: str, places: Places = Places()) -> tuple[Entry, ...]:
    """The series, or files of them, that the lines copy.

    Raises
    ------
    ManifestError
        If a line copies something else; the message lists the first wrong lines, each with its reason.
    """
    found: list[Entry] = []
    wrong: list[WrongLine] = []
    for number, text in lines:
        try:
            found.append(_entry(number, text, places))
        except ValueError as error:
            wrong.append(WrongLine(number, text, str(error)))
    if wrong:
        has_places = any("its directory" in each.reason for each in wrong)
        raise wrong_lines(name, wrong, _PLACES_HINT if has_places else "")
    return tuple(found)


def copies(text: str) -> bool:
    """Whether a line begins like a copy command."""
    return text.split(maxsplit=1)[0].lower() in _COPYING


def buckets(lines: Iterable[Line]) -> Iterable[str]:
    """The bucket of each line, in order, with repetitions."""
    return (urlsplit(match["address"]).netloc for _, text in lines if (match := _ADDRESS.search(text)))


def foreign(lines: Iterable[Line], places: Places) -> list[Line]:
    """The lines whose bucket is not accepted."""
    if places.buckets is None:
        return []
    return [line for line in lines if not {*buckets([line])} <= places.buckets]


def _entry(number: int, line: str, places: Places) -> Entry:
    """Parse a line; raise ValueError with the reason if it names no series or leaves the destination."""
    match = _ADDRESS.search(line)
    before = line[: match.start()].split() if match else []
    if match is None or _OTHER_COMMANDS.intersection(before):
        raise ValueError("it does not copy from an s3:// or gs:// address")
    if before and not _COPYING.intersection(before):
        raise ValueError("it is not “cp s3://BUCKET/SERIES/* DIRECTORY”")
    uuid, _, objects = urlsplit(match["address"]).path.strip("/").partition("/")
    uuid = uuid.lower()
    is_file = _FILE.fullmatch(objects) is not None
    if not _UUID.fullmatch(uuid) or not (is_file or objects in ("", "*")):
        raise ValueError("it does not name a series of IDC (BUCKET/SERIES/*) or a file of one")
    files = f"{objects}:" if is_file else None
    if places.ignored:
        return Entry(number, uuid, None, files)
    rest = line[match.end() :]
    mark = match["mark"] or ""
    if not rest.startswith(mark):
        raise ValueError("a quotation mark is left open")
    words = [word for word in _words(rest.removeprefix(mark)) if not word.startswith("--")]
    target = " ".join(words) or "."
    if places.destination is not None and _ABSOLUTE.match(target) and _is_same(target, places.destination):
        return Entry(number, uuid, None, files)
    if _ABSOLUTE.match(target):
        raise ValueError("its directory leaves the destination")
    if len(words) > 1:
        raise ValueError("it is not “cp s3://BUCKET/SERIES/* DIRECTORY”; its directory may need quotes")
    if is_file and target.endswith(".dcm"):
        folder, _, new_name = target.rpartition("/")
        if new_name != objects:
            raise ValueError("it gives the file another name, but files keep theirs; name its directory")
        target = folder or "."
    directory = target.removeprefix("./").rstrip("/")
    if directory in ("", "."):
        return Entry(number, uuid, "" if target == "./" else None, files)
    if problem := check_directory(directory):
        raise ValueError(f"its directory is refused because {problem}")
    return Entry(number, uuid, directory, files)


def _words(text: str) -> list[str]:
    """Split a text into words like a shell, up to a comment."""
    try:
        return shlex.split(_without_comment(text) if "#" in text else text)
    except ValueError:
        raise ValueError("a quotation mark in its directory is left open") from None


def _without_comment(text: str) -> str:
    """The text before a ``#`` that begins a word outside of quotes."""
    quote, before = "", " "
    for place, each in enumerate(text):
        if quote:
            quote = "" if each == quote else quote
        elif each in "'\"":
            quote = each
        elif each == "#" and before.isspace():
            return text[:place]
        before = each
    return text


def _is_same(directory: str, destination: Path) -> bool:
    if directory.startswith("~"):
        directory = os.path.expanduser(directory)  # noqa: PTH111 (pathlib's raises for an unknown user)
    return os.path.normpath(directory) == str(destination)
