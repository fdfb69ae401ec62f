"""From a plan to verified files: what is missing → engine → check on disk → report."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination import disk, lists, lock, paths
from dataset_dl.destination.journal import Journal
from dataset_dl.destination.kept import keep, kept_plan, set_aside_damaged
from dataset_dl.destination.lock import Hold
from dataset_dl.destination.tree import batches, sweep
from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.model.events import (
    Event,
    FetchStarted,
    Finished,
    Noticed,
    SeriesCompleted,
    SeriesFailed,
    Started,
)
from dataset_dl.model.outcome import Report, SeriesFailure
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries, Size, Suspects
from dataset_dl.plans.file import PlanFile
from dataset_dl.sources.idc import rights
from dataset_dl.transfer.ledger import Ledger, Line, State
from dataset_dl.transfer.naming import Naming
from dataset_dl.transfer.rounds import Options, Rounds
from dataset_dl.transfer.survey import Seen, survey

__all__ = ["Engine", "transfer"]

_UNLISTED = "the store does not name its files, or did not answer for them"
# Of a series, where nobody has said how many it has.
_USUAL_INSTANCES = 100


@dataclass(slots=True)
class _Totals:
    series: int = 0
    instances: int = 0
    size_bytes: int = 0

    def add(self, series: int, instances: int, size_bytes: int) -> None:
        self.series += series
        self.instances += instances
        self.size_bytes += size_bytes


class _Tally:
    """What a download has found, fetched and failed at."""

    def __init__(self, unlisted: Iterable[tuple[PlannedSeries, str]]) -> None:
        self.here, self.missing, self.present = _Totals(), _Totals(), _Totals()
        self.trusted = 0
        self.fetched_series = self.fetched_bytes = 0
        self.failures = [SeriesFailure(series, "not_found", why, 0, 0) for series, why in unlisted]
        self._unlisted = len(self.failures)

    def see(self, seen: Seen) -> None:
        """Count a series as it was found on disk."""
        series = seen.series
        if seen.state is State.COMPLETE:
            self.here.add(1, series.instanceCount, series.size_bytes)
            self.trusted += seen.trusted
        else:
            self.missing.add(1, series.instanceCount, series.size_bytes)
            instances = min(seen.found.instances, series.instanceCount)
            self.present.add(1, instances, min(seen.found.size_bytes, series.size_bytes))

    def feed(self, event: SeriesCompleted | SeriesFailed) -> None:
        """Count a series that was fetched, or failed."""
        if isinstance(event, SeriesCompleted):
            self.here.add(1, event.series.instanceCount, event.series.size_bytes)
            self.fetched_series += event.fetched
        else:
            self.failures.append(event.failure)

    def fetch_started(self, workers: int) -> FetchStarted:
        """What is fetched, once all series have been seen."""
        missing, present = self.missing, self.present
        return FetchStarted(
            missing.series,
            missing.instances,
            missing.size_bytes,
            present.instances,
            present.size_bytes,
            workers,
        )

    def report(self, plan: Plan, destination: Path, elapsed_seconds: float, stopped: str) -> Report:
        """The sum of it."""
        here = self.here
        return Report(
            destination=destination,
            series_count=plan.series_count + self._unlisted,
            instance_count=plan.instance_count,
            size_bytes=plan.size_bytes,
            complete_series=here.series,
            complete_instances=here.instances,
            complete_bytes=here.size_bytes,
            fetched_series=self.fetched_series,
            fetched_bytes=self.fetched_bytes,
            trusted_series=self.trusted,
            failures=tuple(self.failures),
            elapsed_seconds=elapsed_seconds,
            stopped=stopped,
            missing=() if plan.skip_missing else plan.missing,
        )


def transfer(
    plan: Plan,
    destination: Path,
    make_engine: Callable[[], Engine],
    *,
    retries: int = 2,
    pause_seconds: float = 1.0,
    md5: bool = False,
    trust_journal: bool = False,
    suspects: Suspects | None = None,
) -> Iterator[Event]:
    """Fetch what is missing of a plan, check it on disk, and say what happened.

    Parameters
    ----------
    plan
        What is wanted.
    destination
        Absolute path that its directories are below.
    make_engine
        Called only if something is missing.
    retries
        How often series are tried again that failed for a reason that may pass.
    pause_seconds
        The pause before the first of these rounds; each later one is four times as long, up to a minute.
    md5
        Compare every file with the store's checksums, too.
    trust_journal
        Believe the journal for the series that it has as complete, without a look at the disk.
    suspects
        Directory → names of files there that are wrong whatever their size. They are replaced, if the store
        has them; and the series of these directories are held against the store in any case.

    Yields
    ------
    Event
        From `Started` to `Finished`, which carries the report.

    Raises
    ------
    StorageError
        If the destination cannot be used, is full, or becomes full.
    NetworkError
        If the endpoint does not answer, or has fallen silent several times in a row.
    EngineMissing, EngineCrashed
        If s5cmd cannot be used, or has ended on its own several times in a row.
    """
    began = time.monotonic()
    asked = plan
    plan, unlisted = _sized(plan, destination, make_engine) if plan.unsized_series else (plan, [])
    tally = _Tally(unlisted)
    yield Started(plan.series_count + len(unlisted), plan.instance_count, plan.size_bytes)
    yield from map(SeriesFailed, tally.failures)
    options = Options(retries, pause_seconds, plan.rows.needs_names(), md5)
    ledger = Ledger(plan)
    stopped = ""
    with disk.guard(destination), ExitStack() as stack:
        records = _open_records(destination, stack)
        journal = records.journal if records else None
        if journal is not None and journal.set_aside:
            yield Noticed(_set_aside(journal))
        kept, wrong = _kept(destination), dict(suspects or {})
        all_seen = survey(
            plan,
            destination,
            journal,
            by_name=options.by_name,
            trust=trust_journal,
            doubtful=_doubtful(md5=md5, suspects=suspects or {}),
        )
        template = asked.origin.file_template or (kept.origin.file_template if kept is not None else "")
        of_one_version = _of_one_version(all_seen, plan, destination, kept)
        naming = Naming(template, destination, journal) if journal is not None else None
        for index, (seen, names) in enumerate(_brought_in_line(of_one_version, naming, wrong)):
            ledger.set(index, seen.state)
            tally.see(seen)
            if seen.state is State.COMPLETE:
                yield SeriesCompleted(seen.series, fetched=False, names=names)
        if tally.missing.series:
            todo = ledger.todo()
            engine = _reach(todo, tally, destination, make_engine)
            if records is None:
                paths.prepare(destination)
                records = _enter_records(destination, stack)
                kept = _kept(destination)  # another download may have been quicker
            yield from _keep(destination, kept, plan, asked.rows, unlisted)
            _clear_the_way(todo, destination, by_name=options.by_name)
            yield tally.fetch_started(engine.workers)
            naming = Naming(template, destination, records.journal)
            rounds = Rounds(ledger, engine, destination, records.hold, naming, options, wrong)
            for event in rounds.run():
                if isinstance(event, (SeriesCompleted, SeriesFailed)):
                    tally.feed(event)
                yield event
            tally.fetched_bytes = rounds.fetched_bytes
            stopped = rounds.stopped
        else:
            if records is None and (records := _adopt(plan, destination, stack, options)):
                kept = _kept(destination)
            if records is not None:
                yield from _keep(destination, kept, plan, asked.rows, unlisted)
        if records is not None:
            lists.leave_lists(destination, tally.failures, plan.missing, plan.idc_version)
    yield Finished(tally.report(plan, destination, time.monotonic() - began, stopped))


def _sized(
    plan: Plan, destination: Path, make_engine: Callable[[], Engine]
) -> tuple[Plan, list[tuple[PlannedSeries, str]]]:
    """Complete a plan that holds series of which no table tells how many files they have, of what size.

    An earlier download into the destination knows them, else the store does. Returns the plan of those that
    are known, and the others, each with the reason.
    """
    lacking: list[tuple[PlannedSeries, str]] = []
    kept = _kept(destination)
    sizes = plan.rows.sizes_in(kept) if kept is not None else {}
    left = [series for series in plan.rows.unsized() if series.crdc_series_uuid not in sizes]
    if left:
        engine = make_engine()
        engine.probe(left[0].series_aws_url)
        for batch in batches(left, lambda _: _USUAL_INSTANCES):
            stored = engine.objects(batch)
            for series in batch:
                there = {each.name: each.size_bytes for each in stored.get(series.crdc_series_uuid, ())}
                wanted = series.wanted() or there
                absent = sorted(wanted.keys() - there.keys())
                if wanted and not absent:
                    exact = {name: there[name] for name in wanted}
                    sizes[series.crdc_series_uuid] = Size.of(exact, named=series.files is not None)
                elif there:
                    lacking.append(
                        (series, f"the store has no {absent[0]}; {len(absent):,} files are lacking")
                    )
                else:
                    lacking.append((series, _UNLISTED))
    return replace(plan.rows.sized(sizes), origin=plan.origin), lacking


def _kept(destination: Path) -> PlanFile | None:
    """What is kept of earlier downloads; None where it is damaged, which `_keep` sets aside and tells of."""
    try:
        return kept_plan(destination, checked=False)
    except ManifestError:
        return None


def _keep(
    destination: Path,
    kept: PlanFile | None,
    plan: Plan,
    asked: PlanFile,
    unlisted: list[tuple[PlannedSeries, str]],
) -> Iterator[Event]:
    """Add to what was asked for in a destination, and leave the licences of all of it beside the data."""
    if kept is not None and (moved := plan.rows.elsewhere_in(kept)):
        yield Noticed(
            f"{moved:,} of these series went to other directories here before: what is there stays, and is no"
            " longer looked at."
        )
    if kept is None and (set_aside := set_aside_damaged(destination)):
        yield Noticed(
            f"The plan of this destination was damaged; it is now {set_aside}, and what was asked for before"
            " this download is no longer known."
        )
    kept = keep(destination, plan, kept)
    if unlisted:  # they stay asked for, though nobody knows how much that is
        kept = keep(destination, asked.only([series.directory for series, _ in unlisted]), kept)
    found = rights.shares(kept.plan(None))
    works = rights.works(share.source_DOI for share in found if share.source_DOI)
    lists.leave_rights(destination, rights.licences_text(found, works), rights.bibtex(works))


def _of_one_version(
    all_seen: Iterable[Seen], plan: Plan, destination: Path, kept: PlanFile | None
) -> Iterator[Seen]:
    """Refuse to fetch a series to where files of another version of it are."""
    replaced = plan.rows.replaced_in(kept) if kept is not None else set()
    for seen in all_seen:
        series = seen.series
        if series.crdc_series_uuid in replaced and seen.found.instances:
            raise StorageError(
                str(destination),
                f"{destination}/{series.directory} holds another version of the series"
                f" {series.SeriesInstanceUID} than is asked for now; nothing was fetched.",
                f"`dataset-dl idc diff {destination} --update` brings all there up to date, and keeps what it"
                " replaces; for versions side by side choose another directory.",
            )
        yield seen


def _doubtful(*, md5: bool, suspects: Suspects) -> Callable[[PlannedSeries], bool]:
    """Which series are not complete by count and bytes alone."""
    if md5:
        return lambda series: True
    return lambda series: series.directory in suspects


def _brought_in_line(
    all_seen: Iterable[Seen], naming: Naming | None, wrong: dict[str, frozenset[str]]
) -> Iterator[tuple[Seen, tuple[str, ...] | None]]:
    """Bring the journal and the names of files in line with the disk; each series with its files' names.

    Names in `wrong` become those of the objects where files get them back.
    """
    for seen in all_seen:
        names, series = seen.names, seen.series
        if naming is None:
            yield seen, names
            continue
        if seen.state is State.COMPLETE:
            names = naming.give(series, names)
            if names != seen.names or not naming.journal.holds(series):
                naming.journal.record(series, names)
        else:
            if original := naming.take_back(series):
                several = wrong.get(series.directory, frozenset())
                wrong[series.directory] = frozenset(original.get(name, name) for name in several)
            naming.journal.forget(series)
        yield seen, names


def _reach(
    todo: Iterable[Line], tally: _Tally, destination: Path, make_engine: Callable[[], Engine]
) -> Engine:
    """An engine that has been answered, for a destination that has room; nothing is written before."""
    disk.check(destination)
    # What is there of a series needs no space twice.
    missing, present = tally.missing, tally.present
    disk.check_space(
        destination, missing.size_bytes - present.size_bytes, missing.instances - present.instances
    )
    engine = make_engine()
    engine.probe(next(iter(todo)).series.series_aws_url)
    return engine


def _clear_the_way(todo: Iterable[Line], destination: Path, *, by_name: bool) -> None:
    """Refuse links, and remove what an s5cmd that was killed has left."""
    cage = disk.Cage(destination)
    swept: set[str] = set()
    for line in todo:
        directory = line.series.directory
        cage.check(directory)
        if not (by_name and directory in swept):
            sweep(f"{destination}/{directory}")
        if by_name:
            swept.add(directory)


class _Records(NamedTuple):
    hold: Hold
    journal: Journal


def _open_records(destination: Path, stack: ExitStack) -> _Records | None:
    """The records of a destination that has some; None if it has none, or they cannot be written."""
    if not paths.state(destination).is_dir():
        return None
    try:
        return _enter_records(destination, stack)
    except (OSError, sqlite3.OperationalError):  # a complete tree on a read-only disk needs none
        return None


def _enter_records(destination: Path, stack: ExitStack) -> _Records:
    hold = stack.enter_context(lock.hold(destination))
    return _Records(hold, stack.enter_context(Journal(paths.journal_path(destination))))


def _adopt(plan: Plan, destination: Path, stack: ExitStack, options: Options) -> _Records | None:
    """Keep records of a tree that was complete already, as another tool left it; not if it is read-only."""
    try:
        paths.prepare(destination)
    except StorageError:
        return None
    records = _open_records(destination, stack)
    if records is not None and not options.by_name:
        for series in plan:
            records.journal.record(series)
    return records


def _set_aside(journal: Journal) -> str:
    return (
        f"The journal of this destination was damaged or not one of ours; it is now {journal.set_aside},"
        " and the disk was looked at instead."
    )
