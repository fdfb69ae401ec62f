"""A download as metrics for Prometheus, on a port or in a file."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dataset_dl.errors import MissingExtra, PlanError, StorageError
from dataset_dl.model.events import (
    BytesWritten,
    EngineEnded,
    EngineStarted,
    Event,
    FileCompleted,
    Finished,
    SeriesCompleted,
    SeriesFailed,
    Started,
)
from dataset_dl.observers.progress import ProgressTracker

_WRITE_SECONDS = 10.0
_SAMPLE_SECONDS = 1.0
# IDC has about 180 collections. Whatever a plan contains, the label has no more values than this.
_MOST_COLLECTIONS = 250
_OTHERS = "(other)"


class Metrics:
    """An observer that keeps metrics, and serves them or writes them to a file.

    Parameters
    ----------
    where
        A port on loopback, or a file whose name ends in ``.prom``.

    Raises
    ------
    MissingExtra
        If prometheus-client is not installed.
    PlanError
        If `where` is neither.
    StorageError
        On entering, if the port is taken or the file cannot be written.
    """

    def __init__(self, where: str | int | Path) -> None:
        try:
            import prometheus_client
        except ImportError:
            raise MissingExtra("metrics", "prometheus-client") from None
        text = str(where)
        self._port = int(text) if text.isascii() and text.isdigit() and int(text) < 65536 else None
        if self._port is None and not text.endswith(".prom"):
            raise PlanError(
                text,
                f"“{text}” is neither a port nor a file whose name ends in .prom; nothing was started.",
                "Write --metrics 9100 or --metrics FILE.prom.",
            )
        self._file = None if self._port is not None else Path(text)
        self._library = prometheus_client
        self.registry = prometheus_client.CollectorRegistry()
        self._tracker = ProgressTracker()
        self._server: Any = None
        self._destination: Path | None = None
        self._engine = self._store = ""
        self._collections: set[str] = set()
        self._written = self._sampled = 0.0
        self._declare()

    def _declare(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Any:
            return self._library.Counter(f"dataset_dl_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Any:
            return self._library.Gauge(f"dataset_dl_{name}", text, labels, registry=self.registry)

        self._bytes = counter("fetched_bytes", "Bytes of finished files, by store.", "store")
        self._files = counter("fetched_files", "Finished files.", "store")
        self._completed = counter("series_completed", "Series on disk and verified.", "collection_id")
        self._failed = counter("series_failed", "Series that failed, by cause.", "collection_id", "cause")
        self._starts = counter("engine_starts", "How often an engine was started.", "engine")
        self._stalls = counter("engine_stalls", "How often an engine fell silent.", "engine")
        self._memory = gauge("engine_memory_bytes", "Resident memory of the engine.")
        self._speed = gauge("megabytes_per_second", "Speed over the last seconds, in 10^6 bytes a second.")
        self._hourly = gauge("gigabytes_per_hour", "The same speed in 10^9 bytes an hour.")
        self._free = gauge("destination_free_bytes", "Free space at the destination.")
        self._total = gauge("planned_bytes", "Bytes of the plan, as far as known.")
        self._done = gauge("completed_bytes", "Bytes on disk, including those of files in flight.")
        self._run = gauge("run_info", "The run, with the id of its log records and its report.", "run_id")

    def __enter__(self) -> Metrics:
        try:
            if self._port is not None:
                self._server, _ = self._library.start_http_server(
                    self._port, addr="127.0.0.1", registry=self.registry
                )
            else:
                self._write()
        except OSError as error:
            what = f"The port {self._port}" if self._port is not None else f"The file {self._file}"
            raise StorageError(
                str(self._port or self._file),
                f"{what} cannot be used for metrics: {error.strerror}; nothing was started.",
                "Name another one.",
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sample()
        if self._file is not None:
            self._write()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def __call__(self, event: Event) -> None:
        """Process one event."""
        self._tracker.feed(event)
        if isinstance(event, FileCompleted):
            self._bytes.labels(self._store).inc(event.size_bytes)
            self._files.labels(self._store).inc()
        elif isinstance(event, BytesWritten):
            if event.memory_bytes is not None:
                self._memory.set(event.memory_bytes)
        elif isinstance(event, SeriesCompleted):
            self._completed.labels(self._collection(event.series.collection_id)).inc()
        elif isinstance(event, SeriesFailed):
            failure = event.failure
            self._failed.labels(self._collection(failure.planned.collection_id), failure.cause).inc()
        elif isinstance(event, EngineStarted):
            self._engine, self._store = event.engine, event.store
            self._starts.labels(event.engine).inc()
        elif isinstance(event, EngineEnded):
            if event.stalled:
                self._stalls.labels(self._engine).inc()
            self._memory.set(0)
        elif isinstance(event, Started):
            self._destination = event.destination
            self._run.labels(event.run_id).set(1)
        elif isinstance(event, Finished):
            self._memory.set(0)
        now = time.monotonic()
        if now - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = now
            self._sample()
        if self._file is not None and now - self._written >= _WRITE_SECONDS:
            self._write()

    def _collection(self, name: str | None) -> str:
        label = name or "(none)"
        if label not in self._collections and len(self._collections) >= _MOST_COLLECTIONS:
            return _OTHERS
        self._collections.add(label)
        return label

    def _sample(self) -> None:
        state = self._tracker.snapshot()
        self._speed.set(state.throughput_mbps)
        self._hourly.set(state.throughput_mbps * 3.6)
        self._total.set(state.total_bytes)
        self._done.set(state.completed_bytes)
        if self._destination is not None:
            existing = self._destination
            while not existing.exists():
                existing = existing.parent
            self._free.set(shutil.disk_usage(existing).free)

    def _write(self) -> None:
        """Replace the file atomically, so a collector never sees half of it."""
        self._written = time.monotonic()
        self._library.write_to_textfile(str(self._file), self.registry)
