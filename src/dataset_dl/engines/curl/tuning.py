"""How many connections to use: as many as bring more. Pure."""

from __future__ import annotations

_PERIOD_SECONDS = 0.6
# An attempt has to bring this much more to be kept. Too few connections cost more than too many.
_WORTH_GROWING, _WORTH_SHRINKING = 1.03, 1.08
# Steps are first large, then small.
_STEP, _SMALL_STEP = 1.6, 1.25
# A small object costs about as much as these bytes, whatever its size.
_OBJECT_BYTES = 30_000
_CALM_PERIODS = 25
# Chance alone may make a smaller number look better; below this it would cost too much.
_LEAST = 8


class Tuning:
    """The number of connections, adapted to what arrives.

    It grows as long as more connections bring more, first in large steps, then in small ones. If they never
    do, it shrinks as long as fewer bring more. After a while it tries again, because networks change.

    Parameters
    ----------
    first, most
        The number to begin with, and the largest.
    fixed
        Whether to stay at the first.
    """

    def __init__(self, first: int, most: int, *, fixed: bool = False) -> None:
        self.connections = first
        self._least, self._most = min(first, _LEAST), max(first, most)
        self._fixed = fixed
        self._best = 0.0
        self._calm = 0
        self._attempts: list[float] = []
        self._step: float | None = None
        self._before = first
        self._began: tuple[float, float] | None = None
        self._was_full = True
        self._begin_attempts()

    def note(self, now: float, received_bytes: int, completed: int, active: int) -> None:
        """Take a sample: what has come so far, and how many requests are under way."""
        if self._fixed:
            return
        work = float(received_bytes + completed * _OBJECT_BYTES)
        self._was_full = self._was_full and active >= self.connections
        if self._began is None:
            self._began = now, work
            return
        seconds = now - self._began[0]
        if seconds < _PERIOD_SECONDS:
            return
        rate = (work - self._began[1]) / seconds
        if self._was_full:
            self._judge(rate)
        self._began, self._was_full = (now, work), True

    def _begin_attempts(self) -> None:
        self._attempts = [1 / _STEP, _SMALL_STEP, _STEP]
        self._step, self._best, self._calm = None, 0.0, 0

    def _judge(self, rate: float) -> None:
        """Keep the last attempt or take it back, and make the next one."""
        if not self._attempts and self._step is None:
            self._calm += 1
            if self._calm >= _CALM_PERIODS:
                self._begin_attempts()
            return
        if self._step is None:
            self._best = rate
            self._step = self._attempts.pop()
        elif rate > (_WORTH_GROWING if self._step > 1 else _WORTH_SHRINKING) * self._best:
            self._best = rate
            if self._step > 1:
                self._attempts = [each for each in self._attempts if each > 1]  # fewer would not bring more
        else:
            self.connections = self._before
            self._step = self._attempts.pop() if self._attempts else None
        while self._step is not None and not self._try(self._step):
            self._step = self._attempts.pop() if self._attempts else None

    def _try(self, step: float) -> bool:
        wanted = round(self.connections * step) + (step > 1)
        wanted = max(self._least, min(self._most, wanted))
        if wanted == self.connections:
            return False
        self._before, self.connections = self.connections, wanted
        return True
