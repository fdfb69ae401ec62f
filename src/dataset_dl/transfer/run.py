"""One transfer: look what is there, fetch what is missing, hand it over, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dataset_dl.destination import disk, paths
from dataset_dl.destination.durable import Durable
from dataset_dl.destination.records import Records, open_records
from dataset_dl.errors import StorageError
from dataset_dl.model.events import (
    Event,
    Finished,
    Noticed,
    SeriesCompleted,
    SeriesFailed,
    SeriesUsed,
    Started,
)
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Plan, Rights
from dataset_dl.model.series import PlannedSeries, Suspects
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.plans.file import PlanFile
from dataset_dl.transfer.budget import Budget
from dataset_dl.transfer.courier import Courier
from dataset_dl.transfer.fleet import Fleet
from dataset_dl.transfer.handing import Hand
from dataset_dl.transfer.ledger import Ledger, State
from dataset_dl.transfer.naming import Naming
from dataset_dl.transfer.reuse import Reuse
from dataset_dl.transfer.rounds import Rounds
from dataset_dl.transfer.sizing import sized
from dataset_dl.transfer.survey import Seen, survey
from dataset_dl.transfer.tally import Tally
from dataset_dl.transfer.verdicts import Options

# How long to wait for consumers when the engine waits for them, too.
_WAIT_SECONDS = 0.01


class Run:
    """One run of `transfer`, with the same parameters."""

    def __init__(
        self,
        plan: Plan,
        destination: Path,
        fleet: Fleet,
        settings: DownloadSettings,
        suspects: Suspects,
        hands: Sequence[Hand],
        part: str,
        run_id: str,
        pause_seconds: float,
        rights_of: Callable[[PlanFile], Rights] | None,
    ) -> None:
        self._requested = plan
        self._destination = destination
        self._fleet = fleet
        self._settings = settings
        self._suspects = suspects
        self._part = part
        self._run_id = run_id
        self._pause_seconds = pause_seconds
        self._courier = self._make_courier(hands) if hands else None
        self._rights_of = rights_of
        self._began = time.monotonic()
        self._stopped = ""

    def _make_courier(self, hands: Sequence[Hand]) -> Courier:
        return Courier(
            hands,
            self._destination,
            self._run_id,
            Budget(self._settings.disk_budget_bytes),
            evict=self._settings.evict,
            retries=self._settings.retries,
            pause_seconds=self._pause_seconds,
        )

    def events(self) -> Iterator[Event]:
        """Yield events from `Started` to `Finished`."""
        plan, self._unlisted = sized(self._requested, self._destination, self._fleet, self._part)
        self._plan, self._ledger = plan, Ledger(plan)
        self._tally = tally = Tally(self._unlisted)
        yield Started(
            self._destination, plan.series_count + len(self._unlisted), plan.instance_count, plan.size_bytes
        )
        yield from map(SeriesFailed, tally.failures)
        settings = self._settings
        by_name, md5 = plan.rows.needs_names(), settings.verify == "md5"
        self._options = Options(settings.retries, self._pause_seconds, by_name, md5, settings.durable)
        self._wrong = dict(self._suspects)
        with disk.guard(self._destination), ExitStack() as stack:
            self._stack = stack
            self._durable = stack.enter_context(Durable(self._destination)) if settings.durable else None
            self._records = self._entered(open_records(self._destination, self._part, self._run_id))
            if self._courier is not None:
                stack.callback(self._courier.close)
                self._courier.expect(self._requested)
                self._prepare_receipts()
            if self._records is not None and (aside := self._records.journal.set_aside):
                yield Noticed(
                    "The journal of this destination was damaged, or of another program or a newer version."
                    f" It was moved to {aside}, and the disk is checked instead."
                )
            yield from self._beside(self._look())
            if tally.missing.series:
                yield from self._beside(self._fetch())
            else:
                yield from self._adopt()
            if self._courier is not None:
                yield from self._courier.rest()
            report = self._report()
            if self._records is not None:
                self._records.finish(report, self._plan)
        yield Finished(report)

    def _prepare_receipts(self) -> None:
        """Create the records of a tree that may have complete series, because each needs receipts."""
        if self._records is None and self._destination.is_dir():
            paths.prepare(self._destination, self._part)
            records = Records(self._destination, self._part, self._run_id)
            self._records = self._entered(records.__enter__())
        self._share_journal()

    def _share_journal(self) -> None:
        if self._courier is not None and self._records is not None:
            self._courier.journal = self._records.journal

    def _beside(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield events; consumers take what is complete meanwhile."""
        return events if self._courier is None else self._courier.beside(events)

    def _entered(self, records: Records | None) -> Records | None:
        """Register entered records, so that they are left at the end of the run."""
        return None if records is None else self._stack.push(records)

    def _look(self) -> Iterator[Event]:
        """Check what is on disk, and yield the series that are complete."""
        records = self._records
        all_seen = survey(
            self._plan,
            self._destination,
            records.journal if records else None,
            by_name=self._options.by_name,
            trust=self._settings.trust_journal,
            doubtful=self._doubtful(),
            used=self._courier.is_used if self._courier and records else lambda series: False,
        )
        for index, (seen, names) in enumerate(self._brought_in_line(self._of_one_version(all_seen))):
            self._ledger.set(index, seen.state)
            self._tally.see(seen)
            if seen.state is State.COMPLETE:
                yield SeriesCompleted(seen.series, fetched=False, names=names)
            elif seen.state is State.USED and self._courier is not None:
                self._courier.used(seen.series, names, by_name=self._options.by_name)
                yield SeriesUsed(seen.series)
            elif self._courier is not None:
                self._courier.budget.hold(seen.series.key, seen.found.size_bytes)

    def _fetch(self) -> Iterator[Event]:
        """Get missing series: copy them from other destinations on this machine, else fetch them."""
        disk.check(self._destination)
        self._check_space()
        undone = self._ledger.undone()
        reuse = Reuse(self._settings.reuse, self._destination)
        if not self._settings.reuse:
            # Nothing is written before the stores have answered the engines.
            self._fleet.reach((each.series for each in undone), self._plan.rows.schemes())
        if self._records is None:
            paths.prepare(self._destination, self._part)
            self._records = self._entered(Records(self._destination, self._part, self._run_id).__enter__())
            self._share_journal()
        records = self._records
        assert records is not None, "they have just been entered"
        yield from self._keep(records)
        cage = disk.Cage(self._destination)
        for each in undone:
            cage.check(each.series.directory)
        naming = self._naming(records)
        for each, names in reuse.copied(undone):
            self._ledger.set(each.row, State.COMPLETE)
            self._tally.reused(each.series)
            given = naming.give(each.series, names if self._options.by_name else None)
            if self._durable is not None:
                self._durable.keep(each.series.directory, given)
            records.journal.record(each.series, given)
            yield SeriesCompleted(each.series, fetched=False, names=given)
        undone = self._ledger.undone()
        if not self._tally.missing.series:
            return
        self._fleet.reach((each.series for each in undone), self._plan.rows.schemes())
        self._sweep(records, (each.series for each in undone))
        yield self._tally.fetch_started(self._fleet)
        rounds = Rounds(
            self._ledger, self._fleet, records, naming, self._options, self._wrong, self._durable,
            self._courier,
        )  # fmt: skip
        for event in rounds.run():
            if isinstance(event, (SeriesCompleted, SeriesFailed)):
                self._tally.feed(event)
            yield event
        self._tally.fetched_bytes, self._tally.bytes_by_store = rounds.fetched_bytes, rounds.bytes_by_store
        self._stopped = rounds.stopped
        if self._ledger.sizes:
            origin = self._plan.origin
            self._plan = replace(self._plan.rows.sized(self._ledger.sizes).plan(None), origin=origin)
            records.keep(self._plan)

    def _check_space(self) -> None:
        lacking_bytes, bound = self._tally.lacking_bytes, self._settings.disk_budget_bytes
        if bound is not None and self._courier is not None:
            lacking_bytes = min(lacking_bytes, max(0, bound - self._courier.budget.held_bytes))
        disk.check_space(self._destination, lacking_bytes, self._tally.lacking_instances)

    def _adopt(self) -> Iterator[Event]:
        """Create records for a complete tree, for example of another tool, unless it is read-only."""
        if self._records is None:
            try:
                paths.prepare(self._destination, self._part)
            except StorageError:
                return
            self._records = self._entered(open_records(self._destination, self._part, self._run_id))
            if self._records is not None and not self._options.by_name:
                for series in self._plan:
                    self._records.journal.record(series)
        if self._records is not None:
            yield from self._keep(self._records)

    def _keep(self, records: Records) -> Iterator[Event]:
        """Add the plan to the kept plan, and write licences and citations beside the data."""
        if moved := records.compare(self._plan).moved:
            yield Noticed(
                f"{moved:,} of these series went to other directories here before: those files stay, but"
                " are no longer checked."
            )
        if set_aside := records.set_aside_damaged_plan():
            yield Noticed(
                f"The plan of this destination was damaged. It was moved to {set_aside}, and the series of"
                " earlier downloads are no longer known."
            )
        records.keep(self._plan)
        if self._unlisted:  # they stay in the kept plan, although their size is unknown
            keys = [series.key for series, _ in self._unlisted]
            records.keep(self._requested.rows.of_keys(keys).plan(None))
        if self._rights_of is not None:
            records.credit(self._rights_of)

    def _of_one_version(self, all_seen: Iterable[Seen]) -> Iterator[Seen]:
        """Refuse to fetch a series into a directory with files of another version of it."""
        replaced = self._records.compare(self._plan).replaced if self._records is not None else frozenset()
        for seen in all_seen:
            series = seen.series
            if series.key in replaced and seen.found.instances:
                where = self._destination
                raise StorageError(
                    str(where),
                    f"{where}/{series.directory} holds another version of the series"
                    f" {series.SeriesInstanceUID} than this plan; nothing was fetched.",
                    f"`dataset-dl idc diff {where} --update` updates all series there and keeps the files"
                    " that it replaces; for versions side by side choose another directory.",
                )
            yield seen

    def _doubtful(self) -> Callable[[PlannedSeries], bool]:
        """Return a function: whether a series needs more proof than its count and bytes."""
        if self._options.md5:
            return lambda series: True
        if not self._options.durable:
            return lambda series: series.directory in self._suspects
        # A file that was not synced may have its length but not its bytes after a power loss.
        holds = self._records.journal.holds if self._records is not None else lambda series: False
        return lambda series: not holds(series) or series.directory in self._suspects

    def _brought_in_line(self, all_seen: Iterable[Seen]) -> Iterator[tuple[Seen, tuple[str, ...] | None]]:
        """Bring the journal and file names in line with the disk; yield each series with its files' names.

        If files get their objects' names back, the suspects are renamed alike.
        """
        naming = self._naming(self._records) if self._records is not None else None
        for seen in all_seen:
            names, series = seen.names, seen.series
            if naming is None:
                yield seen, names
                continue
            if seen.state is State.USED:
                pass
            elif seen.state is State.COMPLETE:
                names = naming.give(series, names)
                if names != seen.names or not naming.journal.holds(series):
                    naming.journal.record(series, names)
            else:
                if original := naming.take_back(series):
                    several = self._wrong.get(series.directory, frozenset())
                    self._wrong[series.directory] = frozenset(original.get(name, name) for name in several)
                naming.journal.forget(series)
            yield seen, names

    def _naming(self, records: Records) -> Naming:
        template = self._requested.origin.file_template
        if not template and records.kept is not None:
            template = records.kept.origin.file_template
        return Naming(template, self._destination, records.journal)

    def _sweep(self, records: Records, several: Iterable[PlannedSeries]) -> None:
        """Remove the unfinished files that a killed engine left."""
        swept: set[str] = set()
        by_name = self._options.by_name
        engines = {scheme: self._fleet.engine(scheme) for scheme in self._fleet.schemes}
        for series in several:
            if series.directory not in swept:
                records.sweep(series.directory, engines[series.scheme].is_unfinished, is_shared=by_name)
            if by_name:  # otherwise each has its own, and a million need not be remembered
                swept.add(series.directory)

    def _report(self) -> Report:
        return self._tally.report(
            self._plan,
            self._destination,
            self._run_id,
            time.monotonic() - self._began,
            self._stopped,
            self._courier.delivery() if self._courier is not None else None,
        )
