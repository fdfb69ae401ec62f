"""Make of the parts of a plan one download: one tree, one journal, one plan, one report."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dataset_dl.cluster.moving import move_all, remove_empty
from dataset_dl.cluster.writers import (
    Writer,
    absent,
    cut_of,
    roots_of,
    target_of,
    together_of,
    was_gathered,
    whole_plan,
    writers_of,
)
from dataset_dl.destination import attempts, disk, lists, paths
from dataset_dl.destination.journal import Journal
from dataset_dl.destination.lock import HOLDER, hold
from dataset_dl.destination.merging import merge
from dataset_dl.destination.records import Records
from dataset_dl.destination.reports import combined, report_of, with_rest
from dataset_dl.destination.tree import agrees, look, look_at, sweep
from dataset_dl.engines.leftovers import is_begun, is_resumable
from dataset_dl.errors import ManifestError, StorageError, TransferIncomplete
from dataset_dl.model.outcome import Report, SeriesFailure
from dataset_dl.model.part import Part
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import origin_of
from dataset_dl.sources import rights_of
from dataset_dl.transfer import new_run_id
from dataset_dl.wording import first_few

_AGAIN_SECONDS = 0.2


def gather(*destinations: str | Path, to: str | Path | None = None, trust_journal: bool = False) -> Report:
    """Make of all parts of a plan one download, as if one machine had made it.

    Count and bytes of each series are looked at on the disk. What is gathered once can be gathered again, for
    example after a part was repeated.

    Parameters
    ----------
    *destinations
        The destination that all parts share, or the one of each part.
    to
        Where the series of several destinations are moved. Not needed if all parts share one.
    trust_journal
        Trust the journals for series that they list as complete, without a look at the disk.

    Returns
    -------
    Report
        Of the whole plan; ``report.ok`` if everything is there.

    Raises
    ------
    TransferIncomplete
        If a part was never begun, or was lost on another machine; nothing is changed then.
    StorageError
        If a part is being written.
    PlanError, ManifestError
        If the parts do not make up one plan, or there are none.
    """
    roots = roots_of(destinations)
    target = target_of(roots, to)
    writers = writers_of(roots)
    if not writers:
        return _again(target, roots, trust=trust_journal)
    _refuse_unfinished(writers)
    cut = cut_of(writers)
    lacking = absent(writers)
    if lacking and not (cut is not None and was_gathered(target, cut)):
        report = reported(writers)
        raise TransferIncomplete(
            f"{_parts(lacking)} did not begin or have damaged records;"
            f" {report.complete_series:,} of {report.series_count:,} series are complete. Nothing was"
            " changed.",
            f"Download {_each(lacking)}, then gather again.",
            report=report,
        )
    rows = together_of(writers) if lacking else whole_plan(writers)
    _check_writable(target)
    paths.prepare(target)
    with ExitStack() as stack, disk.guard(target):
        for root in {each.root for each in writers} - {target}:
            stack.enter_context(hold(root))
        records = stack.enter_context(Records(target, run_id=new_run_id()))
        told, earlier = _told(writers, target), report_of(records.files)
        if lacking and earlier is not None:
            told = with_rest(told, earlier, {row.key for row in rows})
        is_shared = rows.needs_names()
        for writer in writers:
            _sweep(writer, is_shared=is_shared)
            if writer.root != target:
                move_all(writer, target)
            merge(records.journal, writer.files.journal)
            lists.remember(paths.files_of(target), lists.requests(writer.files))
        records.keep(_plan(rows, writers))
        records.credit(rights_of)
        everything = records.kept if lacking else rows
        assert everything is not None, "a plan has just been kept"
        report = _finished(records, everything, told, trust=trust_journal)
        for root in {each.root for each in writers}:
            attempts.remove_all(root)
            if root != target:
                remove_empty(root)
    return report


def _again(target: Path, roots: Sequence[Path], *, trust: bool) -> Report:
    """Look once more at what was gathered before."""
    told = report_of(paths.files_of(target))
    if told is None:
        raise _no_parts(roots)
    _check_writable(target)
    with disk.guard(target), Records(target, run_id=new_run_id()) as records:
        if records.kept is None:
            raise _no_parts(roots)
        return _finished(records, records.kept, told, trust=trust)


def _check_writable(target: Path) -> None:
    disk.check(target)
    disk.check(paths.state(target))


def _finished(records: Records, rows: PlanFile, told: Report, *, trust: bool) -> Report:
    """Look at all series, and record the report."""
    report = _counted(told, _looked(rows, records.destination, records.journal, trust=trust))
    origin = origin_of(records.files.plan)
    report = replace(
        report,
        trusted_series=report.complete_series if trust else 0,
        missing=() if origin.skip_missing else origin.missing,
    )
    records.finish(report, replace(rows.plan(None), origin=origin))
    return report


def report_of_parts(*destinations: str | Path) -> Report:
    """Return one report of all parts, by their records alone; the series may be on other machines.

    Raises
    ------
    PlanError, ManifestError
        If the parts are not of one plan, or there are none.
    """
    roots = roots_of(destinations)
    writers = writers_of(roots)
    if not writers:
        raise _no_parts(roots)
    report = reported(writers)
    lacking = absent(writers)
    return replace(report, stopped=f"{_parts(lacking)} did not begin") if lacking else report


def reported(writers: Sequence[Writer]) -> Report:
    """Return one report of all parts, by their journals and by the last report of each.

    A part without a plan counts as not tried; how many series it has is known from the others.
    """
    cut = cut_of(writers)

    def states() -> Iterator[tuple[PlannedSeries, bool]]:
        for writer in writers:
            entries = writer.entries
            for row in writer.plan or ():
                yield row, entries.is_complete(row) or entries.is_evicted(row)

    report = _counted(_told(writers, writers[0].root), states())
    return replace(report, series_count=max(report.series_count, cut.series_count if cut is not None else 0))


def _looked(
    rows: PlanFile, target: Path, journal: Journal, *, trust: bool
) -> Iterator[tuple[PlannedSeries, bool]]:
    """Yield each series, and whether it is complete; bring the journal in line with the disk.

    What a damaged journal has forgotten counts if the disk has it, unless only the journal can tell whose the
    files of a directory are.
    """
    by_name = rows.needs_names()
    for row in rows:
        if journal.is_evicted(row) or (trust and journal.holds(row)):
            yield row, True
            continue
        names = row.wanted() or journal.names(row)
        if by_name and names is None:
            is_complete = False
        else:
            directory = f"{target}/{row.directory}"  # a Path would cost a fifth of a look
            is_complete = agrees(look(directory) if names is None else look_at(directory, names), row)
        is_known = journal.holds(row)
        if is_complete and not is_known:
            journal.record(row, names)
        elif is_known and not is_complete:
            journal.forget(row)
        yield row, is_complete


def _told(writers: Sequence[Writer], root: Path) -> Report:
    """Return what the last runs of all parts tell together."""
    last = [each.report for each in writers if each.report is not None]
    return combined(last, root) or Report(root, 0, 0, 0, 0, 0, 0, 0, 0, (), 0.0)


def _counted(told: Report, states: Iterable[tuple[PlannedSeries, bool]]) -> Report:
    """Return a report whose sums are those of some series, each with whether it is complete."""
    failed = {failure.planned.key: failure for failure in told.failures}
    asked, complete = [0, 0, 0], [0, 0, 0]
    failures: list[SeriesFailure] = []
    for row, is_complete in states:
        for sums in (asked, complete) if is_complete else (asked,):
            sums[0] += 1
            sums[1] += row.expected_instances
            sums[2] += row.expected_bytes
        if not is_complete:
            failures.append(failed.get(row.key) or _incomplete(row))
    return replace(
        told,
        series_count=asked[0],
        instance_count=asked[1],
        size_bytes=asked[2],
        complete_series=complete[0],
        complete_instances=complete[1],
        complete_bytes=complete[2],
        failures=tuple(failures),
    )


def _incomplete(row: PlannedSeries) -> SeriesFailure:
    words = "it is not complete on the disk, and no part says why"
    return SeriesFailure(row, "unknown", words, 0, 0)


def _no_parts(roots: Sequence[Path]) -> ManifestError:
    return ManifestError(
        str(roots[0]),
        f"There is nothing to gather: no parts of a plan are in {first_few([str(each) for each in roots])}.",
        "Name the directory that `idc download --part` went to.",
    )


def _refuse_unfinished(writers: Sequence[Writer]) -> None:
    """Refuse parts that are being written, and those of which another machine may have lost bytes."""
    lost = []
    for each in writers:
        left = attempts.left_by(each.root, each.name)
        if left.is_alive:
            # Somebody may just have looked, which takes the lock for a moment.
            time.sleep(_AGAIN_SECONDS)
            left = attempts.left_by(each.root, each.name)
        if left.is_alive:
            raise StorageError(
                str(each.root),
                f"Part {each.part} of {each.root} is being written; nothing was changed.",
                "Wait for it to end, then gather again.",
            )
        if left.is_doubtful:
            lost.append(each.part)
    if lost:
        raise TransferIncomplete(
            f"{_parts(lost)} did not end in order on another machine, which may not"
            " have written all bytes of its files. Nothing was changed.",
            f"Download {_each(lost)} again, which compares what is there; then gather.",
            report=reported(writers),
        )


def _parts(parts: Sequence[Part]) -> str:
    shown = first_few([str(each.number) for each in parts])
    return f"{'Part' if len(parts) == 1 else 'Parts'} {shown} of {parts[0].total}"


def _plan(rows: PlanFile, writers: Sequence[Writer]) -> Plan:
    """Return the whole plan, with all that its parts know of its origin."""
    origins = [each.plan.origin for each in writers if each.plan is not None]
    first = origins[0]
    requests = tuple(dict.fromkeys(request for origin in origins for request in origin.requests))
    missing = tuple(dict.fromkeys(each for origin in origins for each in origin.missing))
    cut = first.cut.whole if first.cut is not None else None
    origin = first._replace(requests=requests, missing=missing, cut=cut)
    return replace(rows.plan(None), origin=origin)


def _each(parts: Sequence[Part]) -> str:
    """Return how to download some parts."""
    return first_few([f"--part {each}" for each in parts])


def _sweep(writer: Writer, *, is_shared: bool) -> None:
    """Remove unfinished files of a part, if it may have left some.

    It has if one of its attempts did not end in order. From directories that parts share, none removes them.
    """
    is_left = os.path.lexists(writer.files.folder / HOLDER)
    if not is_left and writer.attempt == 1 and not is_shared:
        return
    for directory in dict.fromkeys(row.directory for row in writer.plan or ()):
        sweep(f"{writer.root}/{directory}", lambda name: is_begun(name) or is_resumable(name))
