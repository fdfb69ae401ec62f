"""Fetching in rounds: what failed for a reason that may pass is tried again, after a pause."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dataset_dl.destination.disk import storage_error
from dataset_dl.destination.records import Records
from dataset_dl.destination.tree import NOTHING, Found, agrees, sweep
from dataset_dl.errors import ConnectionTimeout, EngineCrashed, TransferError
from dataset_dl.model.events import (
    BytesWritten,
    CommandFailed,
    EngineEnded,
    EngineMessage,
    Event,
    FileCompleted,
    Noticed,
    RetryStarted,
    SeriesCompleted,
    SeriesFailed,
    SeriesSized,
)
from dataset_dl.model.outcome import Cause, SeriesFailure
from dataset_dl.model.series import PlannedSeries, Size, Suspects
from dataset_dl.transfer.fleet import Fleet
from dataset_dl.transfer.ledger import Ledger, State
from dataset_dl.transfer.mender import Inspection, Mender
from dataset_dl.transfer.naming import Naming
from dataset_dl.transfer.watch import Watch
from dataset_dl.transfer.window import Pending, Window

_LONGEST_PAUSE_SECONDS = 60.0
_ENDINGS_IN_A_ROW = 3
_ALIKE_IN_A_ROW = 300
# A batch of series whose checksums are compared: large enough to keep all cores busy.
_PROOF_SERIES = 200
_PROOF_BYTES = 1_000_000_000
_TOO_MANY_FILES = "the store gives many more files of it than the index says"
_TOO_MANY_BYTES = "the store sends more bytes for one of its files than the index says for all"


@dataclass(frozen=True, slots=True)
class Options:
    """How to fetch.

    Attributes
    ----------
    retries
        Rounds for what failed for a reason that may pass.
    pause_seconds
        Before the first of these rounds; each later pause is four times as long, up to a minute.
    by_name
        Whether files have to be known by name.
    md5
        Whether checksums are compared with the store's.
    """

    retries: int
    pause_seconds: float
    by_name: bool
    md5: bool


class Rounds:
    """Fetches what a ledger has to do, and keeps the ledger and the journal.

    Attributes
    ----------
    stopped
        Why it ended before everything was tried; empty if it did not.
    fetched_bytes
        What has arrived.
    """

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        records: Records,
        naming: Naming,
        options: Options,
        suspects: Suspects,
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._destination = records.destination
        self._records = records
        self._naming = naming
        self._journal = naming.journal
        self._options = options
        began = time.time()
        self._menders = {
            scheme: Mender(
                fleet.engine(scheme),
                records.destination,
                by_name=options.by_name,
                md5=options.md5,
                suspects=suspects,
                began=began,
            )
            for scheme in fleet.schemes
        }
        self._unproven: list[Pending] = []
        self._unproven_bytes = 0
        self._unknown_checksums = 0
        self._attempt = self._rounds = 0
        self._made_in = os.getpid()
        self.stopped = ""
        self.fetched_bytes = 0
        self._begin()

    def _begin(self) -> None:
        """Forget the last round: how it ended, how many series were asked for and settled, what arrived."""
        self._ended: EngineEnded | None = None
        self._settled = self._asked = 0
        self._arrived = NOTHING

    def run(self) -> Iterator[Event]:
        """Fetch until everything is complete or given up.

        Raises
        ------
        ConnectionTimeout, EngineCrashed
            If the engine has ended early several times in a row.
        StorageError
            If the destination takes no more.
        """
        endings = 0
        while True:
            self._begin()
            for scheme in self._fleet.schemes:
                if not (self.stopped or self._ended):
                    yield from self._round(scheme)
            left = self._ledger.count(State.ABSENT, State.PARTIAL)
            if self.stopped or not left:
                break
            if not self._asked:
                self.stopped = f"the plan no longer names {left:,} of its series, which should never happen"
                break
            if self._ended is None:
                self._attempt += 1
            endings = endings + 1 if self._ended and not self._settled else 0
            if self._ended and endings == _ENDINGS_IN_A_ROW:
                raise _gave_up(self._destination, self._ended)
            pause_seconds = min(self._options.pause_seconds * 4**self._rounds, _LONGEST_PAUSE_SECONDS)
            yield RetryStarted(left, self._arrived.instances, self._arrived.size_bytes, pause_seconds)
            time.sleep(pause_seconds)
            self._rounds += 1
        if self._unknown_checksums:
            yield Noticed(
                f"The store gives no MD5 sum for {self._unknown_checksums:,} files;"
                " of these only the size was checked."
            )

    def _round(self, scheme: str) -> Iterator[Event]:
        """Run the engine of a scheme once, and account for each series that it was asked for."""
        self._engine = self._fleet.engine(scheme)
        self._mender = self._menders[scheme]
        self._only = scheme if len(self._fleet.schemes) > 1 else None
        undone = self._ledger.undone(self._only)
        window = Window(iter(undone), self._mender.take, self._options.by_name)
        watch = Watch(self._destination, self._engine.is_unfinished)
        try:
            with closing(self._engine.run(self._mender.orders(undone), self._destination)) as events:  # type: ignore[type-var]
                yield from self._follow(events, window, watch)
        finally:
            if os.getpid() == self._made_in:  # a fork must not sweep what is its parent's
                # The engine may have begun as many series again of which it has not reported a file.
                for _ in range(2 * self._engine.workers):
                    window.read()
                unfinished = {pending.series.directory for pending in window.open.values()}
                for directory in unfinished | watch.surplus_directories:
                    sweep(f"{self._destination}/{directory}", self._engine.is_unfinished)
        self._records.check()
        if not self._options.by_name:
            watch.remove_surplus(window.closed.values())
        yield from self._settle(window)
        self._asked += window.asked
        yield from self._prove()

    def _follow(self, events: Iterator[Event], window: Window, watch: Watch) -> Iterator[Event]:
        """Take what the engine says into account, until it ends or is to be ended."""
        streak = _Streak()
        left = self._ledger.count(State.ABSENT, State.PARTIAL)
        for event in events:
            yield event
            # Most events by far are of this kind, up to millions of them.
            if isinstance(event, FileCompleted):
                self.fetched_bytes += event.size_bytes
                watch.finished(event.size_bytes)
                streak.end()
                pending = window.open.get(event.key) or window.find(event.key)
                awaited = pending.count_file(event.path) if pending is not None else -1
                if awaited is None or awaited > 0:
                    continue
                if pending is None:
                    yield EngineMessage(f"{event.path} belongs to no series that is being fetched")
                elif awaited >= -1:  # where many more come, each look would take longer than the one before
                    watch.check_links([pending.series.directory])
                    yield from self._look(window, pending)
                    if len(window.closed) + window.forgotten == left:
                        return  # whatever the engine still does, it is nothing that was asked for
                if awaited < 0 and watch.surplus(event.path.rpartition("/")[0]):
                    yield self._end_for(_TOO_MANY_FILES, pending)
                    return
            elif isinstance(event, SeriesSized):
                pending = window.find(event.key)
                if pending is not None and not pending.series.is_exact:
                    self._pin(pending, event.size)
                    if pending.awaited == 0:
                        yield from self._look(window, pending)
            elif isinstance(event, BytesWritten):
                watch.check_links(each.series.directory for each in window.open.values())
                flooded = watch.flooded(event.size_bytes, self._in_flight(window))
                if flooded is not None:
                    yield self._end_for(_TOO_MANY_BYTES, window.find(flooded.key))
                    return
            elif isinstance(event, CommandFailed):
                if event.cause == "disk":
                    watch.check_links(each.series.directory for each in window.open.values())
                    self._records.check()
                    raise storage_error(self._destination, event.message)
                pending = window.find(event.key)
                # An engine may say it for each object; what counts is the series.
                is_first = pending is not None and pending.failure is None
                if pending is not None:
                    pending.failure = event
                if is_first and self._is_hopeless(streak, event):
                    return
            elif isinstance(event, EngineEnded):
                self._ended = event

    def _pin(self, pending: Pending, size: Size) -> None:
        """Keep what has become known of a series, durably with its entry in the journal."""
        pending.pin(size)
        self._ledger.sizes[pending.series.key] = size
        self._journal.pin(pending.series.key, size)

    def _in_flight(self, window: Window) -> Iterator[PlannedSeries]:
        """The series that the engine may be at, those that it has not told of included."""
        several = len(window.open) + 2 * self._engine.workers
        undone = (
            each.series for each in self._ledger.undone(self._only) if each.series.key not in window.closed
        )
        return islice(undone, several)

    def _end_for(self, reason: str, pending: Pending | None = None) -> EngineEnded:
        """End the engine for what a store does; the series that it does it to, if that is known, fails."""
        if pending is not None:
            pending.failure = CommandFailed(pending.series.key, "excess", reason)
            reason = f"{reason} ({pending.series.directory})"
        self._ended = EngineEnded(f"{self._engine.name} was ended: {reason}", False, "")
        return self._ended

    def _is_hopeless(self, streak: _Streak, event: CommandFailed) -> bool:
        """Whether so many series have failed alike that the rest will."""
        alike = streak.add(event.cause)
        # What the store lacks or forbids may end with the next collection; a network that is gone does not.
        if alike < _ALIKE_IN_A_ROW or not (streak.unbroken or event.cause in ("network", "server_error")):
            return False
        self.stopped = (
            f"{alike:,} series in a row failed for one reason ({event.cause}: {event.message}),"
            " so the others were not tried"
        )
        return True

    def _look(self, window: Window, pending: Pending) -> Iterator[Event]:
        """Judge a series of which as many files were told as it has."""
        found = pending.look(self._destination)
        if agrees(found, pending.series):
            window.close(pending)
            yield from self._finish(pending, found)
        elif not found.instances:
            self._records.check()

    def _settle(self, window: Window) -> Iterator[Event]:
        """Judge what the engine has left without a word, or with a bad one."""
        given_up: list[Pending] = []
        # After a stop the plan is not read to its end: the rest was not tried.
        remaining = list(window.open.values()) if self.stopped else window.remaining()
        for pending in remaining:
            found = pending.look(self._destination)
            if agrees(found, pending.series):
                yield from self._finish(pending, found)
                continue
            failure = pending.failed(found)
            if self._may_try_again(failure.may_pass) or (self.stopped and pending.failure is None):
                self._leave(pending, found)
            else:
                given_up.append(pending)
                if len(given_up) >= _PROOF_SERIES:
                    yield from self._give_up(given_up)
                    given_up = []
        yield from self._give_up(given_up)

    def _may_try_again(self, may_pass: bool) -> bool:
        # An early end is the engine's or the network's, and says nothing of the series that it left over.
        if self.stopped or not may_pass:
            return False
        return self._ended is not None or self._attempt < self._options.retries

    def _leave(self, pending: Pending, found: Found) -> None:
        """Leave a series to the next round."""
        self._ledger.set(pending.row, State.PARTIAL if self._is_begun(pending, found) else State.ABSENT)
        self._arrived = Found(
            self._arrived.instances + found.instances, self._arrived.size_bytes + found.size_bytes
        )

    def _is_begun(self, pending: Pending, found: Found) -> bool:
        # Where the directory is shared, the names that were told are not all that may be there.
        return found.instances > 0 or pending.names is not None

    def _give_up(self, several: list[Pending]) -> Iterator[Event]:
        """Give series up; what is wrong of their files does not stay under its name."""
        for each in several:
            if each.failure is not None and each.failure.cause == "excess":
                self._mender.remove_new(each.series)
        spoiled = [each for each in several if each.look(self._destination).instances]
        inspections = self._mender.inspect([each.series for each in spoiled])
        for pending, (_, inspection) in zip(spoiled, inspections, strict=True):
            pending.inspection = inspection
        for pending in several:
            found = pending.look(self._destination)
            if agrees(found, pending.series):  # it was only that something stood beside it, which is gone
                yield from self._finish(pending, found)
            else:
                yield from self._fail(pending, pending.failed(found))

    def _fail(self, pending: Pending, failure: SeriesFailure) -> Iterator[Event]:
        self._settled += 1
        self._ledger.set(pending.row, State.FAILED)
        self._journal.forget(pending.series)
        yield SeriesFailed(failure)

    def _finish(self, pending: Pending, found: Found) -> Iterator[Event]:
        """A series whose count and bytes agree is complete, or waits for its checksums to be compared."""
        inspection = pending.inspection
        if not self._options.md5 or (inspection is not None and inspection.is_proof):
            yield from self._complete(pending, inspection)
            return
        self._unproven.append(pending)
        self._unproven_bytes += found.size_bytes
        if len(self._unproven) >= _PROOF_SERIES or self._unproven_bytes >= _PROOF_BYTES:
            yield from self._prove()

    def _prove(self) -> Iterator[Event]:
        batch, self._unproven, self._unproven_bytes = self._unproven, [], 0
        inspections = self._mender.inspect([each.series for each in batch])
        for pending, (_, inspection) in zip(batch, inspections, strict=True):
            if inspection.is_proof:
                yield from self._complete(pending, inspection)
                continue
            cause: Cause = "altered" if inspection.removed else "network"
            message = (
                f"{inspection.removed:,} of its files differed from the store's checksums and were removed"
                if inspection.removed
                else "the store did not answer for its checksums"
            )
            found = pending.look(self._destination)
            if self._may_try_again(True):
                self._leave(pending, found)
            else:
                failure = SeriesFailure(pending.series, cause, message, found.instances, found.size_bytes)
                yield from self._fail(pending, failure)

    def _complete(self, pending: Pending, inspection: Inspection | None) -> Iterator[Event]:
        self._settled += 1
        self._ledger.set(pending.row, State.COMPLETE)
        if self._options.md5 and inspection is not None:
            self._unknown_checksums += inspection.unknown
        names = None if pending.names is None else tuple(sorted(set(pending.names)))
        names = self._naming.give(pending.series, names)
        self._journal.record(pending.series, names)
        fetched = pending.reported > 0 or self._rounds > 0
        yield SeriesCompleted(pending.series, fetched=fetched, names=names)


class _Streak:
    """Failures for one reason with nothing between them; `unbroken` until the first file."""

    def __init__(self) -> None:
        self.unbroken = True
        self._cause: Cause | None = None
        self._length = 0

    def end(self) -> None:
        self.unbroken = False
        self._length = 0

    def add(self, cause: Cause) -> int:
        self._length = self._length + 1 if cause == self._cause else 1
        self._cause = cause
        return self._length


def _gave_up(destination: Path, ended: EngineEnded) -> TransferError | ConnectionTimeout:
    message = f"{ended.message}, {_ENDINGS_IN_A_ROW} times in a row. What was finished is kept."
    hint = "then run the same command again to go on."
    if ended.stalled:
        return ConnectionTimeout(str(destination), message, f"Check the network, {hint}")
    return EngineCrashed(
        "engine", message, f"Check the memory of the machine, {hint}", stderr_tail=ended.stderr_tail
    )
