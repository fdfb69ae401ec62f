"""Activity of a child process as the system counts it: bytes written, or CPU time."""

from __future__ import annotations

import psutil

from dataset_dl.process import Process


class Activity:
    """Signs of life of s5cmd: the bytes it has written to files, or its CPU time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._child: psutil.Process | None = None
        self._sign: float | None = None
        self.written: int | None = None
        self.memory_bytes: int | None = None

    def moved(self) -> bool:
        """Take a sample; True if s5cmd has done something since the last one."""
        try:
            self._child = self._child or psutil.Process(self._process.pid)
            sign = self._look(self._child)
            self.memory_bytes = self._child.memory_info().rss
        except psutil.Error:
            return False  # it has just ended
        changed = sign != self._sign
        self._sign = sign
        return changed

    def _look(self, child: psutil.Process) -> float:
        if can_count():
            self.written = max(0, written_bytes(child) - self._process.stdout_bytes)
            return self.written
        times = child.cpu_times()  # macOS does not count the bytes of a process
        return round(times.user + times.system, 1)


def can_count() -> bool:
    """Whether this system counts the bytes that a process writes; macOS does not."""
    return hasattr(psutil.Process, "io_counters")


def written_bytes(child: psutil.Process) -> int:
    """Return the bytes that a process has written to files and to its output."""
    counters = child.io_counters()
    total: int = getattr(counters, "write_chars", counters.write_bytes)
    return total
