"""A download in the log: records of the logger ``dataset_dl`` with what they tell as attributes, too."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from dataset_dl.model.events import (
    EngineEnded,
    Event,
    FetchStarted,
    FileCompleted,
    Finished,
    Noticed,
    RetryStarted,
    SeriesCompleted,
    SeriesFailed,
)
from dataset_dl.model.plan import Plan
from dataset_dl.wording import size

_log = logging.getLogger("dataset_dl")


def logged(stream: Iterator[Event], plan: Plan) -> Iterator[Event]:
    """Log what a download says, as it passes by.

    Every record has `collection_id` (all of the plan, with commas between), `series_count` and
    `estimated_size_gb`; of a series `crdc_series_uuid` and `SeriesInstanceUID`; the last `duration_seconds`,
    `fetched_bytes`, `complete_series` and `failed_series`.
    """
    if not _log.isEnabledFor(logging.WARNING):
        yield from stream
        return
    about: dict[str, object] | None = None
    # Most events by far are of these kinds.
    unheard = FileCompleted if _log.isEnabledFor(logging.DEBUG) else (FileCompleted, SeriesCompleted)
    try:
        for event in stream:
            if not isinstance(event, unheard) and (record := _record(event)) is not None:
                level, text, extra = record
                if _log.isEnabledFor(level):
                    about = about or _about(plan)
                    _log.log(level, text, extra=about | extra)
            yield event
    finally:
        stream.close()  # type: ignore[attr-defined]


def planned(plan: Plan, duration_seconds: float) -> None:
    """Log that a plan was made."""
    text = f"Planned {plan.series_count:,} series, {size(plan.size_bytes)}"
    _log.info(text, extra=_about(plan) | {"duration_seconds": round(duration_seconds, 3)})


def _about(plan: Plan) -> dict[str, object]:
    collections = sorted({group.collection_id for group in plan.groups() if group.collection_id})
    return {
        "collection_id": ",".join(collections),
        "series_count": plan.series_count,
        "estimated_size_gb": round(plan.size_bytes / 1e9, 3),
    }


def _record(event: Event) -> tuple[int, str, dict[str, object]] | None:
    if isinstance(event, SeriesCompleted):
        series = event.series
        text = f"{series.directory} is complete" + ("" if event.fetched else ", and was before")
        return (
            logging.DEBUG,
            text,
            {**_of(series.crdc_series_uuid, series.SeriesInstanceUID), "fetched": event.fetched},
        )
    if isinstance(event, SeriesFailed):
        failure = event.failure
        text = f"{failure.planned.directory} failed ({failure.cause}: {failure.message})"
        extra = _of(failure.planned.crdc_series_uuid, failure.planned.SeriesInstanceUID)
        return logging.WARNING, text, {**extra, "cause": failure.cause}
    if isinstance(event, FetchStarted):
        text = f"Fetching {event.series_count:,} series with {event.workers} workers"
        return logging.INFO, text, {"workers": event.workers}
    if isinstance(event, RetryStarted):
        text = f"{event.series_count:,} series are tried again in {event.pause_seconds:g} s"
        return logging.WARNING, text, {"pause_seconds": event.pause_seconds}
    if isinstance(event, EngineEnded):
        return logging.WARNING, event.message, {"stalled": event.stalled}
    if isinstance(event, Noticed):
        return logging.WARNING, event.text, {}
    if isinstance(event, Finished):
        report = event.report
        complete = f"{report.complete_series:,} of {report.series_count:,} series are complete"
        text = f"{complete} in {report.destination}"
        extra = {
            "destination": str(report.destination),
            "duration_seconds": round(report.elapsed_seconds, 3),
            "complete_series": report.complete_series,
            "failed_series": len(report.failures),
            "fetched_bytes": report.fetched_bytes,
        }
        return logging.INFO if report.ok else logging.WARNING, text, extra
    return None


def _of(crdc_series_uuid: str, series_instance_uid: str | None) -> dict[str, object]:
    return {"crdc_series_uuid": crdc_series_uuid, "SeriesInstanceUID": series_instance_uid}
