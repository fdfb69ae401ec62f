"""The process that does one job: its first line of input is the job, its output JSON lines for `running`.

When its standard input ends, its parent is gone, so it ends in order, too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from dataset_dl.doors import JOBS
from dataset_dl.errors import DatasetDlError, StorageError
from dataset_dl.model.events import Event, Noticed, RetryStarted, Working
from dataset_dl.model.job import Ended, Job
from dataset_dl.model.outcome import DownloadProgress
from dataset_dl.observers.progress import ProgressTracker
from dataset_dl.process.python import end_on_signal, end_with_input

_TELL_SECONDS = 0.25
_NOTHING_YET = DownloadProgress(0, 0, 0, 0, 0, 0, 0, 0, "", 0.0, None, 0.0)


class _Teller:
    """An observer that says how far a job is, a few times a second however many events there are.

    It also ends a job that was asked to end and still goes on: a signal raises where Python just is, and in a
    finalizer or a callback of a library that is ignored.
    """

    def __init__(self, is_asked_to_end: Callable[[], bool]) -> None:
        self._is_asked_to_end = is_asked_to_end
        self._tracker = ProgressTracker()
        self._began = time.monotonic()
        self._next = 0.0
        self._working: Working | None = None
        self._said = ""

    def __call__(self, event: Event) -> None:
        if self._is_asked_to_end():
            sys.exit(1)
        if isinstance(event, Working):
            self._working = event
        else:
            self._tracker.feed(event)
            self._working = None
        if isinstance(event, Noticed):
            self._said = event.text
        elif isinstance(event, RetryStarted):
            self._said = f"{event.series_count:,} series failed and are tried again."
        if time.monotonic() >= self._next:
            self.tell()

    def tell(self) -> None:
        """Say it now."""
        now = time.monotonic()
        self._next = now + _TELL_SECONDS
        _tell({"progress": asdict(self._progress(now)), "message": self._message})

    def _progress(self, now: float) -> DownloadProgress:
        if self._working is None:
            return self._tracker.snapshot()
        return replace(
            _NOTHING_YET,
            completed_bytes=self._working.done_bytes,
            total_bytes=self._working.total_bytes or 0,
            elapsed_seconds=now - self._began,
        )

    @property
    def _message(self) -> str:
        return self._said if self._working is None else f"{self._working.activity}."


def _tell(line: dict[str, Any]) -> None:
    # A line that a signal has interrupted must not spoil the next one.
    sys.stdout.write(f"\n{json.dumps(line)}\n")
    sys.stdout.flush()


def _done(job: Job, plan_path: Path, is_asked_to_end: Callable[[], bool]) -> Ended:
    try:
        return _of_kind(job, plan_path, is_asked_to_end)
    except SystemExit:
        return Ended("PAUSED", "", {})
    except Exception as error:
        if is_asked_to_end():
            return Ended("PAUSED", "", {})
        if isinstance(error, DatasetDlError):
            return Ended("FAILURE", str(error), {"exit_code": error.exit_code})
        if isinstance(error, MemoryError):
            words = "This machine has too little free memory for that; finished files are kept."
            return Ended("FAILURE", words, {"exit_code": StorageError.exit_code})
        words = f"This is a bug in dataset-dl ({type(error).__name__}: {error})."
        return Ended("FAILURE", words, {"exit_code": 1})


def _of_kind(job: Job, plan_path: Path, is_asked_to_end: Callable[[], bool]) -> Ended:
    kind = JOBS.find(job.kind)
    if kind is None:
        return Ended("FAILURE", f"The package that does jobs of the kind “{job.kind}” is not installed.", {})
    teller = _Teller(is_asked_to_end)
    ended = kind(job, plan_path, [teller])
    teller.tell()
    return ended


def main() -> None:
    """Do the job on standard input."""
    is_asked_to_end = end_on_signal()
    order = msgspec.json.decode(sys.stdin.buffer.readline())
    job = msgspec.convert(order["job"], Job, dec_hook=lambda kind, value: kind(value))
    end_with_input()
    _tell(_done(job, Path(order["plan"]), is_asked_to_end)._asdict())


if __name__ == "__main__":
    main()
