"""Deliver what a destination has to consumers, each series once: receipts prevent repetition."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dataset_dl.destination import disk, paths
from dataset_dl.destination.records import Records
from dataset_dl.destination.tree import Found, agrees, instance_paths, look, look_at
from dataset_dl.errors import ManifestError
from dataset_dl.model.events import (
    Delivered,
    DeliveryFailed,
    DeliveryStarted,
    Event,
    SeriesDelivered,
    Working,
)
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.plans.file import PlanFile
from dataset_dl.transfer.budget import MOST_SERIES, Budget
from dataset_dl.transfer.courier import Courier
from dataset_dl.transfer.handing import Hand


def deliver(
    destination: Path,
    hands: Sequence[Hand],
    *,
    rows: PlanFile | None = None,
    evict: bool = False,
    retries: int = DownloadSettings.retries,
    part: str = "",
    run_id: str = "",
    pause_seconds: float = 1.0,
) -> Iterator[Event]:
    """Deliver every complete series of a destination to consumers, unless it has a receipt.

    Parameters
    ----------
    destination
        The directory of a download; it stays locked meanwhile.
    hands
        The consumers. An exception in one fails only that series.
    rows
        Only these series; all that were downloaded there if None.
    evict, retries, part, run_id, pause_seconds
        As for `transfer`.

    Yields
    ------
    Event
        A `SeriesDelivered` or a `DeliveryFailed` for each complete series and consumer; the last one is
        `Delivered`.

    Raises
    ------
    ManifestError
        If no download went there.
    StorageError
        If another writer holds the destination, a receipt cannot be written, or a consumer has no room.
    """
    events = _events(destination, hands, rows, evict, retries, part, run_id, pause_seconds)
    for event in _with_progress(events, len(hands)):
        msgspec.structs.force_setattr(event, "run_id", run_id)
        yield event


def _with_progress(events: Iterator[Event], consumers: int) -> Iterator[Event]:
    """Add how much has been handed over."""
    total = done = 0
    for event in events:
        yield event
        if isinstance(event, DeliveryStarted):
            total = event.series_count * consumers
        elif isinstance(event, (SeriesDelivered, DeliveryFailed)):
            done += 1
            yield Working(f"{done:,} of {total:,} handed over", 0)


def _events(
    destination: Path,
    hands: Sequence[Hand],
    rows: PlanFile | None,
    evict: bool,
    retries: int,
    part: str,
    run_id: str,
    pause_seconds: float,
) -> Iterator[Event]:
    began = time.monotonic()
    if not paths.files_of(destination, part).folder.is_dir():
        raise ManifestError(
            str(destination), f"No download went to {destination}, so nothing can be delivered from there."
        )
    courier = Courier(
        hands, destination, run_id, Budget(None), evict=evict, retries=retries, pause_seconds=pause_seconds
    )
    try:
        with disk.guard(destination), Records(destination, part, run_id) as records:
            if records.kept is None:
                raise ManifestError(
                    str(destination),
                    f"{destination} holds no plan of a download, so nothing can be delivered.",
                )
            courier.journal = records.journal
            wanted = records.kept if rows is None else rows
            courier.expect(wanted)
            yield DeliveryStarted(destination, wanted.plan(None).series_count, len(hands))
            lacking, by_name = 0, wanted.needs_names()
            for row in wanted:
                if courier.is_used(row):
                    courier.used(row, _names(row, records), by_name=by_name)
                    continue
                series = _complete(row, destination, records, by_name=by_name)
                if series is None:
                    lacking += 1
                    continue
                yield from courier.offer(series)
                yield from courier.room(MOST_SERIES)
                records.check()
            yield from courier.rest()
            yield Delivered(courier.delivery(), lacking, time.monotonic() - began)
    finally:
        courier.close()


def _complete(row: PlannedSeries, destination: Path, records: Records, *, by_name: bool) -> Series | None:
    """Return a series whose count and bytes match the plan, with its files; None if they do not."""
    names = _names(row, records) if by_name or row.files is not None else None
    directory = destination / row.directory
    if by_name and names is None:
        return None  # its files in a shared directory are unknown
    found: Found = look(directory) if names is None else look_at(directory, names)
    return Series(row, directory, instance_paths(directory, names)) if agrees(found, row) else None


def _names(row: PlannedSeries, records: Records) -> tuple[str, ...] | None:
    if (wanted := row.wanted()) is not None:
        return tuple(wanted)
    kept = records.journal.names(row)
    return tuple(kept) if kept else None
