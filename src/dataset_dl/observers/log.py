"""Log a download: records of the logger ``dataset_dl``, with their values as attributes, too."""

from __future__ import annotations

import logging
from pathlib import Path

from dataset_dl.model.events import (
    DeliveryFailed,
    EngineEnded,
    Event,
    FetchStarted,
    Finished,
    Noticed,
    RetryStarted,
    SeriesCompleted,
    SeriesFailed,
)
from dataset_dl.model.plan import Plan
from dataset_dl.observers.progress import ProgressTracker
from dataset_dl.wording import size

_log = logging.getLogger("dataset_dl")


class Log:
    """Logs the events of a download.

    Every record has `run_id`, `collection_id` (all of the plan, separated by commas), `series_count`,
    `estimated_size_gb`, `output_directory`, `filters`, `completed_files` and `failed_files`. Records of a
    series also have `crdc_series_uuid` and `SeriesInstanceUID`; failures have `error` and `cause`; the last
    record has `duration_seconds`, `fetched_bytes`, `complete_series` and `failed_series`.

    Parameters
    ----------
    plan
        The plan of the download.
    destination
        Where it goes.
    """

    def __init__(self, plan: Plan, destination: Path) -> None:
        self._plan = plan
        self._destination = destination
        self._about: dict[str, object] | None = None
        self._tracker = ProgressTracker()
        self._hears = _log.isEnabledFor(logging.WARNING) and _is_heard()
        self._hears_series = _log.isEnabledFor(logging.DEBUG)

    def __call__(self, event: Event) -> None:
        """Log one event, if it is worth a record."""
        if not self._hears:
            return
        self._tracker.feed(event)
        if isinstance(event, SeriesCompleted) and not self._hears_series:
            return
        record = _record(event)
        if record is None or not _log.isEnabledFor(record[0]):
            return
        level, text, extra = record
        if self._about is None:
            filters = ";".join(str(each) for request in self._plan.requests for each in request.where)
            self._about = _about(self._plan) | {
                "output_directory": str(self._destination),
                "filters": filters,
            }
        _log.log(level, text, extra=self._about | self._state(event) | extra)

    def _state(self, event: Event) -> dict[str, object]:
        state = self._tracker.snapshot()
        return {
            "run_id": event.run_id,
            "completed_files": state.completed_files,
            "failed_files": state.failed_files,
        }


def _is_heard() -> bool:
    """Whether any handler gets the records: counting millions of events for nobody takes time."""
    logger: logging.Logger | None = _log
    while logger is not None:
        if any(not isinstance(each, logging.NullHandler) for each in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


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
        text = f"{series.directory} is complete" + ("" if event.fetched else " already")
        return (
            logging.DEBUG,
            text,
            {**_of(series.key, series.SeriesInstanceUID), "fetched": event.fetched},
        )
    if isinstance(event, SeriesFailed):
        failure = event.failure
        text = f"{failure.planned.directory} failed ({failure.cause}: {failure.message})"
        extra = _of(failure.planned.key, failure.planned.SeriesInstanceUID)
        return logging.WARNING, text, {**extra, "cause": failure.cause, "error": failure.message}
    if isinstance(event, DeliveryFailed):
        text = f"{event.key} was not delivered to {event.consumer} ({event.message})"
        return logging.WARNING, text, {"crdc_series_uuid": event.key, "error": event.message}
    if isinstance(event, FetchStarted):
        text = f"Fetching {event.series_count:,} series by {event.engine} with {event.workers} workers"
        return logging.INFO, text, {"engine": event.engine, "workers": event.workers}
    if isinstance(event, RetryStarted):
        text = f"{event.series_count:,} series are retried in {event.pause_seconds:g} s"
        return logging.WARNING, text, {"pause_seconds": event.pause_seconds}
    if isinstance(event, EngineEnded):
        return logging.WARNING, event.message, {"stalled": event.stalled, "error": event.message}
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
