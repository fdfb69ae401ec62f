"""Lines for a log: the start, the progress at intervals, and failures."""

from __future__ import annotations

import time
from types import TracebackType
from typing import IO

from dataset_dl.model.events import Event, Working
from dataset_dl.observers.notices import Notices, standing
from dataset_dl.observers.progress import ProgressTracker
from dataset_dl.wording import size, visible

_LINE_SECONDS = 10.0
_LOOK_SECONDS = 0.2


class PlainLines:
    """Writes a line every ten seconds, and at each quarter of the bytes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._tracker = ProgressTracker()
        self._written = time.monotonic()
        self._looked = self._written
        self._quarter = 0
        self._notices = Notices()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Process one event, and write a line if there is something to show."""
        self._tracker.feed(event)
        if line := self._notices.line(event):
            self._line(line)
        elif isinstance(event, Working):
            if time.monotonic() - self._written >= _LINE_SECONDS:
                self._line(f"{event.activity}, {size(event.done_bytes)}")
        elif time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            state = self._tracker.snapshot()
            quarter = 4 * state.completed_bytes // max(state.total_bytes, 1)
            if quarter > self._quarter or self._looked - self._written >= _LINE_SECONDS:
                self._quarter = quarter
                self._line(standing(state))

    def _line(self, text: str) -> None:
        self._written = time.monotonic()
        self._stream.write(f"{visible(text)}\n")
        self._stream.flush()
