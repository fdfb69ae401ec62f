"""Happenings that a person should see go by."""

from __future__ import annotations

from dataset_dl.events import EngineEnded, Event, Noticed, RetryStarted, SeriesFailed
from dataset_dl.model import DownloadProgress
from dataset_dl.ui.units import duration, size


def standing(state: DownloadProgress) -> str:
    """How far a download is, as a line."""
    left = "" if state.seconds_left is None else f", {duration(state.seconds_left)} left"
    return (
        f"{state.completed_series:,}/{state.total_series:,} series,"
        f" {size(state.completed_bytes)} of {size(state.total_bytes)},"
        f" {state.throughput_mbps:.1f} MB/s{left}"
    )


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
