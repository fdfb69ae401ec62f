"""What runs consumers: processes beside the download or a loop of the user; `threads` of this process."""

from __future__ import annotations

import json
import os
import queue
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dataset_dl.destination.consumers import Consumer, ConsumerRequest
from dataset_dl.errors import DatasetDlError, NetworkError, StorageError
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import Series
from dataset_dl.process import LineQueue, Process, stop_all
from dataset_dl.process.python import start_module

# Begins an answer among the lines of a process.
_ANSWER = b"\0"
# Each process has one series and the next one.
_TASKS_PER_PROCESS = 2
_CRASHED = "the process that worked on it ended on its own ({how}); memory, or a decoder, may be the reason"


@dataclass(frozen=True)
class Taken:
    """What became of a series: what the consumer made, or the reason why it made nothing.

    `error` is set if the whole run has to end; `is_final` is False if a group is not complete yet.
    """

    key: str
    made: Mapping[str, Any] | None
    cause: Cause = "consumer"
    message: str = ""
    error: DatasetDlError | None = None
    is_final: bool = True


class Crew(Protocol):
    """Runs one consumer."""

    def give(self, task: Any) -> None:
        """Give it a series, or a group if it is `threads.Here`; never waits."""

    def taken(self) -> Iterator[Taken]:
        """Yield what became of series since the last call; never waits."""

    def close(self) -> None:
        """End everything that was started."""


def failed(key: str, error: BaseException) -> Taken:
    """Return what an exception of a consumer means."""
    message = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, StorageError):
        return Taken(key, None, "disk", message, error)
    return Taken(key, None, "network" if isinstance(error, NetworkError) else "consumer", message)


class Loop:
    """Gives series to a loop of the user, see `verbs.download.stream`: a consumer, and what runs it.

    Parameters
    ----------
    name
        The name in the receipts.

    Attributes
    ----------
    waiting
        Series that the loop has not got yet.
    """

    options: Mapping[str, Any] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Series] = deque()
        self._done: deque[Taken] = deque()

    def give(self, series: Series) -> None:
        """Keep a series for the loop."""
        self.waiting.append(series)

    def take(self, series: Series) -> Mapping[str, Any]:
        """The loop takes the series itself."""
        raise NotImplementedError

    def finished(self, series: Series) -> None:
        """Say that the loop has finished with a series."""
        self._done.append(Taken(series.planned.key, {}))

    def taken(self) -> Iterator[Taken]:
        """Yield what the loop has finished with."""
        while self._done:
            yield self._done.popleft()

    def close(self) -> None:
        """There is nothing to end."""


class Processes:
    """Runs a consumer in several processes.

    Parameters
    ----------
    request
        The consumer; each process makes its own.
    count
        How many processes.
    """

    def __init__(self, request: ConsumerRequest, count: int) -> None:
        self._orders = json.dumps(
            {"name": request.name, "where": request.where, "destination": os.fspath(request.destination),
             "options": dict(request.options)}
        ).encode() + b"\n"  # fmt: skip
        self._count = count
        self._waiting: deque[Series] = deque()
        self._workers: list[_Worker] = []

    def give(self, series: Series) -> None:
        """Give it a series."""
        self._waiting.append(series)
        self._distribute()

    def taken(self) -> Iterator[Taken]:
        """Yield what became of series."""
        for worker in list(self._workers):
            yield from worker.taken()
            if worker.is_over:
                self._workers.remove(worker)
        self._distribute()

    def close(self) -> None:
        """End all processes."""
        stop_all([each.process for each in self._workers])

    def _distribute(self) -> None:
        while self._waiting:
            free = min(self._workers, key=lambda each: len(each.tasks), default=None)
            if (free is None or free.tasks) and len(self._workers) < self._count:
                free = _Worker(self._orders)
                self._workers.append(free)
            if free is None or len(free.tasks) >= _TASKS_PER_PROCESS:
                return
            free.give(self._waiting.popleft())


class _Worker:
    """One process of several."""

    def __init__(self, orders: bytes) -> None:
        self._lines: LineQueue = queue.SimpleQueue()
        self.tasks: deque[Series] = deque()
        self.is_over = False
        try:
            self.process: Process = start_module(
                "dataset_dl.transfer.hand", directory=Path.cwd(), orders=orders, lines=self._lines
            )
        except OSError as error:
            raise StorageError(
                "", f"No process for consumers can start: {error.strerror or error}."
            ) from None

    def give(self, series: Series) -> None:
        self.tasks.append(series)
        self.process.feed(json.dumps(series.to_plain()).encode() + b"\n")

    def taken(self) -> Iterator[Taken]:
        for batch in emptied(self._lines):
            if batch is None:
                self.is_over = True
                yield from self._lost()
                return
            for line in batch:
                if line.startswith(_ANSWER):  # others are what the consumer prints
                    yield _decoded(self.tasks.popleft().planned.key, line.removeprefix(_ANSWER))

    def _lost(self) -> Iterator[Taken]:
        """Say what becomes of the tasks of a process that has ended: only the first one can be the reason."""
        if not self.tasks:
            return
        code = self.process.returncode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        for number, series in enumerate(self.tasks):
            cause: Cause = "consumer" if number == 0 else "unknown"
            yield Taken(series.planned.key, None, cause, _CRASHED.format(how=how))
        self.tasks.clear()


def answer(taken: Taken) -> bytes:
    """Return what became of a series as a line."""
    error = taken.error
    told = None if error is None else [error.reference, error.message, error.hint]
    document = [taken.made, taken.cause, taken.message, told]
    return _ANSWER + json.dumps(document, default=str).encode() + b"\n"


def _decoded(key: str, line: bytes) -> Taken:
    made, cause, message, told = json.loads(line)
    return Taken(key, made, cause, message, None if told is None else StorageError(*told))


def taken_by(consumer: Consumer, series: Series) -> Taken:
    """Let a consumer take a series; any exception of third-party code fails this series only."""
    try:
        made = consumer.take(series)
        if made is not None and not isinstance(made, Mapping):
            raise TypeError(f"it returned {type(made).__name__} where a mapping was expected")
        return Taken(series.planned.key, {} if made is None else made)
    except Exception as error:
        return failed(series.planned.key, error)


def work(consumer: Consumer, lines: Iterator[bytes]) -> Iterator[bytes]:
    """Let a consumer take the series of lines, and yield an answer to each."""
    for line in lines:
        series = Series.of_plain(json.loads(line))
        try:
            yield answer(taken_by(consumer, series))
        except (TypeError, ValueError) as error:  # what it made is not plain
            yield answer(failed(series.planned.key, error))


def emptied(several: queue.SimpleQueue[Any]) -> Iterator[Any]:
    """Yield what is in a queue now."""
    while True:
        try:
            yield several.get_nowait()
        except queue.Empty:
            return
