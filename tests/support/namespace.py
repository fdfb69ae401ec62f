"""A network namespace of this test run: what listens on every address there is reachable from nowhere else."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/thread-self/ns/net")


@contextmanager
def namespace() -> Iterator[None]:
    """Work in a namespace that has a loopback device only.

    It holds for this thread, and for the threads and processes that it starts meanwhile.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(_OWN, os.O_RDONLY)
    try:
        _checked(libc.unshare(_CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _checked(libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace can be made ({os.strerror(number)}); it takes root")
