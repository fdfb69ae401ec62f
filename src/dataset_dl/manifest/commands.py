"""Manifests of s5cmd commands, as the IDC portal and idc-index write them and as people change them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from dataset_dl.errors import ManifestError
from dataset_dl.layout import check_directory

if TYPE_CHECKING:
    from dataset_dl.manifest.contents import Line

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.dcm")
_SHOWN_AT_MOST = 5
# What may stand before an address: the words of a call of s5cmd that copies.
_COPYING = {"s5cmd", "run", "cp", "sync"}
_OTHER_COMMANDS = {"rm", "mv", "ls", "cat", "du", "mb", "rb", "head", "select", "pipe", "presign"}


class Entry(NamedTuple):
    """A series named by a manifest, or files of one.

    The directory is None where the layout decides; `files` as in `PlannedSeries`.
    """

    line: int
    crdc_series_uuid: str
    directory: str | None
    files: str | None = None


class WrongLine(NamedTuple):
    """A line that cannot be used, and why."""

    number: int
    text: str
    reason: str


def entries(lines: Sequence[Line], name: str) -> tuple[Entry, ...]:
    """What lines copy: series, or files of them.

    Raises
    ------
    ManifestError
        If a line copies something else; the first wrong lines are named, each with its reason.
    """
    found: list[Entry] = []
    wrong: list[WrongLine] = []
    for number, text in lines:
        try:
            found.append(_entry(number, text))
        except ValueError as error:
            wrong.append(WrongLine(number, text, str(error)))
    if wrong:
        raise wrong_lines(name, wrong)
    return tuple(found)


def wrong_lines(name: str, wrong: Sequence[WrongLine]) -> ManifestError:
    """What is wrong with some lines of a manifest, as one error."""
    sentences = []
    for number, text, reason in wrong[:_SHOWN_AT_MOST]:
        shown = text if len(text) <= 120 else text[:117] + "…"
        sentences.append(f"Line {number} of {name} is wrong: {reason} (“{shown}”).")
    if len(wrong) > _SHOWN_AT_MOST:
        sentences.append(f"{len(wrong) - _SHOWN_AT_MOST:,} more lines are wrong.")
    return ManifestError(name, " ".join(sentences), "Nothing was started.", wrong[0].number)


def _entry(number: int, line: str) -> Entry:
    """Raises ValueError with the reason if the line names no series, or leads out of the destination."""
    try:
        words = shlex.split(line)
    except ValueError:
        raise ValueError("a quotation mark is left open") from None
    place = next((index for index, word in enumerate(words) if _is_object_url(word)), None)
    if place is None or _OTHER_COMMANDS.intersection(words[:place]):
        raise ValueError("it does not copy from an s3:// or gs:// address")
    after = [word for word in words[place + 1 :] if not word.startswith("--")]
    if len(after) > 1 or (place > 0 and not _COPYING.intersection(words[:place])):
        raise ValueError("it is not “cp s3://BUCKET/SERIES/* DIRECTORY”")
    uuid, _, objects = urlsplit(words[place]).path.strip("/").partition("/")
    uuid = uuid.lower()
    is_file = _FILE.fullmatch(objects) is not None
    if not _UUID.fullmatch(uuid) or not (is_file or objects in ("", "*")):
        raise ValueError("it does not name a series of IDC (BUCKET/SERIES/*) or a file of one")
    target = after[0] if after else "."
    directory = target.removeprefix("./").rstrip("/")
    if is_file and directory.endswith(".dcm"):
        raise ValueError("it gives the file another name, and files keep theirs; name its directory")
    files = f"{objects}:" if is_file else None
    if directory in ("", "."):
        return Entry(number, uuid, "" if target == "./" else None, files)
    if problem := check_directory(directory):
        raise ValueError(f"its directory is refused because {problem}")
    return Entry(number, uuid, directory, files)


def _is_object_url(word: str) -> bool:
    return re.match(r"(s3|gs)://[^/]", word, re.IGNORECASE) is not None
