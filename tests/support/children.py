"""The child processes of this process."""

from __future__ import annotations

import contextlib

import psutil


def running(name: str = "s5cmd") -> list[psutil.Process]:
    """Return the descendants with this name; one that ends during the search does not count."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == name:
                found.append(child)
    return found
