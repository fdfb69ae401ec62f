"""Limit how fast s5cmd writes: it has no such option, so it is paused in short slices."""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from dataset_dl.engines.pace import Pace
from dataset_dl.engines.s5cmd.activity import written_bytes
from dataset_dl.process import Process

_SLICE_SECONDS = 0.005


class Brake:
    """Limits the bytes a second that a child writes, until it ends.

    A thread of its own counts and pauses, so the pace does not depend on who consumes the events. Like the
    threads of `Process`, it takes no lock.

    Parameters
    ----------
    process
        The child.
    bytes_per_second
        Says the limit, which may change.
    """

    def __init__(self, process: Process, bytes_per_second: Callable[[], float]) -> None:
        self._process = process
        self._rate = bytes_per_second
        self.is_pausing = False
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        with suppress(psutil.Error):  # it has ended
            self._hold(psutil.Process(self._process.pid))

    def _hold(self, child: psutil.Process) -> None:
        pace = Pace(self._rate())
        while self._process.returncode is None:
            time.sleep(_SLICE_SECONDS)
            pace.rate = self._rate()
            is_too_fast = pace.pause(written_bytes(child)) > 0
            if is_too_fast != self.is_pausing:
                self.is_pausing = is_too_fast
                if self.is_pausing:
                    self._process.pause()
                else:
                    self._process.resume()
