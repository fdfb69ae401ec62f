"""An observer that calls a function with the progress of a download."""

from __future__ import annotations

import time
from collections.abc import Callable

from dataset_dl.model.events import Event, Finished
from dataset_dl.model.outcome import DownloadProgress
from dataset_dl.observers.progress import ProgressTracker

_CALL_SECONDS = 0.1


class Callback:
    """Calls a function with a `DownloadProgress` about ten times a second, and once at the end.

    Parameters
    ----------
    progress_callback
        The function. An exception in it ends the download.
    """

    def __init__(self, progress_callback: Callable[[DownloadProgress], object]) -> None:
        self._call = progress_callback
        self._tracker = ProgressTracker()
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Process one event, and call the function if it is time."""
        self._tracker.feed(event)
        if isinstance(event, Finished) or time.monotonic() >= self._next:
            self._call(self._tracker.snapshot())
            self._next = time.monotonic() + _CALL_SECONDS
