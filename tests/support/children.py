"""The child processes of this process."""

from __future__ import annotations

import contextlib

import psutil

_PROGRAMS = {"s5cmd": "s5cmd", "curl": "dataset_dl.engines.curl.worker"}


def running(engine: str = "s5cmd") -> list[psutil.Process]:
    """Return the descendants that work for an engine; one that ends during the search does not count."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == engine or _PROGRAMS[engine] in child.cmdline():
                found.append(child)
    return found
