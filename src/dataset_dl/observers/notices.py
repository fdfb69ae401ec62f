"""Notices for the user, made from events."""

from __future__ import annotations

import re
from collections import Counter

from dataset_dl.model.events import (
    DeliveryFailed,
    DeliveryStarted,
    EngineEnded,
    Event,
    FetchStarted,
    Noticed,
    RetryStarted,
    SeriesFailed,
)
from dataset_dl.model.outcome import DownloadProgress, SeriesFailure
from dataset_dl.wording import counted, duration, size

# How many similar failures are shown one by one.
EXAMPLES = 3
_PARTICULAR = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}(\.dcm)?|[0-9][0-9,.]*")


def standing(state: DownloadProgress) -> str:
    """Return the progress of a download as a line."""
    left = "" if state.seconds_left is None else f", {duration(state.seconds_left)} left"
    return (
        f"{state.completed_series:,}/{state.total_series:,} series,"
        f" {size(state.completed_bytes)} of {size(state.total_bytes)},"
        f" {state.throughput_mbps:.1f} MB/s{left}"
    )


class Notices:
    """Makes lines for events that the user should see; only the first few of similar failures."""

    def __init__(self) -> None:
        self._alike: Counter[str] = Counter()

    def line(self, event: Event) -> str | None:
        """Return a line for an event; None for events that only move the bar."""
        if isinstance(event, FetchStarted):
            return (
                f"fetching {event.series_count:,} series, {event.instance_count:,} files,"
                f" {size(event.size_bytes)}, by {event.engine} with {event.workers} workers"
            )
        if isinstance(event, EngineEnded):
            return f"{event.message}; finished files are kept"
        if isinstance(event, Noticed):
            return event.text
        if isinstance(event, RetryStarted):
            return f"retrying {event.series_count:,} series in {event.pause_seconds:.0f} s"
        if isinstance(event, SeriesFailed):
            return self._failed(event.failure)
        if isinstance(event, DeliveryStarted):
            consumers = counted(event.consumers, "consumer")
            return f"handing {event.series_count:,} series to {consumers}"
        if isinstance(event, DeliveryFailed):
            return self._undelivered(event)
        return None

    def _undelivered(self, event: DeliveryFailed) -> str | None:
        alike = f"{event.consumer}: {_PARTICULAR.sub('…', event.message)}"
        self._alike[alike] += 1
        if self._alike[alike] <= EXAMPLES:
            return f"not delivered to {event.consumer}: {event.key} ({event.message})"
        if self._alike[alike] == EXAMPLES + 1:
            return "more series are not delivered for the same reason; the report counts them"
        return None

    def _failed(self, failure: SeriesFailure) -> str | None:
        alike = kind_of(failure)
        self._alike[alike] += 1
        if self._alike[alike] <= EXAMPLES:
            return f"failed: {failure.planned.title} ({failure.cause}: {failure.message})"
        if self._alike[alike] == EXAMPLES + 1:
            return f"more series fail for the same reason ({failure.cause}); the report counts them"
        return None


def kind_of(failure: SeriesFailure) -> str:
    """Return what similar failures have in common: the cause, and the message without its numbers."""
    return f"{failure.cause}: {_PARTICULAR.sub('…', failure.message)}"
