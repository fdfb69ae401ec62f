"""What a delivery to XNAT would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.destination.records import kept_plan
from dataset_dl.errors import ManifestError
from dataset_dl.model.series import PlannedSeries
from dataset_dl.wording import size
from dataset_dl.xnat.consumer import make
from dataset_dl.xnat.standing import OF_ZIPS, standings

COLUMNS = ("subject", "session", "series", "confirmed", "instances", "size", "XNAT has it in")


def rehearse(directory: Path, consumer: str, zips: str | None) -> list[tuple[Any, ...]]:
    """Log in, and return what would become of each session; see `COLUMNS`.

    Parameters
    ----------
    directory
        Where the series are.
    consumer
        The consumer with its options.
    zips
        The address of the directory if it is a tree of zips.

    Raises
    ------
    ManifestError
        If no download went there.
    SelectionError
        If the request is wrong, the account is refused, or the project does not exist and is not to be made.
    NetworkError
        If the server does not answer.
    """
    made = make(ConsumerRequest.of(consumer, disk.absolute(directory)))
    rows = _rows(directory, zips)
    sessions: dict[str, list[PlannedSeries]] = {}
    for row in rows:
        sessions.setdefault(made.group(row), []).append(row)
    made.check()
    try:
        archived = {each.label for each in made.xnat.archived()} if made.has_project else set()
        waiting = {each.label for each in made.xnat.prearchived()} if made.has_project else set()
    finally:
        made.xnat.close()
    has_records = kept_plan(directory / OF_ZIPS if zips else directory, checked=False) is not None
    done = {
        each.SeriesInstanceUID
        for each in (standings(directory) if has_records else ())
        if each.project == str(made.project) and each.state in ("confirmed", "skipped")
    }
    return [
        (
            made.labels.subject_of(several[0]), label, len(several),
            sum(row.SeriesInstanceUID in done for row in several),
            sum(row.expected_instances for row in several), size(sum(row.expected_bytes for row in several)),
            "the archive" if label in archived else "the prearchive" if label in waiting else "",
        )
        for label, several in sessions.items()
    ]  # fmt: skip


def _rows(directory: Path, zips: str | None) -> Iterable[PlannedSeries]:
    if zips is not None:
        from dataset_dl.verbs.plan import plan

        return plan(zips)
    kept = kept_plan(directory)
    if kept is None:
        raise ManifestError(
            str(directory), f"No download went to {directory}, and it is no tree of zips; nothing was sent."
        )
    return kept
