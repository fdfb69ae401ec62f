"""The disk against a plan. Nothing else in this package decides that a series is complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from dataset_dl.model.series import STATE_DIRECTORY, PlannedSeries

T = TypeVar("T")

INSTANCE_SUFFIX = ".dcm"
# So many objects at the most are listed at once, unless one series has more.
_BATCH_INSTANCES = 50_000
_BATCH_SERIES = 2_000


class Found(NamedTuple):
    """What a directory holds: instances and their bytes."""

    instances: int
    size_bytes: int


NOTHING = Found(0, 0)


def look(directory: str | Path) -> Found:
    """Count the instances in a directory and sum their sizes; links are not followed."""
    instances = size_bytes = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(INSTANCE_SUFFIX) and entry.is_file(follow_symlinks=False):
                    instances += 1
                    size_bytes += entry.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        pass
    return Found(instances, size_bytes)


def look_at(directory: str | Path, names: Iterable[str]) -> Found:
    """The same for named files only, where several series share a directory."""
    sizes = [size for name in names if (size := file_size(os.path.join(directory, name))) is not None]
    return Found(len(sizes), sum(sizes))


def file_size(path: str | Path) -> int | None:
    """Bytes of a file; None if there is none, or a link or something else in its place."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def instances(directory: str | Path) -> list[os.DirEntry[str]]:
    """The files in a directory that `look` counts."""
    try:
        with os.scandir(directory) as entries:
            return [
                entry
                for entry in entries
                if entry.name.endswith(INSTANCE_SUFFIX) and entry.is_file(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def agrees(found: Found, series: PlannedSeries) -> bool:
    """Whether a series is complete: its count and its bytes are those of the index."""
    return found.instances == series.instanceCount and found.size_bytes == series.size_bytes


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins as a DICOM file does (PS3.10: 128 bytes, then ``DICM``)."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def is_zero(path: str | Path) -> bool:
    """Whether a file has nothing but zero bytes where its header should be, as after a loss of power."""
    with open(path, "rb") as file:
        return not any(file.read(1024))


def unfinished(directory: str | Path, is_unfinished: Callable[[str], bool]) -> list[str]:
    """The names of the files in a directory that an engine has begun and not finished."""
    try:
        return [name for name in os.listdir(directory) if is_unfinished(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def sweep(directory: str | Path, is_unfinished: Callable[[str], bool]) -> int:
    """Remove what an interrupted engine left in a directory; returns how many files."""
    removed = 0
    for name in unfinished(directory, is_unfinished):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
            removed += 1
    return removed


def instance_paths(directory: Path, names: Iterable[str] | None = None) -> tuple[Path, ...]:
    """The files of a series, sorted by name."""
    found = names if names is not None else (
        name for name in os.listdir(directory) if name.endswith(INSTANCE_SUFFIX)
    )  # fmt: skip
    return tuple(directory / name for name in sorted(found))


def instance_directories(root: Path) -> Iterator[str]:
    """Every directory below `root` that holds instances, relative to it."""
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = sorted(name for name in subdirectories if name != STATE_DIRECTORY)
        if any(name.endswith(INSTANCE_SUFFIX) for name in names):
            yield Path(directory).relative_to(root).as_posix()


def batches(items: Iterable[T], instances_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Lists of items small enough that what the store lists of them fits into memory."""
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
