"""Limit how fast bytes are received."""

from __future__ import annotations

import threading
import time

# Unused rate may be made up for, up to this much of a second.
_SAVED_SECONDS = 0.2


class Pace:
    """Says how long to pause, so that a rate is not exceeded on average.

    Parameters
    ----------
    bytes_per_second
        The limit.

    Attributes
    ----------
    rate
        The limit; it may be changed at any time.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self.rate = bytes_per_second
        self._credit = 0.0
        self._received = 0
        self._at = time.monotonic()

    def pause(self, received_bytes: int) -> float:
        """Return how many seconds to wait before more is received, given what was received so far."""
        now = time.monotonic()
        saved = min(self._credit + (now - self._at) * self.rate, _SAVED_SECONDS * self.rate)
        self._credit = saved - (received_bytes - self._received)
        self._received, self._at = received_bytes, now
        return max(0.0, -self._credit / self.rate)


class SharedPace:
    """Holds several threads together to a rate.

    Parameters
    ----------
    bytes_per_second
        The limit.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self._pace = Pace(bytes_per_second)
        self._lock = threading.Lock()
        self._moved_bytes = 0

    @property
    def rate(self) -> float:
        """The limit."""
        return self._pace.rate

    def moved(self, count: int) -> float:
        """Count bytes, and return how many seconds to wait before more of them."""
        with self._lock:
            self._moved_bytes += count
            return self._pace.pause(self._moved_bytes)
