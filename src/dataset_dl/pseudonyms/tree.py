"""Pseudonyms for a tree of DICOM files, whoever made it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import SelectionError
from dataset_dl.model.events import Event, Working
from dataset_dl.model.series import STATE_DIRECTORY, Series, nameless
from dataset_dl.pixels.identity import identify, is_dicom
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms import require
from dataset_dl.pseudonyms.consumer import Pseudonyms
from dataset_dl.pseudonyms.making import Made
from dataset_dl.pseudonyms.mapping import Mapping as Table
from dataset_dl.pseudonyms.memory import Memory
from dataset_dl.pseudonyms.summary import Summary
from dataset_dl.transfer.crew import Processes, Taken

_FILES_TOGETHER = 64
_AHEAD = 4
_WAIT_SECONDS = 0.005
_SAVE_SECONDS = 2.0


def pseudonymise(
    root: str | Path,
    target: str | Path,
    *,
    options: Mapping[str, str] | None = None,
    mapping: str | Path | None = None,
    processes: int | None = None,
    show: Callable[[Event], object] = lambda event: None,
) -> Summary:
    """Write every DICOM file below a directory with pseudonyms into another directory.

    Parameters
    ----------
    root
        A file, or a directory with whatever names and levels.
    target
        Where the new files go: ``PatientID/StudyInstanceUID/Modality_SeriesInstanceUID/UID.dcm``.
    options
        As for the consumer ``pseudonyms``.
    mapping
        A file for the table of who is who; none if None.
    processes
        How many processes; one a core if None.
    show
        Receives `Working` events.

    Returns
    -------
    Summary
        What was written, and what stays behind; the same call again does only the rest.

    Raises
    ------
    SelectionError
        If there is no such directory, no key, or an option is wrong.
    MissingExtra
        If the extra is not installed.
    StorageError
        If the target cannot be written, or another run writes there.
    """
    require()
    tree, place = disk.absolute(root), disk.absolute(target)
    if not tree.exists():
        raise SelectionError(str(tree), f"There is no {tree}; nothing was started.")
    if place == tree or tree in place.parents or place in tree.parents:
        raise SelectionError(
            str(place),
            f"{place} and {tree} are in one another, so originals and pseudonyms would be mixed; nothing was"
            " started.",
            "Choose a directory apart from the originals.",
        )
    if mapping is not None and place in disk.absolute(mapping).parents:
        raise SelectionError(
            str(mapping),
            "The table of who is who would be beside the data, which it undoes; nothing was started.",
            "Choose a place apart from both.",
        )
    if (options or {}).get("pseudonym"):
        _refuse_several(tree)
    run = _Run(
        tree,
        ConsumerRequest("pseudonyms", str(place), tree, dict(options or {})),
        None if mapping is None else disk.absolute(mapping),
        processes or os.cpu_count() or 1,
        show,
    )
    return run.summary()


def _refuse_several(tree: Path) -> None:
    """Refuse one pseudonym for several patients.

    Raises
    ------
    SelectionError
        If there are several.
    """
    patients: set[str] = set()
    for files in _directories(tree, Summary()):
        for path in files:
            with suppress(Unreadable, OSError):
                found = identify(path)
                patients.add(found.PatientID or found.StudyInstanceUID)
        if len(patients) > 1:
            raise SelectionError(
                "pseudonym",
                f"{tree} has files of several patients, or of several studies without a PatientID, which"
                " would get one pseudonym; nothing was started.",
                "Leave --pseudonym out, or name the files of one patient.",
            )


class _Run:
    """One run of `pseudonymise`."""

    def __init__(
        self,
        tree: Path,
        request: ConsumerRequest,
        mapping: Path | None,
        processes: int,
        show: Callable[[Event], object],
    ) -> None:
        self._tree = tree
        self._consumer = Pseudonyms(request)
        self._key = self._consumer.work.key
        # What is let through does not change what is made of a file.
        kept = {
            name: each for name, each in self._consumer.options.items() if name not in ("allowed", "excluded")
        }
        self._options = repr(sorted(kept.items()))
        self._table = None if mapping is None else Table(mapping, self._key)
        self._memory = Memory(self._consumer.target, self._key)
        self._crew = Processes(request, processes)
        self._most_open = processes * _AHEAD
        self._show = show
        self._summary = Summary()
        self._open: dict[str, Series] = {}
        self._written: list[tuple[bytes, str]] = []
        self._next_save = time.monotonic() + _SAVE_SECONDS
        self._number = 0

    def summary(self) -> Summary:
        began = time.monotonic()
        try:
            for files in _directories(self._tree, self._summary):
                left = [each for each in files if not self._is_known(each)]
                for begin in range(0, len(left), _FILES_TOGETHER):
                    self._give(tuple(left[begin : begin + _FILES_TOGETHER]))
                    self._take(self._most_open)
            self._take(1)
        finally:
            self._crew.close()
            self._save()
            self._memory.close()
        if not self._summary.files:
            raise SelectionError(
                str(self._tree), f"There is no DICOM file below {self._tree}.", self._summary.skipped_words
            )
        self._summary.elapsed_seconds = time.monotonic() - began
        return self._summary

    def _is_known(self, path: Path) -> bool:
        # Who keeps a table needs each file in it.
        if self._table is None and self._memory.is_known(self._mark(path)):
            self._summary.known += 1
            return True
        return False

    def _mark(self, path: Path) -> bytes:
        """Return a digest of a file as it is now, and of what is done with it."""
        status = path.stat()
        which = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{self._options}"
        return self._key.mark(os.fsencode(which).hex())

    def _give(self, files: tuple[Path, ...]) -> None:
        self._number += 1
        key = str(self._number)
        series = Series(nameless(key), files[0].parent, files)
        self._open[key] = series
        self._crew.give(series)

    def _take(self, most: int) -> None:
        """Count what has been made, and wait until fewer than so many are open."""
        while True:
            for taken in self._crew.taken():
                self._count(taken)
            if len(self._open) < most:
                return
            time.sleep(_WAIT_SECONDS)

    def _count(self, taken: Taken) -> None:
        series = self._open.pop(taken.key)
        if taken.error is not None:
            raise taken.error
        if taken.made is None:
            if len(series.paths) > 1:  # one of them has ended its process
                for path in series.paths:
                    self._give((path,))
            else:
                self._summary.problems[series.paths[0]] = taken.message
            return
        for path, (_, *rest) in zip(series.paths, taken.made["files"], strict=True):
            self._count_file(path, Made(*rest))
        summary = self._summary
        self._show(Working(f"{summary.done + summary.known:,} of {summary.files:,} files", 0))
        if time.monotonic() >= self._next_save:
            self._save()

    def _count_file(self, path: Path, made: Made) -> None:
        if made.held:
            self._summary.held[path] = made.held
        elif made.problem:
            self._summary.problems[path] = made.problem
        else:
            self._summary.done += 1
            self._written.append((self._mark(path), made.path))
            if self._table is not None:
                first, second, third = made.original
                one, two, three = made.new
                self._table.add((first, second, third), (one, two, three))

    def _save(self) -> None:
        # In this order: what is remembered is in the table, too.
        if self._table is not None:
            self._table.save()
        self._memory.add(self._written)
        self._written = []
        self._next_save = time.monotonic() + _SAVE_SECONDS


def _directories(tree: Path, summary: Summary) -> Iterator[list[Path]]:
    """Yield the DICOM files of each directory, in a fixed order.

    Raises
    ------
    SelectionError
        If a directory cannot be read, whose files would be forgotten.
    """
    if tree.is_file():
        summary.files += 1
        yield [tree]
        return

    def refuse(error: OSError) -> None:
        raise SelectionError(
            str(error.filename),
            f"{error.filename} cannot be read ({error.strerror}), so its files would be forgotten.",
            "Make it readable, then run the same command again.",
        )

    for directory, below, names in os.walk(tree, onerror=refuse):
        folders = [Path(directory, name) for name in sorted(below) if name != STATE_DIRECTORY]
        found = [Path(directory, name) for name in sorted(names)]
        left_out = {each: why for each in folders + found if (why := _why_skipped(each))}
        summary.skipped |= left_out
        below[:] = [each.name for each in folders if each not in left_out]
        files = [each for each in found if each not in left_out and is_dicom(each)]
        summary.others += sum(each not in left_out for each in found) - len(files)
        summary.files += len(files)
        if files:
            yield files


def _why_skipped(path: Path) -> str:
    """Return why nobody looks into a file or directory; empty if somebody does."""
    if path.is_dir():
        if path.is_symlink():
            return "a link to a directory"
        return "a hidden directory" if path.name.startswith(".") else ""
    if not path.is_file():
        return "a link to nothing, or a special file"
    # Hidden files that are no DICOM are of systems, not of patients.
    return "a hidden file" if path.name.startswith(".") and is_dicom(path) else ""
