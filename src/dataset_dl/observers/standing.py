"""How far a part of a plan is, in a file that others may read while it is being downloaded."""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from dataset_dl.errors import DatasetDlError
from dataset_dl.model import events
from dataset_dl.model.outcome import Report
from dataset_dl.observers.progress import ProgressTracker

_WRITE_SECONDS = 2.0


class Standing:
    """Writes the progress of a download to a file every two seconds, and how it has ended.

    The file is a sign of life for other machines, see `destination.attempts`; nothing else depends on it. So
    an error while writing it does not end the download. It is touched as often while no events come, for
    example while everything that is there is compared.

    Parameters
    ----------
    path
        The file.
    part
        The part, like ``3/16``.
    """

    def __init__(self, path: Path, part: str) -> None:
        self._path = path
        self._part = part
        self._tracker = ProgressTracker()
        self._began = time.time()
        self._next = 0.0
        self._report: Report | None = None
        self._is_over = Event()

    def __enter__(self) -> Standing:
        self._write("running")
        Thread(target=self._live, name="standing", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._report is not None:
            self._write("complete" if self._report.ok else "incomplete")
        elif isinstance(error, DatasetDlError):
            self._write("failed", str(error))
        elif isinstance(error, Exception):
            self._write("failed", f"{type(error).__name__}: {error}")
        else:
            self._write("interrupted")

    def __call__(self, event: events.Event) -> None:
        """Take one event, and write the file if it is time."""
        self._tracker.feed(event)
        if isinstance(event, events.Finished):
            self._report = event.report
        elif time.monotonic() >= self._next:
            self._write("running")

    def _live(self) -> None:
        while not self._is_over.wait(_WRITE_SECONDS):
            with suppress(OSError):
                os.utime(self._path)

    def _write(self, state: str, message: str = "") -> None:
        self._next = time.monotonic() + _WRITE_SECONDS
        now = self._tracker.snapshot()
        words = {
            "part": self._part,
            "state": state,
            "host": platform.node(),
            "pid": os.getpid(),
            "began_at": self._began,
            "total_series": now.total_series,
            "completed_series": now.completed_series,
            "failed_series": now.failed_series,
            "total_bytes": now.total_bytes,
            "completed_bytes": now.completed_bytes,
            "throughput_mbps": round(now.throughput_mbps, 3) if state == "running" else 0.0,
            "seconds_left": now.seconds_left if state == "running" else None,
            "message": message or (self._report.stopped if self._report is not None else ""),
        }
        unfinished = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        with suppress(OSError):
            unfinished.write_text(json.dumps(words), encoding="utf-8")
            unfinished.replace(self._path)
