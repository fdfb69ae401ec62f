"""The programs that this process has running."""

from __future__ import annotations

import contextlib

import psutil


def running(name: str = "s5cmd") -> list[psutil.Process]:
    """Those called so, at any depth; one that ends while it is looked at is not running."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == name:
                found.append(child)
    return found
