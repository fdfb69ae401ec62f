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
_SHOWN_AT_MOST = 5
# What may stand before an address: the words of a call of s5cmd that copies.
_COPYING = {"s5cmd", "run", "cp", "sync"}
_OTHER_COMMANDS = {"rm", "mv", "ls", "cat", "du", "mb", "rb", "head", "select", "pipe", "presign"}


class Entry(NamedTuple):
    """One series named by a manifest; the directory is None where the layout decides."""

    line: int
    crdc_series_uuid: str
    directory: str | None


class WrongLine(NamedTuple):
    """A line that cannot be used, and why."""

    number: int
    text: str
    reason: str


def entries(lines: Sequence[Line], name: str) -> tuple[Entry, ...]:
    """The series that lines copy.

    Raises
    ------
    ManifestError
        If a line does not copy a whole series; the first wrong lines are named, each with its reason.
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
    if not _UUID.fullmatch(uuid) or objects not in ("", "*"):
        raise ValueError("it does not name a whole series of IDC (BUCKET/SERIES/*)")
    target = after[0] if after else "."
    directory = target.removeprefix("./").rstrip("/")
    if directory in ("", "."):
        return Entry(number, uuid, "" if target == "./" else None)
    if problem := check_directory(directory):
        raise ValueError(f"its directory is refused because {problem}")
    return Entry(number, uuid, directory)


def _is_object_url(word: str) -> bool:
    return re.match(r"(s3|gs)://[^/]", word, re.IGNORECASE) is not None
