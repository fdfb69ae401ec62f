"""What archives answered for each instance, by the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.ledger import Entry, entries


class Standing(NamedTuple):
    """An instance and the last answer for it."""

    SOPInstanceUID: str
    state: str
    direction: str
    node: str
    answer: str
    SeriesInstanceUID: str
    StudyInstanceUID: str
    at: str


def standings(folder: Path, node: str | None = None) -> Iterator[Standing]:
    """Yield the last answer for each instance."""
    latest: dict[tuple[str, str, str], Entry] = {}
    for each in entries(folder):
        if node in (None, each.node):
            key = each.direction, each.node, each.SOPInstanceUID
            if key not in latest or latest[key].at <= each.at:
                latest[key] = each
    for each in sorted(latest.values(), key=lambda entry: entry.at):
        answer = Answer(each.status, each.words)
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
        yield Standing(
            each.SOPInstanceUID, state_of(answer), each.direction, each.node,
            "" if each.status == 0 else str(answer), each.SeriesInstanceUID, each.StudyInstanceUID, at,
        )  # fmt: skip


def state_of(answer: Answer) -> str:
    """Return the state of an instance: ``stored``, ``warning`` or ``failed``."""
    if answer.is_warning:
        return "warning"
    return "stored" if answer.is_stored else "failed"
