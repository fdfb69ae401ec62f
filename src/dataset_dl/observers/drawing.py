"""The base of displays that redraw themselves while a download runs."""

from __future__ import annotations

import time

from dataset_dl.model.events import Event, Working
from dataset_dl.observers.notices import Notices
from dataset_dl.observers.progress import ProgressTracker


class Drawing:
    """Tracks the progress of a download, and redraws it from time to time.

    Parameters
    ----------
    every_seconds
        The shortest time between two drawings.
    """

    def __init__(self, every_seconds: float) -> None:
        self._tracker = ProgressTracker()
        self._every_seconds = every_seconds
        self._drawn = 0.0
        self._notices = Notices()
        self._working: Working | None = None

    def __call__(self, event: Event) -> None:
        """Process one event, and draw if it is time."""
        self._tracker.feed(event)
        if isinstance(event, Working):
            self._working = event
        if line := self._notices.line(event):
            self._show_line(line)
        now = time.monotonic()
        if now - self._drawn >= self._every_seconds:
            self._drawn = now
            self._draw()

    def _show_line(self, line: str) -> None:
        """Show a notice to the user."""
        raise NotImplementedError

    def _draw(self) -> None:
        raise NotImplementedError
