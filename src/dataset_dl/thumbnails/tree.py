"""Thumbnails of any tree of DICOM files, whoever made it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import SelectionError
from dataset_dl.model.events import Event, Working
from dataset_dl.model.series import Series, nameless
from dataset_dl.pixels.identity import is_dicom
from dataset_dl.thumbnails.consumer import Thumbnails, require
from dataset_dl.thumbnails.database import settings_text
from dataset_dl.thumbnails.rows import NO_FAILURE, FileState, Row, described
from dataset_dl.thumbnails.settings import Settings
from dataset_dl.transfer.crew import Processes, Taken

# Files that a process gets together; the levels of a slide are fewer.
_FILES_TOGETHER = 64
_WAIT_SECONDS = 0.005
_AHEAD = 4
_MESSAGES = 10


@dataclass
class Summary:
    """What a run has made.

    Attributes
    ----------
    target
        The directory of the database and the pictures.
    files, known_files
        Files of the tree, and how many of them had not changed since an earlier run.
    known_failures
        Failures that earlier runs have found.
    pictures
        Pictures made now.
    causes
        Cause → number of rows without a picture, made now.
    failures
        How many of these are failures: something is wrong with the file.
    messages
        What is wrong with the first of these.
    seconds
        Phase → processor seconds: ``read``, ``decode``, ``draw``, ``write``.
    elapsed_seconds
        Wall time.
    """

    target: Path
    files: int = 0
    known_files: int = 0
    known_failures: int = 0
    pictures: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    elapsed_seconds: float = 0.0

    @property
    def failures(self) -> int:
        """Rows that say that something is wrong with a file."""
        return sum(count for cause, count in self.causes.items() if cause not in NO_FAILURE)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values for JSON."""
        return {
            "target": str(self.target),
            "files": self.files,
            "known_files": self.known_files,
            "pictures": self.pictures,
            "causes": dict(self.causes),
            "failures": self.failures,
            "known_failures": self.known_failures,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }


def make_thumbnails(
    root: str | Path,
    target: str | Path | None = None,
    *,
    settings: Settings | None = None,
    processes: int | None = None,
    show: Callable[[Event], object] = lambda event: None,
) -> Summary:
    """Make thumbnails of every frame of every DICOM file below a directory.

    Parameters
    ----------
    root
        The directory; files are found by their ending or by their first bytes.
    target
        Where to put database and pictures; beside the directory, ``ROOT-thumbnails``, if None.
    settings
        How to make them.
    processes
        How many processes; one a core if None.
    show
        Receives `Working` events.

    Returns
    -------
    Summary
        What was made; the same call again makes only what is new or has changed.

    Raises
    ------
    SelectionError
        If there is no such directory, or it has no DICOM file.
    MissingExtra
        If the extra is not installed.
    StorageError
        If the target cannot be written, or another run writes there.
    """
    require()
    tree = disk.absolute(root)
    if not tree.is_dir():
        raise SelectionError(str(tree), f"{tree} is not a directory.")
    chosen = settings or Settings()
    place = disk.absolute(f"{tree}-thumbnails" if target is None else target)
    options = {name: str(value) for name, value in chosen.to_dict().items()}
    request = ConsumerRequest("thumbnails", str(place), tree, options)
    run = _Run(tree, request, processes or os.cpu_count() or 1, show)
    return run.summary()


class _Run:
    """One run of `make_thumbnails`."""

    def __init__(
        self, tree: Path, request: ConsumerRequest, processes: int, show: Callable[[Event], object]
    ) -> None:
        self._tree = tree
        self._consumer = Thumbnails(request)
        self._crew = Processes(request, processes)
        self._most_waiting = processes * _AHEAD
        self._show = show
        self._summary = Summary(self._consumer.target)
        self._open: dict[str, Series] = {}
        self._done_bytes = 0
        self._number = 0

    def summary(self) -> Summary:
        began = time.monotonic()
        self._consumer.begin()
        try:
            self._run()
        finally:
            self._crew.close()
            self._consumer.close()
        self._summary.elapsed_seconds = time.monotonic() - began
        return self._summary

    def _run(self) -> None:
        database = self._consumer.database
        settings = settings_text(self._consumer.options)
        for files in _directories(self._tree, self._summary.target):
            unknown = []
            for file, state in files:
                self._summary.files += 1
                if database.is_known(state, settings):
                    self._summary.known_files += 1
                else:
                    unknown.append(file)
            for begin in range(0, len(unknown), _FILES_TOGETHER):
                self._give(unknown[begin : begin + _FILES_TOGETHER])
                self._take(self._most_waiting)
        self._take(1)
        self._summary.known_failures = database.failures() - self._summary.failures
        if not self._summary.files:
            raise SelectionError(str(self._tree), f"There is no DICOM file below {self._tree}.")

    def _give(self, files: list[Path]) -> None:
        self._number += 1
        key = str(self._number)
        series = Series(nameless(key), files[0].parent, tuple(files))
        self._open[key] = series
        self._crew.give(series)

    def _take(self, most: int) -> None:
        """Keep what has been made, and wait until fewer than so many are open."""
        while True:
            for taken in self._crew.taken():
                self._keep(taken)
            if len(self._open) < most:
                return
            time.sleep(_WAIT_SECONDS)

    def _keep(self, taken: Taken) -> None:
        series = self._open.pop(taken.key)
        if taken.error is not None:
            raise taken.error
        made = taken.made
        if made is None:
            if len(series.paths) > 1:  # one of them has ended its process
                for path in series.paths:
                    self._give([path])
                return
            made = self._crashed(series.paths[0], taken.message)
        for row in self._consumer.record(made):
            self._count(row)
        for phase, spent in made["seconds"].items():
            self._summary.seconds[phase] = self._summary.seconds.get(phase, 0.0) + spent
        self._done_bytes += sum(state[1] for state in made["files"])
        self._show(Working(f"{self._summary.pictures:,} pictures", self._done_bytes))

    def _count(self, row: Row) -> None:
        summary = self._summary
        if not row.cause:
            summary.pictures += 1
            return
        summary.causes[row.cause] += 1
        if row.is_failure and len(summary.messages) < _MESSAGES:
            summary.messages.append(row.message)

    def _crashed(self, path: Path, message: str) -> Mapping[str, Any]:
        from dataset_dl.thumbnails.making import state_of

        state = state_of(path, self._tree)
        row = Row(
            state.path, -1, "", "", "undecodable", f"{state.path}: {message}.", **described(None),
            width=None, height=None,
        )  # fmt: skip
        return {"rows": [row], "files": [state], "seconds": {}}


def _directories(tree: Path, target: Path) -> Iterator[list[tuple[Path, FileState]]]:
    """Yield the DICOM files of each directory, in a fixed order."""
    from dataset_dl.thumbnails.making import state_of

    for directory, below, names in os.walk(tree):
        here = Path(directory)
        below[:] = sorted(each for each in below if not each.startswith(".") and here / each != target)
        found = [here / name for name in sorted(names) if not name.startswith(".")]
        files = [each for each in found if each.is_file() and is_dicom(each)]
        if files:
            yield [(each, state_of(each, tree)) for each in files]
