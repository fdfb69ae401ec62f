"""One event a line, for programs."""

from __future__ import annotations

import re
from types import TracebackType
from typing import IO, Any

import msgspec

from dataset_dl.model.events import (
    BytesWritten,
    Delivered,
    DeliveryStarted,
    Event,
    Finished,
    SeriesCompleted,
    SeriesFailed,
    SeriesUsed,
    Started,
    Waiting,
)
from dataset_dl.model.outcome import utf8


class JsonLines:
    """Writes each event as a JSON object with its name in ``event``."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, (BytesWritten, Waiting)):
            return  # a sample for drawing, not something that happened
        line = msgspec.json.encode({"event": event_name(event), **event_fields(event)})
        self._stream.write(line.decode() + "\n")
        if not self._stream.isatty():
            self._stream.flush()


def event_name(event: Event) -> str:
    """``FileCompleted`` → ``file_completed``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()


def event_fields(event: Event) -> dict[str, Any]:
    """Return the fields of an event as plain values, side by side with those of its series."""
    if isinstance(event, SeriesCompleted):
        return {**event.series.to_dict(), "fetched": event.fetched, "run_id": event.run_id}
    if isinstance(event, SeriesFailed):
        failure = event.failure
        return {
            **failure.planned.to_dict(),
            "cause": failure.cause,
            "message": failure.message,
            "present_instances": failure.present_instances,
            "present_bytes": failure.present_bytes,
            "run_id": event.run_id,
        }
    if isinstance(event, SeriesUsed):
        return {**event.series.to_dict(), "run_id": event.run_id}
    if isinstance(event, Finished):
        return event.report.to_dict()
    found = msgspec.structs.asdict(event)
    if "key" in found:
        found["crdc_series_uuid"] = found["key"]
    if isinstance(event, Delivered):
        found["delivery"] = event.delivery.to_dict()
    if isinstance(event, (Started, DeliveryStarted)):
        found["destination"] = utf8(event.destination)
    return found
