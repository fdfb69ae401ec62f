"""Move the series of a part from its own destination to the one of all parts."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dataset_dl.cluster.writers import Writer
from dataset_dl.destination import disk, paths
from dataset_dl.destination.tree import agrees, instances, look, look_at
from dataset_dl.errors import StorageError
from dataset_dl.model.series import PlannedSeries
from dataset_dl.scratch import written_whole


def move_all(writer: Writer, target: Path) -> None:
    """Move the files of all complete series of a part; a move that was interrupted goes on.

    Raises
    ------
    StorageError
        If one is not complete where it was, nor where it goes.
    """
    entries = writer.entries
    here, there = disk.Cage(target), disk.Cage(writer.root)
    for row in writer.plan or ():
        if entries.is_complete(row):
            here.check(row.directory)
            there.check(row.directory)
            _move(row, row.wanted() or entries.names(row), writer.root, target)


def _move(row: PlannedSeries, names: Collection[str] | None, source: Path, target: Path) -> None:
    there, here = source / row.directory, target / row.directory
    here.parent.mkdir(parents=True, exist_ok=True)
    if names is None and there.is_dir() and not os.path.lexists(here):
        with suppress(OSError):
            there.rename(here)
    here.mkdir(exist_ok=True)
    for entry in instances(there, names or ()):
        if names is None or entry.name in names:
            _move_file(Path(entry.path), here / entry.name)
    found = look(here) if names is None else look_at(here, names)
    if not agrees(found, row):
        raise StorageError(
            str(there),
            f"The series {row.title} is complete by the journal of {source}, but not all of its files are"
            " there; what was moved before stays moved.",
            f"Download that part again into {source}, then gather again.",
        )


def _move_file(path: Path, target: Path) -> None:
    """Move a file, to another file system too: there it gets its name when it is complete."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with written_whole(target) as unfinished:
            shutil.copyfile(path, unfinished)
        path.unlink()


def remove_empty(root: Path) -> None:
    """Remove the directories of a destination that are empty now."""
    for folder, _, _ in os.walk(root, topdown=False):
        if Path(folder) != root and paths.state(root) not in (Path(folder), *Path(folder).parents):
            with suppress(OSError):
                Path(folder).rmdir()
