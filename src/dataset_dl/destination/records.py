"""The records of a destination as one object: lock, journal, receipts and the kept plan."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from dataset_dl.destination import disk, lists, paths, tree
from dataset_dl.destination.attempts import SILENT_SECONDS
from dataset_dl.destination.consumers import Receipt
from dataset_dl.destination.journal import Journal
from dataset_dl.destination.lock import Hold, hold
from dataset_dl.destination.reading import (
    reading_complete,
    reading_evicted,
    reading_names,
    receipts_of,
)
from dataset_dl.destination.reports import encoded
from dataset_dl.errors import ManifestError
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Origin, Plan, Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.compare import Comparison, compare, joined, together
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import copy_of, open_plan


class Records:
    """The records of one writer of a destination, while it holds it.

    Several writers can share a destination if each has its own part of the plan, with a lock, a journal and a
    kept plan below ``.dataset-dl/parts/NAME``.

    Parameters
    ----------
    destination
        One that `paths.prepare` has created.
    part
        The name of the part; empty for the writer of the whole.
    run_id
        The run to record with each entry.

    Attributes
    ----------
    journal
        The record of complete, delivered and renamed series.
    kept
        Everything requested so far, as one plan; None if there is none, or if that plan is damaged.

    Raises
    ------
    StorageError
        On entering, if another writer holds it.
    """

    journal: Journal

    def __init__(self, destination: Path, part: str = "", run_id: str = "") -> None:
        self.destination = destination
        self.files = paths.files_of(destination, part)
        self._part = part
        self._run_id = run_id
        self._stack = ExitStack()
        self._hold: Hold | None = None
        self.kept: PlanFile | None = None
        self._compared: tuple[PlanFile, Comparison] | None = None

    def __enter__(self) -> Records:
        with ExitStack() as stack:
            self._hold = stack.enter_context(hold(self.destination, self._part))
            self.journal = stack.enter_context(
                Journal(self.files.journal, self._run_id, check=self._hold.check)
            )
            self.kept = _kept_or_damaged(self.files.plan)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def check(self) -> None:
        """Make sure that the destination is still the one that is held.

        Raises
        ------
        StorageError
            If it is gone, or another directory has taken its place.
        Superseded
            If another process has begun this part again.
        """
        assert self._hold is not None, "records are entered before they are used"
        self._hold.check()

    @property
    def is_superseded(self) -> bool:
        """Whether another process has begun this part again, so that nothing here may be touched any more."""
        return self._hold is not None and self._hold.is_superseded

    def compare(self, plan: Plan) -> Comparison:
        """Hold a plan against the kept one; the answer is remembered until something is kept."""
        if self.kept is None:
            return Comparison(is_new=True)
        if self._compared is None or self._compared[0] is not plan.rows:
            self._compared = plan.rows, compare(plan.rows, self.kept)
        return self._compared[1]

    def keep(self, plan: Plan) -> None:
        """Add a plan to the kept plan, and its requests to those on record."""
        if self.kept is None:
            self.set_aside_damaged_plan()
            plan.rows.save(self.files.plan, _both(Origin(), plan.origin))
            self.kept = plan.rows
        else:
            origin = _both(self.kept.origin, plan.origin)
            is_known = origin == _both(Origin(), self.kept.origin)
            is_new = self.compare(plan).is_new
            rows = joined(plan.rows, self.kept) if is_new else self.kept
            if is_new or not is_known:
                rows.save(self.files.plan, origin)
                rows.origin = origin
            self.kept = rows
        self._compared = None
        lists.remember(self.files, plan.requests)

    def set_aside_damaged_plan(self) -> Path | None:
        """Move a damaged kept plan aside; return its new path, or None if there is none."""
        if self.kept is not None or not os.path.lexists(self.files.plan):
            return None
        aside = self.files.plan.with_suffix(".damaged")
        self.files.plan.replace(aside)
        return aside

    def sweep(self, directory: str, is_unfinished: Callable[[str], bool], *, is_shared: bool) -> None:
        """Remove the unfinished files that an engine has left in a directory.

        From one that several series share, the writer of a part only removes what nobody has written to for
        long: it may belong to another part. Whoever was superseded removes nothing.
        """
        if self.is_superseded:
            return
        until = disk.clock(self.files.folder) - SILENT_SECONDS if self._part and is_shared else None
        tree.sweep(f"{self.destination}/{directory}", is_unfinished, until)

    def credit(self, rights_of: Callable[[PlanFile], Rights]) -> None:
        """Write licences and citations for everything requested so far."""
        if self.kept is not None:
            lists.write_rights(self.files, rights_of(self.kept))

    def finish(self, report: Report, plan: Plan) -> None:
        """Write the report of a run, and the lists of failed series and of series that IDC lacks."""
        self.check()
        lists.write_failures(self.files, report.failures, plan.idc_version)
        lists.write_missing(self.files, plan.missing)
        self.journal.finish_run(encoded(report))


def open_records(destination: Path, part: str = "", run_id: str = "") -> Records | None:
    """Enter the records of a destination; None if it has none, or they cannot be written."""
    if not paths.files_of(destination, part).folder.is_dir():
        return None
    try:
        return Records(destination, part, run_id).__enter__()
    except (OSError, sqlite3.OperationalError):  # a complete tree on a read-only disk needs none
        return None


def kept_plan(destination: Path, *, checked: bool = True) -> PlanFile | None:
    """Return a copy of everything requested in a destination by any writer; None if there is nothing.

    Parameters
    ----------
    destination
        The directory of a download.
    checked
        Check every row. A plan that is only joined with a new one needs no check.

    Raises
    ------
    ManifestError
        If a kept plan is damaged or a symbolic link.
    """
    several = [
        rows for files in paths.writers(destination) if (rows := _kept_by(files.plan, checked=checked))
    ]
    if len(several) < 2:
        return several[0] if several else None
    origin = several[0].origin
    for rows in several[1:]:
        origin = _both(origin, rows.origin)
    if (everything := together(several)) is None:
        everything, *rest = several
        for rows in rest:
            everything = joined(rows, everything)
    everything.origin = origin._replace(cut=None)
    return everything


def kept_with_requests(destination: Path) -> PlanFile | None:
    """Return `kept_plan`, with the requests that may match more series in a newer index.

    Raises
    ------
    ManifestError
        If the plan or the requests are damaged.
    """
    rows = kept_plan(destination)
    if rows is not None:
        every = [lists.requests(files) for files in paths.writers(destination)]
        requests = dict.fromkeys(request for several in every for request in several)
        rows.origin = rows.origin._replace(requests=tuple(requests))
    return rows


@contextmanager
def reading_renamed(destination: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """Give a function from key to object name → file name, over the journals of all writers."""
    with ExitStack() as stack:
        writers = [stack.enter_context(reading_names(files.journal)) for files in paths.writers(destination)]
        yield lambda key: next((names for each in writers if (names := each(key))), {})


@contextmanager
def reading_used(destination: Path) -> Iterator[Callable[[PlannedSeries], bool]]:
    """Give a function: whether a series was delivered and then removed, by the journals of all writers."""
    with _by_any_writer(destination, reading_evicted) as is_used:
        yield is_used


def receipts(destination: Path, kind: str) -> list[Receipt]:
    """Return the receipts of all writers for consumers of a kind, like ``xnat``."""
    return [each for files in paths.writers(destination) for each in receipts_of(files.journal, kind)]


@contextmanager
def reading_whole(destination: Path) -> Iterator[Callable[[PlannedSeries], bool]]:
    """Give a function: whether a series is complete, by the journals of all writers."""
    with _by_any_writer(destination, reading_complete) as is_whole:
        yield is_whole


@contextmanager
def _by_any_writer(
    destination: Path,
    reading: Callable[[Path], AbstractContextManager[Callable[[PlannedSeries], bool]]],
) -> Iterator[Callable[[PlannedSeries], bool]]:
    """Give a function: whether the journal of any writer says so of a series."""
    with ExitStack() as stack:
        files = paths.writers(destination)
        writers = [stack.enter_context(reading(each.journal)) for each in files]
        yield lambda series: any(says(series) for says in writers)


def _kept_by(path: Path, *, checked: bool) -> PlanFile | None:
    if not os.path.lexists(path):
        return None
    if path.is_symlink():
        raise ManifestError(
            str(path), f"The kept plan {path} is a symbolic link, which is not followed.", "Remove it."
        )
    return open_plan(path, may_be_empty=True) if checked else copy_of(path)


def _kept_or_damaged(path: Path) -> PlanFile | None:
    """Return the plan kept of earlier downloads; None also if it is damaged, to be set aside later."""
    try:
        return _kept_by(path, checked=False)
    except ManifestError:
        return None


def _both(earlier: Origin, now: Origin) -> Origin:
    """Merge two origins; missing series may be skipped only if that was allowed for all of them."""
    missing = tuple(dict.fromkeys([*earlier.missing, *now.missing]))
    left = set(earlier.missing) - set(now.missing)
    skip = (earlier.skip_missing or not left) and (now.skip_missing or not now.missing)
    template = now.file_template or earlier.file_template
    # Which part it is; or of which plan everything was requested, whatever else was.
    cut = now.cut or earlier.cut
    return Origin(missing=missing, skip_missing=skip, file_template=template, cut=cut)
