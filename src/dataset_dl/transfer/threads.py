"""Runs a consumer in threads of this process."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

from dataset_dl.destination.consumers import Consumer, Group
from dataset_dl.model.series import Series
from dataset_dl.transfer.crew import Taken, emptied, failed, taken_by

# A consumer that takes longer is left; its series has no receipt, so it gets it again.
_CLOSE_SECONDS = 10.0


class Here:
    """Runs a consumer in threads of this process; no two of them work on series of one group.

    Parameters
    ----------
    consumer
        The consumer.
    count
        How many threads.
    """

    def __init__(self, consumer: Consumer, count: int = 1) -> None:
        self._consumer = consumer
        self._count = count
        self._waiting: list[tuple[str, Series | Group]] = []
        self._busy: set[str] = set()
        self._changed = threading.Condition()
        self._done: queue.SimpleQueue[Taken] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def give(self, task: Series | Group) -> None:
        """Give it a series, or a group whose series it has taken."""
        with self._changed:
            self._waiting.append((self._group_of(task), task))
            self._changed.notify()
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._work, daemon=True, name="consumer")
            self._threads.append(thread)
            thread.start()

    def taken(self) -> Iterator[Taken]:
        """Yield what became of series and groups."""
        yield from emptied(self._done)

    def close(self) -> None:
        """End after what has just begun, if that does not take long."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (found := self._next()) is not None:
            group, task = found
            key = task.key if isinstance(task, Group) else task.planned.key
            try:
                if isinstance(task, Group):
                    self._complete(task)
                else:
                    self._done.put(taken_by(self._consumer, task))
            except BaseException as error:  # sys.exit, for example; the thread has to live
                self._done.put(failed(key, error))
            finally:
                with self._changed:
                    self._busy.discard(group)
                    self._changed.notify_all()

    def _complete(self, group: Group) -> None:
        made: Mapping[str, Any] = {}
        for made in cast(Any, self._consumer).complete(group):
            self._done.put(Taken(group.key, made, is_final=False))
        self._done.put(Taken(group.key, made))

    def _next(self) -> tuple[str, Series | Group] | None:
        """Wait for the first task whose group no other thread works on, and its group; None at the end."""
        with self._changed:
            while not self._is_closed:
                for number, (group, _) in enumerate(self._waiting):
                    if group not in self._busy:
                        if group:
                            self._busy.add(group)
                        return self._waiting.pop(number)
                self._changed.wait()
        return None

    def _group_of(self, task: Series | Group) -> str:
        if isinstance(task, Group):
            return task.name
        grouped = getattr(self._consumer, "group", None)
        return "" if grouped is None else str(grouped(task.planned))
