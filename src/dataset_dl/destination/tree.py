"""Compare the disk with a plan. Nothing else in this package decides that a series is complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from dataset_dl.destination import disk
from dataset_dl.errors import StorageError
from dataset_dl.model.series import STATE_DIRECTORY, PlannedSeries, Series

T = TypeVar("T")

INSTANCE_SUFFIX = ".dcm"
# The most objects and series to list together; a single series may have more objects.
_BATCH_INSTANCES = 50_000
_BATCH_SERIES = 2_000


class Found(NamedTuple):
    """The number of instances in a directory, and their bytes."""

    instances: int
    size_bytes: int


NOTHING = Found(0, 0)


def look(directory: str | Path, named: Collection[str] = ()) -> Found:
    """Count the instances in a directory and sum their sizes, without following links.

    Files that a plan names count too, whatever their ending.
    """
    instances = size_bytes = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                is_one = entry.name.endswith(INSTANCE_SUFFIX) or entry.name in named
                if is_one and entry.is_file(follow_symlinks=False):
                    instances += 1
                    size_bytes += entry.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        pass
    return Found(instances, size_bytes)


def look_at(directory: str | Path, names: Iterable[str]) -> Found:
    """Do the same for named files only, if several series share a directory."""
    sizes = [size for name in names if (size := file_size(os.path.join(directory, name))) is not None]
    return Found(len(sizes), sum(sizes))


def file_size(path: str | Path) -> int | None:
    """Return the bytes of a file; None if it is missing, a link or anything but a regular file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def instances(directory: str | Path, named: Collection[str] = ()) -> list[os.DirEntry[str]]:
    """Return the files in a directory that `look` counts."""
    try:
        with os.scandir(directory) as entries:
            return [
                entry
                for entry in entries
                if (entry.name.endswith(INSTANCE_SUFFIX) or entry.name in named)
                and entry.is_file(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def agrees(found: Found, series: PlannedSeries) -> bool:
    """Whether a series is complete: count and bytes on disk equal those of its row."""
    return found.instances == series.instanceCount and found.size_bytes == series.size_bytes


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins like a DICOM file (PS3.10: 128 bytes, then ``DICM``)."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def is_zero(path: str | Path) -> bool:
    """Whether a file has only zero bytes in place of its header, as after a power loss."""
    with open(path, "rb") as file:
        return not any(file.read(1024))


def unfinished(directory: str | Path, is_unfinished: Callable[[str], bool]) -> list[str]:
    """Return the names of files in a directory that an engine has begun but not finished."""
    try:
        return [name for name in os.listdir(directory) if is_unfinished(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def sweep(directory: str | Path, is_unfinished: Callable[[str], bool], until: float | None = None) -> int:
    """Remove the unfinished files of an interrupted engine from a directory; return how many.

    Parameters
    ----------
    directory, is_unfinished
        Where, and whether a name is that of an unfinished file.
    until
        Leave what was written to since then, in seconds since 1970 by the clock of the file system: it may
        belong to another writer.
    """
    removed = 0
    for name in unfinished(directory, is_unfinished):
        path = os.path.join(directory, name)
        with suppress(FileNotFoundError):
            if until is None or os.lstat(path).st_mtime < until:
                os.unlink(path)
                removed += 1
    return removed


def instance_paths(directory: Path, names: Iterable[str] | None = None) -> tuple[Path, ...]:
    """Return the files of a series, sorted by name."""
    found = names if names is not None else (
        name for name in os.listdir(directory) if name.endswith(INSTANCE_SUFFIX)
    )  # fmt: skip
    return tuple(directory / name for name in sorted(found))


def instance_directories(root: Path) -> Iterator[str]:
    """Yield every directory below `root` that contains instances, relative to it."""
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = sorted(name for name in subdirectories if name != STATE_DIRECTORY)
        if any(name.endswith(INSTANCE_SUFFIX) for name in names):
            yield Path(directory).relative_to(root).as_posix()


def batches(items: Iterable[T], instances_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Split items into lists so small that the store's listing of each fits into memory."""
    batch: list[T] = []
    instances = 0
    for item in items:
        batch.append(item)
        instances += instances_of(item)
        if len(batch) >= _BATCH_SERIES or instances >= _BATCH_INSTANCES:
            yield batch
            batch, instances = [], 0
    if batch:
        yield batch


def remove(series: Series, destination: Path) -> None:
    """Remove the files of a series, and the directories that become empty.

    Raises
    ------
    StorageError
        If a file cannot be removed, or a link leads out of the destination.
    """
    disk.Cage(destination).check(series.planned.directory)
    try:
        for path in series.paths:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            str(series.directory),
            f"{error.filename} was delivered but cannot be removed ({error.strerror}).",
            "Make it removable, then run the same command again.",
        ) from None
    directory = series.directory
    with suppress(OSError):  # something else is in it
        while directory != destination and destination in directory.parents:
            os.rmdir(directory)
            directory = directory.parent
