"""From a plan to verified files: what is missing → engine → check on disk → report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress, count
from pathlib import Path
from typing import Protocol

from dataset_dl import destination as place
from dataset_dl.errors import ConnectionTimeout, EngineCrashed, StorageError, TransferError
from dataset_dl.events import (
    CommandFailed,
    EngineEnded,
    EngineMessage,
    Event,
    FetchStarted,
    FileCompleted,
    Finished,
    RetryStarted,
    SeriesCompleted,
    SeriesFailed,
    Started,
)
from dataset_dl.model import Cause, Plan, PlannedSeries, Report, SeriesFailure
from dataset_dl.verification import Found, agrees, look, look_at, sweep

# s5cmd works through its lines nearly in order; a series much further on was never planned.
_LOOK_AHEAD_SERIES = 100_000
_REMEMBERED_SERIES = 10_000

_PASSING_CAUSES: frozenset[Cause] = frozenset({"server_error", "network", "truncated", "unknown"})
_LONGEST_PAUSE_SECONDS = 60.0
_ENDINGS_IN_A_ROW = 3


class Engine(Protocol):
    """Something that fetches series.

    `probe` raises a `NetworkError` if nothing can be fetched. `run` yields a `FileCompleted` for each
    file that has its final name, and anything else it has to say; it may leave out whole series
    without a word, so its silence proves nothing. It stops what it started when it is closed.
    """

    workers: int

    def probe(self, series_aws_url: str) -> None:
        """Ask once for one series."""

    def run(self, series: Iterable[PlannedSeries], destination: Path) -> Iterator[Event]:
        """Fetch the series below a destination."""


@dataclass(slots=True)
class _Totals:
    series: int = 0
    instances: int = 0
    size_bytes: int = 0

    def add(self, series: PlannedSeries) -> None:
        self.series += 1
        self.instances += series.instanceCount
        self.size_bytes += series.size_bytes


@dataclass(slots=True)
class _Pending:
    """A series that is being fetched: what the engine has said of it."""

    series: PlannedSeries
    names: list[str] | None
    instances: int = 0
    failure: CommandFailed | None = None


@dataclass(slots=True)
class _Window:
    """The series that the engine is at, read from the plan as far as it has come."""

    rows: Iterator[PlannedSeries]
    shared: bool
    open: dict[str, _Pending] = field(default_factory=dict)
    closed: dict[str, None] = field(default_factory=dict)

    def find(self, uuid: str) -> _Pending | None:
        if not uuid:  # a failure of s5cmd as a whole
            return None
        pending = self.open.get(uuid)
        if pending is not None or uuid in self.closed:
            return pending
        for _ in range(_LOOK_AHEAD_SERIES):
            if (pending := self.read()) is None or pending.series.crdc_series_uuid == uuid:
                return pending
        return None

    def read(self) -> _Pending | None:
        row = next(self.rows, None)
        if row is None:
            return None
        pending = self.open[row.crdc_series_uuid] = _Pending(row, [] if self.shared else None)
        return pending

    def close(self, pending: _Pending) -> None:
        uuid = pending.series.crdc_series_uuid
        del self.open[uuid]
        self.closed[uuid] = None
        if len(self.closed) > _REMEMBERED_SERIES:
            del self.closed[next(iter(self.closed))]

    def remaining(self) -> Iterator[_Pending]:
        """What is left when the engine has ended."""
        while self.read() is not None:
            pass
        yield from list(self.open.values())


@dataclass(frozen=True, slots=True)
class _Options:
    shared: bool
    retries: int
    pause_seconds: float


def transfer(
    plan: Plan,
    destination: Path,
    make_engine: Callable[[], Engine],
    *,
    retries: int = 2,
    pause_seconds: float = 1.0,
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
    yield Started(plan.series_count, plan.instance_count, plan.size_bytes)
    options = _Options(plan.rows.shares_directories(), retries, pause_seconds)
    here, missing, fetched = _Totals(), _Totals(), _Totals()
    wanted = bytearray()
    partial_bytes = 0
    for row, present, present_bytes in _survey(plan, destination, options.shared):
        wanted.append(not present)
        partial_bytes += 0 if present else min(present_bytes, row.size_bytes)
        (here if present else missing).add(row)
        if present:
            yield SeriesCompleted(row, fetched=False)
    failures: list[SeriesFailure] = []
    if missing.series:

        def rows() -> Iterator[PlannedSeries]:
            return compress(plan, wanted)

        place.check(destination)
        # What is there of a series is replaced file by file, and needs no space twice.
        place.check_space(destination, missing.size_bytes - partial_bytes, missing.instances)
        engine = make_engine()
        engine.probe(next(rows()).series_aws_url)
        place.prepare(destination)
        with place.hold(destination):
            place.keep(destination, plan)
            cage = place.Cage(destination)
            for row in rows():
                cage.check(row.directory)
                sweep(f"{destination}/{row.directory}")
            yield FetchStarted(missing.series, missing.instances, missing.size_bytes, engine.workers)
            for event in _fetch(engine, rows, destination, options):
                if isinstance(event, SeriesCompleted):
                    fetched.add(event.series)
                elif isinstance(event, SeriesFailed):
                    failures.append(event.failure)
                yield event
    else:
        place.adopt(destination, plan)
    if place.state(destination).is_dir():
        place.write_failures(destination, failures, plan.idc_version)
    yield Finished(_report(plan, destination, here, fetched, failures, time.monotonic() - began))


def _report(
    plan: Plan,
    destination: Path,
    here: _Totals,
    fetched: _Totals,
    failures: list[SeriesFailure],
    elapsed_seconds: float,
) -> Report:
    return Report(
        destination=destination,
        series_count=plan.series_count,
        instance_count=plan.instance_count,
        size_bytes=plan.size_bytes,
        complete_series=here.series + fetched.series,
        complete_instances=here.instances + fetched.instances,
        complete_bytes=here.size_bytes + fetched.size_bytes,
        fetched_series=fetched.series,
        fetched_bytes=fetched.size_bytes,
        failures=tuple(failures),
        elapsed_seconds=elapsed_seconds,
    )


def _survey(plan: Plan, destination: Path, shared: bool) -> Iterator[tuple[PlannedSeries, bool, int]]:
    """Each series of the plan, whether it is complete on disk, and the bytes that are there of it."""
    if not os.path.isdir(destination):
        yield from ((row, False, 0) for row in plan)
        return
    if shared:
        # Which file is whose cannot be told from names, so a directory counts as a whole.
        complete = {
            directory
            for directory, _, instances, size_bytes in plan.rows.directories()
            if look(destination / directory)[:2] == (instances, size_bytes)
        }
        yield from ((row, row.directory in complete, 0) for row in plan)
        return
    for row in plan:
        found = look(f"{destination}/{row.directory}")
        yield row, agrees(found, row), found.size_bytes


def _fetch(
    engine: Engine, rows: Callable[[], Iterator[PlannedSeries]], destination: Path, options: _Options
) -> Iterator[Event]:
    """Fetch in rounds: what failed for a reason that may pass is tried again, after a pause."""
    endings = 0
    for attempt in count():
        failures: list[SeriesFailure] = []
        completed, ended = False, None
        for event in _round(engine, rows(), rows(), destination, options.shared):
            completed = completed or isinstance(event, SeriesCompleted)
            if isinstance(event, EngineEnded):
                ended = event
            if isinstance(event, SeriesFailed):
                failures.append(event.failure)
            else:
                yield event
        endings = endings + 1 if ended and not completed else 0
        if ended and endings == _ENDINGS_IN_A_ROW:
            raise _gave_up(destination, ended)
        again: list[SeriesFailure] = []
        for failure in failures:
            # An early end is s5cmd's or the network's, and says nothing of the series that it left over.
            if ended or (attempt < options.retries and failure.cause in _PASSING_CAUSES):
                again.append(failure)
            else:
                yield SeriesFailed(failure)
        if not again:
            return
        pause_seconds = min(options.pause_seconds * 4**attempt, _LONGEST_PAUSE_SECONDS)
        instances = sum(each.present_instances for each in again)
        size_bytes = sum(each.present_bytes for each in again)
        yield RetryStarted(len(again), instances, size_bytes, pause_seconds)
        time.sleep(pause_seconds)
        left = [each.planned for each in again]
        rows = left.__iter__


def _round(
    engine: Engine,
    asked: Iterator[PlannedSeries],
    rows: Iterator[PlannedSeries],
    destination: Path,
    shared: bool,
) -> Iterator[Event]:
    """Run the engine once over the series asked for, and account for each of `rows`, the same ones."""
    window = _Window(rows, shared)
    try:
        for event in engine.run(asked, destination):
            yield event
            if isinstance(event, FileCompleted):
                yield from _account(window, event, destination)
            elif isinstance(event, CommandFailed):
                if event.cause == "disk":
                    raise _storage_error(destination, event.message)
                if (pending := window.find(event.crdc_series_uuid)) is not None:
                    pending.failure = event
    finally:
        # s5cmd may have begun as many series again of which it has not told a file yet.
        for _ in range(2 * engine.workers):
            window.read()
        for pending in window.open.values():
            sweep(destination / pending.series.directory)
    for pending in window.remaining():
        found = _look(pending, destination)
        if agrees(found, pending.series):
            yield SeriesCompleted(pending.series, fetched=True)
        else:
            yield SeriesFailed(_failure(pending, found))


def _account(window: _Window, event: FileCompleted, destination: Path) -> Iterator[Event]:
    pending = window.find(event.crdc_series_uuid)
    if pending is None:
        yield EngineMessage(f"{event.path} belongs to no series that is being fetched")
        return
    pending.instances += 1
    if pending.names is not None:
        pending.names.append(Path(event.path).name)
    if pending.instances >= pending.series.instanceCount and agrees(
        _look(pending, destination), pending.series
    ):
        window.close(pending)
        yield SeriesCompleted(pending.series, fetched=True)


def _look(pending: _Pending, destination: Path) -> Found:
    directory = destination / pending.series.directory
    return look(directory) if pending.names is None else look_at(directory, pending.names)


def _failure(pending: _Pending, found: Found) -> SeriesFailure:
    series = pending.series
    cause: Cause
    if pending.failure is not None:
        cause, message = pending.failure.cause, pending.failure.message
    elif found.instances > series.instanceCount:
        cause = "extra_files"
        message = (
            f"its directory holds {found.instances:,} files where the index says {series.instanceCount:,};"
            " remove what does not belong there"
        )
    elif found.instances == series.instanceCount:
        cause = "truncated"
        message = f"its files hold {found.size_bytes:,} bytes where the index says {series.size_bytes:,}"
    else:
        cause = "unknown"
        message = f"{found.instances:,} of {series.instanceCount:,} files are there, and s5cmd gave no reason"
    return SeriesFailure(series, cause, message, found.instances, found.size_bytes)


def _gave_up(destination: Path, ended: EngineEnded) -> TransferError | ConnectionTimeout:
    message = f"{ended.message}, {_ENDINGS_IN_A_ROW} times in a row. What was finished is kept."
    hint = "then run the same command again to go on."
    if ended.stalled:
        return ConnectionTimeout(str(destination), message, f"Check the network, {hint}")
    return EngineCrashed(
        "s5cmd", message, f"Check the memory of the machine, {hint}", stderr_tail=ended.stderr_tail
    )


def _storage_error(destination: Path, message: str) -> StorageError:
    free = place.free_bytes(destination)
    return StorageError(
        str(destination),
        f"Writing to {destination} failed ({message}); {free / 1e9:,.2f} GB are free."
        " What was finished is kept.",
        "Make space or check the disk, then run the same command again to go on.",
    )
