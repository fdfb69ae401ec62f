"""How long to wait before something that failed is tried again."""

from __future__ import annotations

_LONGEST_SECONDS = 60.0


def pause_before(retry: int, first_seconds: float) -> float:
    """Return the seconds before a retry, counted from 0: four times those of the one before, up to 60."""
    return min(first_seconds * 4.0**retry, _LONGEST_SECONDS)
