"""What a manifest consists of: its lines, the series that they name, and what is wrong with them."""

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

    The directory is None where the layout decides; `files` as in `PlannedSeries`.
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
    """What is wrong with some lines of a manifest, as one error."""
    sentences = [
        f"Line {number} of {name} is wrong: {reason} (“{shortened(text, _SHOWN_CHARACTERS)}”)."
        for number, text, reason in wrong[:_SHOWN_AT_MOST]
    ]
    if len(wrong) > _SHOWN_AT_MOST:
        sentences.append(f"{len(wrong) - _SHOWN_AT_MOST:,} more lines are wrong.")
    return ManifestError(name, " ".join(sentences), f"Nothing was started. {hint}".strip(), wrong[0].number)
