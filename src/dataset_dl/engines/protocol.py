"""What a transfer asks of whatever moves the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dataset_dl.model.events import Event
from dataset_dl.model.series import Fetch, PlannedSeries, StoredObject


class Engine(Protocol):
    """Something that fetches series.

    `probe` raises a `NetworkError` if nothing can be fetched. `objects` says what the store holds of
    some series, and leaves out those that it cannot say it of in full. `run` yields a `FileCompleted`
    for each file that has its final name, and anything else it has to say; it may leave out whole
    series without a word, so its silence proves nothing. It stops what it started when it is closed.
    """

    workers: int

    def probe(self, series_aws_url: str) -> None:
        """Ask once for one series."""

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """What the store holds, by crdc_series_uuid."""

    def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
        """Fetch below a destination."""
