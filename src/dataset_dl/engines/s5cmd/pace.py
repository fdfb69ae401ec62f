"""Limit how fast s5cmd writes: it has no such option, so it is paused in short slices."""

from __future__ import annotations

import _thread
import time
from contextlib import suppress

import psutil

from dataset_dl.engines.s5cmd.activity import written_bytes
from dataset_dl.process import Process

_SLICE_SECONDS = 0.005
# Unused rate may be made up for, up to this much of a second.
_SAVED_SECONDS = 0.2


class Pace:
    """Limits the bytes a second that a child writes, until it ends.

    A thread of its own counts and pauses, so the pace does not depend on who consumes the events. Like the
    threads of `Process`, it takes no lock.

    Parameters
    ----------
    process
        The child.
    bytes_per_second
        The limit.
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
