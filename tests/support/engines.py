"""A scripted engine that implements the contract of `engines.Engine`, and lies on demand."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl.errors import NetworkError
from dataset_dl.model.events import BytesWritten, CommandFailed, Event, FileCompleted, Waiting
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.testing import LocalBucket


@dataclass
class ScriptedEngine:
    """Copies from the folder behind a bucket; `script` can replace what happens to a series."""

    bucket: LocalBucket
    script: dict[str, Callable[[PlannedSeries, Path], Iterator[Event]]] = field(default_factory=dict)
    reachable: bool = True
    workers: int = 1
    name: str = "scripted"
    lists_objects: bool = True
    asked: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def probe(self, series_aws_url: str) -> None:
        if not self.reachable:
            raise NetworkError("bucket", "The bucket cannot be reached.")

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        if not self.reachable:
            return {}
        return {each.crdc_series_uuid: found for each in series if (found := self.listed(each))}

    def listed(self, series: PlannedSeries) -> list[StoredObject]:
        return [
            StoredObject(file.name, file.stat().st_size, hashlib.md5(file.read_bytes()).hexdigest())
            for file in sorted(self.bucket.series_directory(series).glob("*.dcm"))
        ]

    def is_unfinished(self, name: str) -> bool:
        return re.fullmatch(r"[0-9a-f-]{36}\.dcm[0-9]+", name) is not None

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        for fetch in fetches:
            if isinstance(fetch, Pause):
                yield Waiting()
                continue
            series, missing, _ = fetch
            if missing == ():
                continue
            self.asked.append(series.crdc_series_uuid)
            directory = destination / series.directory
            if act := self.script.get(series.crdc_series_uuid):
                yield from act(series, directory)
            else:
                yield from self.fetch(series, directory, missing)

    def fetch(
        self, series: PlannedSeries, directory: Path, names: Sequence[str] | None = None
    ) -> Iterator[Event]:
        files = [
            file
            for file in sorted(self.bucket.series_directory(series).glob("*.dcm"))
            if names is None or file.name in names
        ]
        if not files:
            yield CommandFailed(series.crdc_series_uuid, "not_found", "no object found")
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, directory / f"{file.name}123")
            (directory / f"{file.name}123").replace(directory / file.name)
            size_bytes = file.stat().st_size
            self.files.append(file.name)
            yield BytesWritten(size_bytes)
            yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/{file.name}", size_bytes)
