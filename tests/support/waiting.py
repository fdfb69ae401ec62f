"""Wait for what other processes or threads do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it does not become so"
        time.sleep(0.05)
