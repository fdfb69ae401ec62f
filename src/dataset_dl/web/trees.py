"""Trees that were downloaded, below the directories of a page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_dl.destination import paths
from dataset_dl.destination.tree import agrees, look
from dataset_dl.duck import Database
from dataset_dl.errors import DatasetDlError
from dataset_dl.model.series import STATE_DIRECTORY, PlannedSeries
from dataset_dl.verbs.jobs import Jobs

_DEPTH, _MOST_DIRECTORIES = 4, 20_000


def trees(roots: Sequence[Path], jobs: Jobs) -> list[Path]:
    """Return the directories with records of a download: those near the roots, and those of jobs."""
    of_jobs = {
        job.destination
        for job in jobs.jobs()
        if any(job.destination.is_relative_to(root) for root in roots)
        and paths.state(job.destination).is_dir()
    }
    return sorted(of_jobs.union(_near(roots)))


def _near(roots: Sequence[Path]) -> Iterator[Path]:
    left = _MOST_DIRECTORIES
    level = list(roots)
    for _ in range(_DEPTH):
        below: list[Path] = []
        for directory in level:
            if (directory / STATE_DIRECTORY).is_dir():
                yield directory
                continue
            try:
                with os.scandir(directory) as entries:
                    below += [
                        Path(entry.path)
                        for entry in entries
                        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue
            left -= 1
            if left < 0:
                return
        level = below


def directory_of(several: Sequence[Path], identifier: str) -> Path | None:
    """Return the directory of a series in one of some trees; None if none has it completely and alone."""
    from dataset_dl.destination.records import kept_plan

    for tree in several:
        try:
            kept = kept_plan(tree, checked=False)
        except DatasetDlError:
            continue
        if kept is None:
            continue
        fields = ", ".join(PlannedSeries._fields)
        sql = f"SELECT {fields} FROM {kept.sql} WHERE SeriesInstanceUID = $1 OR key = $1"
        for row in map(PlannedSeries._make, Database().run(sql, [identifier])):
            if row.files is not None and row.scheme == "s3":
                continue  # only some files of a series of IDC were wanted; rows of archives name all
            found = Path(os.path.realpath(tree / row.directory))
            if found.is_relative_to(tree) and agrees(look(found, row.wanted() or ()), row):
                return found
    return None
