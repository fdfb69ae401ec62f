"""A bound on how fast s5cmd writes; it knows none itself, so it is paused in short slices."""

from __future__ import annotations

import _thread
import time
from contextlib import suppress

import psutil

from dataset_dl.engines.s5cmd.activity import written_bytes
from dataset_dl.process import Process

_SLICE_SECONDS = 0.005
# What was not used may be made up for: so much of a second.
_SAVED_SECONDS = 0.2


class Pace:
    """Holds a child to so many bytes a second, until it ends.

    A thread of its own counts and pauses, so the pace does not hang on who consumes the events. It takes no
    lock, as those of `Process` take none.

    Parameters
    ----------
    process
        The child.
    bytes_per_second
        The bound on what it writes.
    """

    def __init__(self, process: Process, bytes_per_second: float) -> None:
        self._process = process
        self._rate = bytes_per_second
        self.is_pausing = False
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        with suppress(psutil.Error):  # it has ended
            self._hold(psutil.Process(self._process.pid))

    def _hold(self, child: psutil.Process) -> None:
        before, at, credit = written_bytes(child), time.monotonic(), 0.0
        while self._process.returncode is None:
            time.sleep(_SLICE_SECONDS)
            after, now = written_bytes(child), time.monotonic()
            credit = min(credit + (now - at) * self._rate, _SAVED_SECONDS * self._rate) - (after - before)
            before, at = after, now
            if (credit < 0) != self.is_pausing:
                self.is_pausing = credit < 0
                if self.is_pausing:
                    self._process.pause()
                else:
                    self._process.resume()
