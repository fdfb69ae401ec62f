"""A scripted engine that keeps the contract of `transfer.Engine`, and lies on demand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl.errors import NetworkError
from dataset_dl.events import BytesWritten, CommandFailed, Event, FileCompleted
from dataset_dl.model import PlannedSeries
from dataset_dl.testing import LocalBucket


@dataclass
class ScriptedEngine:
    """Copies from the folder behind a bucket; `script` may replace what happens to a series."""

    bucket: LocalBucket
    script: dict[str, Callable[[PlannedSeries, Path], Iterator[Event]]] = field(default_factory=dict)
    reachable: bool = True
    workers: int = 1
    asked: list[str] = field(default_factory=list)

    def probe(self, series_aws_url: str) -> None:
        if not self.reachable:
            raise NetworkError("bucket", "The bucket cannot be reached.")

    def run(self, series: Iterable[PlannedSeries], destination: Path) -> Iterator[Event]:
        for each in series:
            self.asked.append(each.crdc_series_uuid)
            act = self.script.get(each.crdc_series_uuid, self.fetch)
            yield from act(each, destination / each.directory)

    def fetch(self, series: PlannedSeries, directory: Path) -> Iterator[Event]:
        files = sorted(self.bucket.series_directory(series).glob("*.dcm"))
        if not files:
            yield CommandFailed(series.crdc_series_uuid, "not_found", "no object found")
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, directory / file.name)
            size_bytes = file.stat().st_size
            yield BytesWritten(size_bytes)
            yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/{file.name}", size_bytes)
