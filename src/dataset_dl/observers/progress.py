"""Track the progress of a download by its events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from dataset_dl.model.events import (
    BytesWritten,
    Event,
    FetchStarted,
    FileCompleted,
    Finished,
    RetryStarted,
    SeriesCompleted,
    SeriesFailed,
    SeriesSized,
    SeriesUsed,
    Started,
)
from dataset_dl.model.outcome import DownloadProgress

_WINDOW_SECONDS = 5.0
_SAMPLE_SECONDS = 0.1


class ProgressTracker:
    """Sums up events; never reads the disk.

    Parameters
    ----------
    clock
        Seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._total_series = self._total_files = self._total_bytes = 0
        self._files = self._failed_files = self._series = self._failed_series = 0
        # Of series with a verdict.
        self._complete_files = self._complete_bytes = 0
        # On disk before fetching; of finished files; written by the engine, unfinished files included.
        self._present_bytes = self._fetched_bytes = self._written_bytes = 0
        self._shown_bytes = 0
        # Fetched by earlier runs of s5cmd; the count of the current one does not contain them.
        self._before_bytes = 0
        self._current_file = ""
        self._is_fetching = False
        self._samples: deque[tuple[float, int]] = deque()

    def feed(self, event: Event) -> None:
        """Process one event."""
        if isinstance(event, FileCompleted):
            self._files += 1
            self._fetched_bytes += event.size_bytes
            self._current_file = event.path
        elif isinstance(event, BytesWritten):
            self._written_bytes = event.size_bytes
            self._sample()
        elif isinstance(event, FetchStarted):
            self._is_fetching = True
            self._files += event.present_instances
            self._present_bytes += event.present_bytes
        elif isinstance(event, RetryStarted):
            # Count again what has arrived: wrong files have been removed.
            self._files = self._complete_files + event.present_instances
            self._present_bytes = self._complete_bytes + event.present_bytes - self._fetched_bytes
            self._before_bytes = self._fetched_bytes
            self._written_bytes = 0
            self._samples.clear()
        elif isinstance(event, SeriesCompleted):
            self._series += 1
            self._complete_files += event.series.expected_instances
            self._complete_bytes += event.series.expected_bytes
            if not self._is_fetching:
                self._files += event.series.expected_instances
                self._present_bytes += event.series.expected_bytes
        elif isinstance(event, SeriesUsed):
            self._series += 1
            self._files += event.series.expected_instances
            self._complete_files += event.series.expected_instances
            self._present_bytes += event.series.expected_bytes
            self._complete_bytes += event.series.expected_bytes
        elif isinstance(event, SeriesFailed):
            failure = event.failure
            self._failed_series += 1
            self._failed_files += max(0, failure.planned.expected_instances - failure.present_instances)
            self._complete_files += failure.present_instances
            self._complete_bytes += failure.present_bytes
        elif isinstance(event, Started):
            self._total_series = event.series_count
            self._total_files, self._total_bytes = event.instance_count, event.size_bytes
        elif isinstance(event, SeriesSized):
            self._total_files += event.size.instanceCount - event.counted.instanceCount
            self._total_bytes += event.size.size_bytes - event.counted.size_bytes
        elif isinstance(event, Finished):
            self._written_bytes = 0
            self._shown_bytes = event.report.complete_bytes

    def snapshot(self) -> DownloadProgress:
        """Return the current progress."""
        now = self._clock()
        speed = self._speed(now)
        done = self._present_bytes + self._moved_bytes
        # A file fetched again after a fault is written twice; a bar must not go back.
        self._shown_bytes = min(self._total_bytes, max(self._shown_bytes, done))
        left = self._total_bytes - self._shown_bytes
        return DownloadProgress(
            total_files=self._total_files,
            completed_files=min(self._files, self._total_files),
            failed_files=self._failed_files,
            total_series=self._total_series,
            completed_series=self._series,
            failed_series=self._failed_series,
            total_bytes=self._total_bytes,
            completed_bytes=self._shown_bytes,
            current_file=self._current_file,
            throughput_mbps=speed / 1e6,
            seconds_left=left / speed if speed > 0 else (0.0 if left == 0 else None),
            elapsed_seconds=now - self._began,
        )

    @property
    def _moved_bytes(self) -> int:
        """Bytes of finished files, and of unfinished ones what s5cmd has written so far."""
        return max(self._fetched_bytes, self._before_bytes + self._written_bytes)

    def _sample(self) -> None:
        now = self._clock()
        if self._samples and now - self._samples[-1][0] < _SAMPLE_SECONDS:
            return
        self._samples.append((now, self._moved_bytes))
        while now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()

    def _speed(self, now: float) -> float:
        if not self._samples:
            return self._fetched_bytes / max(now - self._began, 1e-3)
        since, before = self._samples[0]
        if now - since < _SAMPLE_SECONDS:
            return 0.0
        return max(0, self._moved_bytes - before) / (now - since)
