"""Bring files from the memory of the system to the disk, so that they outlast a power loss."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from dataset_dl.destination.tree import instances

# File systems write what several threads ask for together.
_AT_ONCE = 16


class Durable:
    """Makes series durable: their files, and the directories up to the destination.

    Parameters
    ----------
    destination
        Where the series are.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._synced: set[Path] = set()

    def keep(self, directory: str, names: Iterable[str] | None) -> None:
        """Return when files of a directory are on the disk; all its instances if none are named."""
        folder = self._destination / directory
        own = [each.name for each in instances(folder)] if names is None else names
        list(self._pool.map(_sync_file, (folder / name for name in own)))
        _sync_directory(folder)
        # The entry of each directory stands in the one above it.
        for above in folder.parents:
            if above in self._synced or not above.is_relative_to(self._destination):
                break
            _sync_directory(above)
            self._synced.add(above)

    def __enter__(self) -> Durable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()


def _sync_file(path: Path) -> None:
    # Windows syncs only files that are open for writing.
    _sync_path(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)


def _sync_directory(path: Path) -> None:
    if sys.platform != "win32":  # NTFS keeps its own journal of names, and opens no directory
        _sync_path(path, os.O_RDONLY)


def _sync_path(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync leaves bytes in the cache of the disk there
        return
    os.fsync(descriptor)
