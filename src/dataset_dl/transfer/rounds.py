"""Fetch in rounds: series that failed for a transient reason are retried after a pause."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from dataset_dl.destination.disk import storage_error
from dataset_dl.destination.durable import Durable
from dataset_dl.destination.records import Records
from dataset_dl.destination.tree import agrees
from dataset_dl.errors import ConnectionTimeout, EngineCrashed, TransferError
from dataset_dl.model.events import (
    BytesWritten,
    CommandFailed,
    EngineEnded,
    EngineMessage,
    EngineStarted,
    Event,
    FileCompleted,
    Noticed,
    RetryStarted,
    SeriesSized,
)
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, Size, Suspects
from dataset_dl.transfer.courier import Courier
from dataset_dl.transfer.fleet import Fleet
from dataset_dl.transfer.ledger import Ledger, State
from dataset_dl.transfer.mender import Mender
from dataset_dl.transfer.naming import Naming
from dataset_dl.transfer.pauses import pause_before
from dataset_dl.transfer.verdicts import Options, Verdicts
from dataset_dl.transfer.watch import Watch
from dataset_dl.transfer.window import Pending, Window

_ENDINGS_IN_A_ROW = 3
_ALIKE_IN_A_ROW = 300
_TOO_MANY_FILES = "the store sends many more files of it than the index says"
_FULL = "the disk budget is full of series that failed or that no consumer took"
_TOO_MANY_BYTES = "the store sends more bytes for one of its files than the index says for all"


class Rounds:
    """Fetches the undone series of a ledger.

    Attributes
    ----------
    fetched_bytes, bytes_by_store
        Bytes of all finished files, and of these by the host of the store.
    """

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        records: Records,
        naming: Naming,
        options: Options,
        suspects: Suspects,
        durable: Durable | None = None,
        courier: Courier | None = None,
    ) -> None:
        self._courier = courier
        self._ledger = ledger
        self._fleet = fleet
        self._destination = records.destination
        self._records = records
        self._journal = naming.journal
        self._options = options
        began = time.time()
        self._menders = {
            scheme: Mender(
                fleet.engine(scheme),
                records.destination,
                by_name=options.by_name,
                md5=options.md5 or options.durable,
                suspects=suspects,
                began=began,
                check=records.check,
            )
            for scheme in fleet.schemes
        }
        self._verdicts = Verdicts(ledger, records.destination, naming, options, durable)
        self._made_in = os.getpid()
        self._requested = 0
        self.fetched_bytes = 0
        self.bytes_by_store: Counter[str] = Counter()

    @property
    def stopped(self) -> str:
        """Why it ended before trying everything; empty if it did not."""
        return self._verdicts.stopped

    def run(self) -> Iterator[Event]:
        """Fetch until everything is complete or given up.

        Raises
        ------
        ConnectionTimeout, EngineCrashed
            If the engine has ended early several times in a row.
        StorageError
            If the destination cannot be written any more.
        """
        endings = 0
        verdicts = self._verdicts
        while True:
            verdicts.begin()
            self._requested = 0
            for scheme in self._fleet.schemes:
                if not (verdicts.stopped or verdicts.ended):
                    yield from self._round(scheme)
            left = self._ledger.count(State.ABSENT, State.PARTIAL)
            if verdicts.stopped or not left:
                break
            if not self._requested:
                verdicts.stopped = (
                    f"the plan no longer lists {left:,} of its series; this is a bug in dataset-dl"
                )
                break
            if verdicts.ended is None:
                verdicts.attempt += 1
            endings = endings + 1 if verdicts.ended and not verdicts.settled else 0
            if verdicts.ended and endings == _ENDINGS_IN_A_ROW:
                raise _gave_up(self._destination, verdicts.ended)
            pause_seconds = pause_before(verdicts.rounds, self._options.pause_seconds)
            yield RetryStarted(left, verdicts.arrived.instances, verdicts.arrived.size_bytes, pause_seconds)
            time.sleep(pause_seconds)
            verdicts.rounds += 1
        if verdicts.unknown_checksums:
            yield Noticed(
                f"The store lists no MD5 sum for {verdicts.unknown_checksums:,} files;"
                " only their size was checked."
            )

    def _round(self, scheme: str) -> Iterator[Event]:
        """Run the engine of a scheme once, and judge each series that it had to fetch."""
        self._engine = self._fleet.engine(scheme)
        self._verdicts.mender = mender = self._menders[scheme]
        self._only = scheme if len(self._fleet.schemes) > 1 else None
        undone = self._ledger.undone(self._only)
        window = Window(iter(undone), mender.take, self._options.by_name)
        watch = Watch(self._destination, self._engine.is_unfinished)
        orders: Iterable[Fetch | Pause] = mender.orders(undone)
        if self._courier is not None:
            self._courier.budget.begin()
            orders = self._courier.admitted(mender.orders(undone))
        try:
            with closing(self._engine.run(orders, self._destination)) as events:  # type: ignore[type-var]
                yield from self._follow(events, window, watch)
        finally:
            # A fork must not sweep files of its parent.
            if os.getpid() == self._made_in:
                # The engine may have begun this many more series without reporting a file of them.
                for _ in range(2 * self._engine.workers):
                    window.read()
                unfinished = {pending.series.directory for pending in window.open.values()}
                for directory in unfinished | watch.surplus_directories:
                    self._records.sweep(
                        directory, self._engine.is_unfinished, is_shared=self._options.by_name
                    )
        self._records.check()
        if not self._options.by_name:
            is_gone = self._courier.is_evicted if self._courier is not None else lambda series: False
            watch.remove_surplus(each for each in window.closed.values() if not is_gone(each))
        budget = self._courier.budget if self._courier is not None else None
        yield from self._verdicts.settle(window, budget.given if budget is not None else None)
        if budget is not None and budget.is_stuck and not self._verdicts.left:
            self._verdicts.stopped = _FULL
        self._requested += window.requested
        yield from self._verdicts.prove()

    def _follow(self, events: Iterator[Event], window: Window, watch: Watch) -> Iterator[Event]:
        """Process the engine's events, until it ends or has to be ended."""
        streak, store = _Streak(), ""
        left = self._ledger.count(State.ABSENT, State.PARTIAL)
        for told in events:
            event = self._counted(told, window) if isinstance(told, SeriesSized) else told
            yield event
            # By far the most events are of this kind, up to millions.
            if isinstance(event, FileCompleted):
                self.fetched_bytes += event.size_bytes
                self.bytes_by_store[store] += event.size_bytes
                watch.finished(event.size_bytes)
                streak.end()
                pending = window.open.get(event.key) or window.find(event.key)
                awaited = pending.count_file(event.path, proven=event.proven) if pending is not None else -1
                if awaited is None or awaited > 0:
                    continue
                if pending is None:
                    yield EngineMessage(f"{event.path} belongs to no series that is being fetched")
                elif awaited >= -1:  # if many more come, each look would take longer than the last
                    watch.check_links([pending.series.directory])
                    yield from self._look(window, pending)
                    if len(window.closed) + window.forgotten == left:
                        return  # nothing else was requested, whatever the engine still does
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
                if self._courier is not None and self._courier.budget.is_closed:
                    yield from self._verdicts.prove()  # what waits for its checksums holds room, too
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
                # An engine may report a failure for each object; it counts once a series.
                is_first = pending is not None and pending.failure is None
                if pending is not None:
                    pending.failure = event
                    self._landed(pending.series.key)
                if is_first and self._is_hopeless(streak, event):
                    return
            elif isinstance(event, EngineEnded):
                self._verdicts.ended = event
            elif isinstance(event, EngineStarted):
                store = event.store

    @staticmethod
    def _counted(event: SeriesSized, window: Window) -> SeriesSized:
        if (pending := window.find(event.key)) is None:
            return event
        series = pending.series
        return SeriesSized(event.key, event.size, Size(series.expected_instances, series.expected_bytes))

    def _landed(self, key: str) -> None:
        """The engine is not at work on a series any more."""
        if self._courier is not None:
            self._courier.budget.landed(key)

    def _pin(self, pending: Pending, size: Size) -> None:
        """Record the size of a series, which becomes durable with its entry in the journal."""
        pending.pin(size)
        self._ledger.sizes[pending.series.key] = size
        self._journal.pin(pending.series.key, size)

    def _in_flight(self, window: Window) -> Iterator[PlannedSeries]:
        """Yield the series that the engine may be fetching, including those it has not reported.

        A generator, because this reads the plan, and is rarely needed.
        """
        several = len(window.open) + 2 * self._engine.workers
        undone = (
            each.series for each in self._ledger.undone(self._only) if each.series.key not in window.closed
        )
        yield from islice(undone, several)

    def _end_for(self, reason: str, pending: Pending | None = None) -> EngineEnded:
        """End the engine because of a store's behaviour; fail the affected series, if it is known."""
        if pending is not None:
            pending.failure = CommandFailed(pending.series.key, "excess", reason)
            reason = f"{reason} ({pending.series.directory})"
        self._verdicts.ended = EngineEnded(f"{self._engine.name} was ended: {reason}", False, "")
        return self._verdicts.ended

    def _is_hopeless(self, streak: _Streak, event: CommandFailed) -> bool:
        """Whether so many series have failed for one reason that the rest will, too."""
        alike = streak.add(event.cause)
        # Missing or forbidden series may end with the next collection; a network failure does not.
        if alike < _ALIKE_IN_A_ROW or not (streak.unbroken or event.cause in ("network", "server_error")):
            return False
        leave = getattr(self._engine, "leave", None)
        if leave is not None and leave():  # there is another store
            return True
        self._verdicts.stopped = (
            f"{alike:,} series in a row failed for one reason ({event.cause}: {event.message}),"
            " so the others were not tried"
        )
        return True

    def _look(self, window: Window, pending: Pending) -> Iterator[Event]:
        """Judge a series once all its files have been reported."""
        found = pending.look(self._destination)
        if agrees(found, pending.series):
            window.close(pending)
            yield from self._verdicts.finish(pending, found)
            return
        self._landed(pending.series.key)
        if not found.instances:
            self._records.check()


class _Streak:
    """Counts failures in a row for one reason; `unbroken` until the first file."""

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
    message = f"{ended.message}, {_ENDINGS_IN_A_ROW} times in a row. Finished files are kept."
    hint = "then run the same command again to continue."
    if ended.stalled:
        return ConnectionTimeout(str(destination), message, f"Check the network, {hint}")
    return EngineCrashed(
        "engine", message, f"Check the memory of the machine, {hint}", stderr_tail=ended.stderr_tail
    )
