"""Happenings that a person should see go by."""

from __future__ import annotations

from dataset_dl.events import EngineStalled, Event, RetryStarted, SeriesFailed


def notice(event: Event) -> str | None:
    """A line for an event; None for those that only move the bar."""
    if isinstance(event, EngineStalled):
        return f"no byte for {event.silent_seconds:.0f} s: s5cmd was ended, what is left goes on anew"
    if isinstance(event, RetryStarted):
        return f"trying {event.series_count:,} series again in {event.pause_seconds:.0f} s"
    if isinstance(event, SeriesFailed):
        failure = event.failure
        return f"failed: {failure.planned.SeriesInstanceUID} ({failure.cause}: {failure.message})"
    return None
