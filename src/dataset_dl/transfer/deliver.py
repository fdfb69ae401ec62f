"""Deliver verified series to a consumer, each once: receipts in the journal prevent repetition."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import Consumer, Receipt, digest_of
from dataset_dl.destination.records import Records
from dataset_dl.destination.tree import Found, agrees, instance_paths, look, look_at
from dataset_dl.errors import ManifestError
from dataset_dl.model.events import DeliveryFailed, Event, SeriesDelivered
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.plans.file import PlanFile


def deliver(destination: Path, consumer: Consumer, *, part: str = "", run_id: str = "") -> Iterator[Event]:
    """Deliver every complete series of a destination to a consumer, unless it has a receipt.

    Parameters
    ----------
    destination
        The directory of a download; it stays locked meanwhile.
    consumer
        Takes the series. An exception in it fails only that series.
    part, run_id
        As for `transfer`.

    Yields
    ------
    Event
        A `SeriesDelivered` or a `DeliveryFailed` for each complete series.

    Raises
    ------
    ManifestError
        If no download went there.
    StorageError
        If another writer holds the destination, or the receipt cannot be written.
    """
    digest = digest_of(consumer.options)
    with disk.guard(destination), Records(destination, part, run_id) as records:
        if records.kept is None:
            raise ManifestError(
                str(destination), f"{destination} holds no plan of a download, so nothing can be delivered."
            )
        for series in _complete(destination, records, records.kept):
            key = series.planned.key
            receipt = records.journal.receipt(consumer.name, key)
            event: Event
            if receipt is not None and receipt.options_digest == digest:
                event = SeriesDelivered(consumer.name, key, False)
            else:
                event = _hand_over(series, consumer, digest, records, run_id)
            msgspec.structs.force_setattr(event, "run_id", run_id)
            yield event


def _hand_over(series: Series, consumer: Consumer, digest: str, records: Records, run_id: str) -> Event:
    key = series.planned.key
    try:
        made = consumer.take(series)
    except Exception as error:  # any exception of third-party code fails this series only
        return DeliveryFailed(consumer.name, key, str(error) or type(error).__name__)
    records.check()
    records.journal.write_receipt(Receipt(consumer.name, key, digest, time.time(), made, run_id))
    return SeriesDelivered(consumer.name, key, True)


def _complete(destination: Path, records: Records, rows: PlanFile) -> Iterator[Series]:
    """Yield the series whose count and bytes match the plan, with their files."""
    by_name = rows.needs_names()
    for row in rows:
        names = _names(row, records) if by_name or row.files is not None else None
        directory = destination / row.directory
        if by_name and names is None:
            continue  # its files in a shared directory are unknown
        found: Found = look(directory) if names is None else look_at(directory, names)
        if agrees(found, row):
            yield Series(row, directory, instance_paths(directory, names))


def _names(row: PlannedSeries, records: Records) -> tuple[str, ...] | None:
    if (wanted := row.wanted()) is not None:
        return tuple(wanted)
    kept = records.journal.names(row)
    return tuple(kept) if kept else None
