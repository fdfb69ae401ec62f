"""Mend partial series: compare their files with the store's list, and remove wrong ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination import checksums
from dataset_dl.destination.tree import batches, file_size, instances, is_dicom
from dataset_dl.engines.protocol import Engine
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import Fetch, PlannedSeries, StoredObject, Suspects
from dataset_dl.transfer.ledger import State, Undone


class Inspection(NamedTuple):
    """The result of comparing a series with the store.

    Attributes
    ----------
    awaited
        Number of files still to fetch; None if unknown.
    present
        Names of the right files; empty unless files have to be known by name.
    proven
        Whether the right files were compared with the store's checksums.
    unknown
        Number of files for which the store lists no checksum that can be compared.
    removed
        Number of files that differed from their objects and were removed.
    problem
        Why this store cannot complete the series, if that is already clear.
    """

    awaited: int | None
    present: tuple[str, ...] = ()
    proven: bool = False
    unknown: int = 0
    removed: int = 0
    problem: tuple[Cause, str] | None = None

    @property
    def is_proof(self) -> bool:
        """Whether the whole series was compared with the store's checksums."""
        return self.proven and self.awaited == 0


class Mender:
    """Finds the missing files of partial series, and removes wrong files.

    Parameters
    ----------
    engine
        Lists the store's objects.
    destination
        Where the series are.
    by_name
        Whether files have to be known by name.
    md5
        Compare checksums too, not only sizes.
    suspects
        Directory → names of files that are wrong, whatever their size; each name applies once.
    began
        When this download began, in seconds since 1970.
    check
        Called before a file is removed, and raises if that is no longer for this writer to decide.
    """

    def __init__(
        self,
        engine: Engine,
        destination: Path,
        *,
        by_name: bool,
        md5: bool,
        suspects: Suspects,
        began: float,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.engine = engine
        self._destination = destination
        self._by_name = by_name
        self._md5 = md5
        self._suspects = dict(suspects)
        self._began = began
        self._check = check
        self._inspections: dict[str, Inspection] = {}

    def orders(self, undone: Iterable[Undone]) -> Iterator[Fetch]:
        """Yield what the engine has to fetch, in the order of `undone`."""
        self._inspections.clear()
        for state, several in groupby(undone, key=attrgetter("state")):
            series = (each.series for each in several)
            if state is not State.PARTIAL:
                yield from map(Fetch.whole, series)
                continue
            for batch in batches(series, attrgetter("expected_instances")):
                for fetch, inspection in self.inspect(batch):
                    self._inspections[fetch.series.key] = inspection
                    yield fetch

    def take(self, series: PlannedSeries) -> Inspection | None:
        """Return the inspection of a series from when it was last ordered, and forget it."""
        return self._inspections.pop(series.key, None)

    def inspect(self, batch: list[PlannedSeries]) -> list[tuple[Fetch, Inspection]]:
        """Compare series with the store, and remove wrong files."""
        if not batch:
            return []
        stored = self.engine.objects(batch)
        found = []
        for series in batch:
            objects = stored.get(series.key)
            if objects is None:
                self.remove_new(series, only_strange=True)
                found.append((Fetch.whole(series), Inspection(series.instanceCount)))
            else:
                found.append(self._compare(series, objects))
        return found

    def _compare(self, series: PlannedSeries, objects: list[StoredObject]) -> tuple[Fetch, Inspection]:
        directory = self._destination / series.directory
        if (wanted := series.wanted()) is not None:
            objects = [each for each in objects if each.name in wanted]
        if wanted is None and not self._by_name:
            _name_as_objects(directory, objects)
        sizes = {each.name: file_size(directory / each.name) for each in objects}
        there = [each for each in objects if sizes[each.name] is not None]
        suspects = self._suspects.get(series.directory, frozenset())
        right = [each for each in there if each.name not in suspects and sizes[each.name] == each.size_bytes]
        unknown = 0
        if self._md5:
            outcomes = checksums.compare((directory / each.name, each) for each in right)
            unknown = outcomes.count("unknown")
            right = [each for each, same in zip(right, outcomes, strict=True) if same != "different"]
        present = {each.name for each in right}
        wrong = [each.name for each in there if each.name not in present]
        if wrong:
            self._check()
        for name in wrong:
            with suppress(FileNotFoundError):
                os.unlink(directory / name)
        if suspects:
            self._suspects[series.directory] = suspects - {each.name for each in objects}
        missing = tuple(each.name for each in objects if each.name not in present)
        fetch = Fetch(series, missing, tuple(sorted(present)))
        names = fetch.present if self._by_name else ()
        problem = _problem(series, objects)
        return fetch, Inspection(len(missing), names, self._md5, unknown, len(wrong), problem)

    def remove_new(
        self, series: PlannedSeries, own: Collection[str] | None = None, *, only_strange: bool = False
    ) -> None:
        """Remove the files that this download wrote for a series that cannot be completed.

        Parameters
        ----------
        series
            The series.
        own
            The names of its files, if others share its directory; by default those of its row, else all.
        only_strange
            Remove only files that are not DICOM, like a sign-in page.
        """
        names = series.wanted() if own is None else own
        for entry in instances(self._destination / series.directory, names or ()):
            is_its_own = names is None or entry.name in names
            is_new = entry.stat(follow_symlinks=False).st_mtime >= self._began
            if is_its_own and is_new and not (only_strange and is_dicom(entry.path)):
                self._check()
                os.unlink(entry.path)


def _name_as_objects(directory: Path, objects: list[StoredObject]) -> None:
    """Restore the objects' names of files that a layout or the user has renamed."""
    names = {each.name for each in objects}
    there = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in instances(directory)}
    strange = {name: size for name, size in there.items() if name not in names}
    if not strange:
        return
    missing = [each for each in objects if each.name not in there]
    pairs = [(name, each) for each in missing for name, size in strange.items() if size == each.size_bytes]
    outcomes = checksums.compare((directory / name, each) for name, each in pairs)
    for (name, each), outcome in zip(pairs, outcomes, strict=True):
        if outcome == "same" and name in strange and not (directory / each.name).exists():
            (directory / name).rename(directory / each.name)
            del strange[name]


def _problem(series: PlannedSeries, objects: list[StoredObject]) -> tuple[Cause, str] | None:
    count, size_bytes = len(objects), sum(each.size_bytes for each in objects)
    if series.instanceCount is None or series.size_bytes is None:
        return None
    if count < series.instanceCount:
        return (
            "not_found",
            f"the store lists {count:,} objects, but the index says {series.instanceCount:,}"
            " (objects dated later than this machine's clock are ignored: is the clock right?)",
        )
    if count > series.instanceCount:
        return (
            "extra_files",
            f"the store lists {count:,} objects, but the index says {series.instanceCount:,}",
        )
    if size_bytes != series.size_bytes:
        return "truncated", f"the store lists {size_bytes:,} bytes, but the index says {series.size_bytes:,}"
    return None
