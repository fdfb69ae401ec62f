"""The parts of a manifest: its lines, the series in them, and the lines that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dataset_dl.errors import ManifestError
from dataset_dl.wording import shortened

_SHOWN_AT_MOST = 5
_SHOWN_CHARACTERS = 120


class Line(NamedTuple):
    """A line that is neither empty nor a comment, and its number from 1."""

    number: int
    text: str


class Entry(NamedTuple):
    """A series named by a manifest, or files of one.

    The directory is None if the layout decides; `files` is as in `PlannedSeries`.
    """

    line: int
    key: str
    directory: str | None
    files: str | None = None


class WrongLine(NamedTuple):
    """A line that cannot be used, and why."""

    number: int
    text: str
    reason: str


def wrong_lines(name: str, wrong: Sequence[WrongLine], hint: str = "") -> ManifestError:
    """One error that lists the wrong lines of a manifest."""
    sentences = [
        f"Line {number} of {name} is wrong: {reason} (“{shortened(text, _SHOWN_CHARACTERS)}”)."
        for number, text, reason in wrong[:_SHOWN_AT_MOST]
    ]
    if len(wrong) > _SHOWN_AT_MOST:
        sentences.append(f"{len(wrong) - _SHOWN_AT_MOST:,} more lines are wrong.")
    return ManifestError(name, " ".join(sentences), f"Nothing was started. {hint}".strip(), wrong[0].number)
