"""Which running system this is: what one start of a machine has in memory, another one does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


@cache
def kernel_id() -> str:
    """Return what identifies this machine since it was started.

    Processes with the same answer see the same pages of a file, also of one that is not on the disk yet.
    """
    try:
        return _LINUX.read_text(encoding="ascii").strip()
    except OSError:
        import platform

        import psutil

        return f"{platform.node()} {psutil.boot_time():.0f}"
