"""The disk against a plan. Nothing else in this package decides that a series is complete."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dataset_dl.model import STATE_DIRECTORY, Deviation, PlannedSeries, Verification

_INSTANCE_SUFFIX = ".dcm"
# s5cmd writes to the final name with figures behind it, then renames.
_TEMPORARY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.dcm[0-9]+")


class Found(NamedTuple):
    """What a directory holds: instances, their bytes, and names that s5cmd left unfinished."""

    instances: int
    size_bytes: int
    temporaries: list[str]


def look(directory: str | Path) -> Found:
    """Count the instances in a directory and sum their sizes; links are not followed."""
    instances = size_bytes = 0
    temporaries: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(_INSTANCE_SUFFIX):
                    if entry.is_file(follow_symlinks=False):
                        instances += 1
                        size_bytes += entry.stat(follow_symlinks=False).st_size
                elif _TEMPORARY.fullmatch(entry.name):
                    temporaries.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return Found(instances, size_bytes, temporaries)


def look_at(directory: str | Path, names: Iterable[str]) -> Found:
    """The same for named files only, where several series share a directory."""
    instances = size_bytes = 0
    for name in names:
        with suppress(OSError):
            found = os.lstat(os.path.join(directory, name))
            if stat.S_ISREG(found.st_mode):
                size_bytes += found.st_size
                instances += 1
    return Found(instances, size_bytes, [])


def agrees(found: Found, series: PlannedSeries) -> bool:
    """Whether a series is complete: its count and its bytes are those of the index."""
    return found.instances == series.instanceCount and found.size_bytes == series.size_bytes


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins as a DICOM file does (PS3.10: 128 bytes, then ``DICM``)."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def sweep(directory: str | Path) -> int:
    """Remove what an interrupted s5cmd left in a directory; returns how many files."""
    removed = 0
    for name in look(directory).temporaries:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
            removed += 1
    return removed


def instance_paths(directory: Path, names: Iterable[str] | None = None) -> tuple[Path, ...]:
    """The files of a series, sorted by name."""
    found = names if names is not None else (
        name for name in os.listdir(directory) if name.endswith(_INSTANCE_SUFFIX)
    )  # fmt: skip
    return tuple(directory / name for name in sorted(found))


def verify(root: Path, directories: Iterable[tuple[str, int, int, int]]) -> Verification:
    """Hold a tree against what each of its directories should hold.

    Parameters
    ----------
    root
        The tree.
    directories
        Directory relative to `root`, number of series in it, instances and bytes expected.
    """
    series_count = complete = size_bytes = 0
    deviations = []
    for directory, series, instances, expected_bytes in directories:
        series_count += series
        size_bytes += expected_bytes
        found = look(root / directory)
        deviation = _deviation(directory, instances, expected_bytes, found)
        if deviation is None:
            complete += series
        else:
            deviations.append(deviation)
    return Verification(root, series_count, complete, size_bytes, tuple(deviations))


def instance_directories(root: Path) -> Iterator[str]:
    """Every directory below `root` that holds instances, relative to it."""
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = sorted(name for name in subdirectories if name != STATE_DIRECTORY)
        if any(name.endswith(_INSTANCE_SUFFIX) for name in names):
            yield Path(directory).relative_to(root).as_posix()


def _deviation(directory: str, instances: int, size_bytes: int, found: Found) -> Deviation | None:
    if found.instances == instances and found.size_bytes == size_bytes:
        return None
    if found.instances < instances:
        problem = "missing"
    elif found.instances > instances:
        problem = "extra"
    else:
        problem = "short" if found.size_bytes < size_bytes else "long"
    return Deviation(directory, problem, instances, size_bytes, found.instances, found.size_bytes)  # type: ignore[arg-type]
