"""How long to wait before something that failed is tried again."""

from __future__ import annotations

_LONGEST_SECONDS = 60.0
_MOST_STEPS = 100  # the pause is the longest by then, and 512 overflow a float


def pause_before(retry: int, first_seconds: float) -> float:
    """Return the seconds before a retry, counted from 0: four times those of the one before, up to 60."""
    return min(first_seconds * 4.0 ** min(retry, _MOST_STEPS), _LONGEST_SECONDS)
