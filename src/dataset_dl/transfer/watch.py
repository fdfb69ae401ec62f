"""Detect what engines do not see: a store that sends too much, and directories that become links."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from dataset_dl.destination.tree import agrees, file_size, instances, look, unfinished
from dataset_dl.errors import NetworkError, StorageError
from dataset_dl.model.series import PlannedSeries

# A few objects more than the index says are an ordinary failure of that series.
_MOST_SURPLUS_FILES = 500
# Bytes that were written but are in no finished file are examined from here on, and at each doubling: they
# may be large objects in flight, or data fetched again after a fault.
_FIRST_LOOK_BYTES = 64 << 20
_TOLERATED_BYTES = 1 << 20
_LAST_SERIES = 64


class Watch:
    """Watches over one run of an engine.

    Parameters
    ----------
    destination
        Where it writes.
    is_unfinished
        Whether a name is that of an unfinished file of the engine.
    """

    def __init__(self, destination: Path, is_unfinished: Callable[[str], bool]) -> None:
        self._destination = str(destination)
        self._is_unfinished = is_unfinished
        self._surplus_files = 0
        self._finished_bytes = 0
        self._look_at_bytes = _FIRST_LOOK_BYTES
        self.surplus_directories: set[str] = set()

    def finished(self, size_bytes: int) -> None:
        """Count a finished file."""
        self._finished_bytes += size_bytes

    def surplus(self, directory: str) -> bool:
        """Count a surplus file of a series; True if there are clearly too many."""
        self._surplus_files += 1
        self.surplus_directories.add(directory)
        return self._surplus_files > _MOST_SURPLUS_FILES

    def flooded(self, written_bytes: int, in_flight: Iterable[PlannedSeries]) -> PlannedSeries | None:
        """Return a series with a single object larger than the whole series should be, if there is one.

        Of several series that share a directory, it is the largest: any of them may have the object.
        """
        if written_bytes - self._finished_bytes < self._look_at_bytes:
            return None
        self._look_at_bytes = 2 * (written_bytes - self._finished_bytes)
        largest: dict[str, PlannedSeries] = {}
        for series in in_flight:
            known = largest.setdefault(series.directory, series)
            # One whose size is not known yet may have any object.
            if known.is_exact and (not series.is_exact or series.expected_bytes > known.expected_bytes):
                largest[series.directory] = series
        for series in largest.values():
            directory = f"{self._destination}/{series.directory}"
            for name in unfinished(directory, self._is_unfinished) if series.is_exact else ():
                if (file_size(f"{directory}/{name}") or 0) > series.expected_bytes + _TOLERATED_BYTES:
                    return series
        return None

    def remove_surplus(self, completed: Iterable[PlannedSeries]) -> None:
        """Remove files that arrived in the directories of series after these were complete.

        Raises
        ------
        NetworkError
            If they cannot be distinguished from earlier files.
        """
        several = list(completed)
        # The engine may have ended before it reported surplus files of the last series.
        watched = self.surplus_directories | {each.directory for each in several[-_LAST_SERIES:]}
        for series in several:
            if series.directory not in watched or series.files is not None:
                continue
            entries = instances(f"{self._destination}/{series.directory}")
            by_age = sorted((entry.stat(follow_symlinks=False).st_ctime_ns, entry.path) for entry in entries)
            kept, late = by_age[: series.instanceCount], by_age[series.instanceCount :]
            if late and kept[-1][0] < late[0][0]:
                for _, path in late:
                    os.unlink(path)
            if not agrees(look(f"{self._destination}/{series.directory}"), series):
                raise NetworkError(
                    series.address,
                    f"The store kept sending files of the series {series.SeriesInstanceUID} after it was"
                    f" complete, so files in {series.directory} may be wrong now.",
                    f"`dataset-dl idc verify {self._destination} --md5 --repair` repairs them."
                    " Can you trust this store?",
                )

    def check_links(self, directories: Iterable[str]) -> None:
        """Make sure that directories have not become links since the download began.

        Raises
        ------
        StorageError
            If one, or one above it in the destination, is a symbolic link now.
        """
        for directory in directories:
            level = self._destination
            for component in directory.split("/"):
                level = f"{level}/{component}"
                if os.path.islink(level):
                    raise _became_a_link(level)


def _became_a_link(path: str) -> StorageError:
    return StorageError(
        path,
        f"{path} has been replaced by a symbolic link to {os.path.realpath(path)} while files were written"
        " to it: the last files may be at its target. The download was ended.",
        "Find out who did that, remove the link, then run the same command again.",
    )
