"""Happenings that a person should see go by."""

from __future__ import annotations

from dataset_dl.events import EngineEnded, Event, Noticed, RetryStarted, SeriesFailed


def notice(event: Event) -> str | None:
    """A line for an event; None for those that only move the bar."""
    if isinstance(event, EngineEnded):
        return f"{event.message}; what is left goes on anew"
    if isinstance(event, Noticed):
        return event.text
    if isinstance(event, RetryStarted):
        return f"trying {event.series_count:,} series again in {event.pause_seconds:.0f} s"
    if isinstance(event, SeriesFailed):
        failure = event.failure
        return f"failed: {failure.planned.SeriesInstanceUID} ({failure.cause}: {failure.message})"
    return None
