"""A store in memory that is its own engine: fast, and with any series that a test needs."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dataset_dl.model.events import Event, FileCompleted
from dataset_dl.model.series import Fetch, PlannedSeries, StoredObject
from support.plans import row


class Store:
    name = "memory"
    workers = 1
    lists_objects = True

    def __init__(self) -> None:
        self.content: dict[str, dict[str, bytes]] = {}

    def put(
        self, directory: str | None = None, *, count: int = 2, size: int = 10, uid: str | None = None
    ) -> PlannedSeries:
        """Add a series of `count` objects with `size` bytes each."""
        number = len(self.content) + 1
        series = row(number, directory=directory, count=count, size=count * size)
        if uid is not None:
            series = series._replace(SeriesInstanceUID=uid)
        self.content[series.crdc_series_uuid] = {
            f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{number}/{each}')}.dcm": hashlib.sha256(
                f"{number}/{each}".encode()
            ).digest()[:size]
            for each in range(count)
        }
        return series

    def is_right(self, series: PlannedSeries, root: Path) -> bool:
        return all(
            (root / series.directory / name).read_bytes() == data
            for name, data in self.content[series.crdc_series_uuid].items()
        )

    def is_there(self, series: PlannedSeries, root: Path) -> bool:
        return all(
            (root / series.directory / name).is_file() for name in self.content[series.crdc_series_uuid]
        )

    def probe(self, series_aws_url: str) -> None:
        pass

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        return {
            each.crdc_series_uuid: [
                StoredObject(name, len(data), hashlib.md5(data).hexdigest()) for name, data in held.items()
            ]
            for each in series
            if (held := self.content.get(each.crdc_series_uuid))
        }

    def is_unfinished(self, name: str) -> bool:
        return False

    def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
        for fetch in fetches:
            assert isinstance(fetch, Fetch)
            series, missing, _ = fetch
            directory = destination / series.directory
            directory.mkdir(parents=True, exist_ok=True)
            for name, data in self.content.get(series.crdc_series_uuid, {}).items():
                if missing is None or name in missing:
                    (directory / name).write_bytes(data)
                    yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/{name}", len(data))
