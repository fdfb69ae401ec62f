"""Threads of this process that each fetch one series after the other, and the events of all of them.

For engines that move few large things by Python: what they wait for is the network.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

from dataset_dl.engines.feeding import FEED_SECONDS, Feed
from dataset_dl.errors import NetworkError
from dataset_dl.model.events import BytesWritten, CommandFailed, Event, Waiting
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import Fetch

_TICK_SECONDS = 0.1
# A thread that waits for a response notices only later that it was stopped; it writes nothing then.
_JOIN_SECONDS = 2.0


class Stopped(Exception):
    """The engine was closed; ends a thread's work."""


class Failed(Exception):
    """A series cannot be fetched; never leaves an engine.

    Attributes
    ----------
    cause, words
        For the report.
    """

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause: Cause = cause
        self.words = words


class Threads:
    """Threads that fetch.

    Parameters
    ----------
    count
        How many.
    fetch
        Fetches a series and yields events. `Failed`, `NetworkError` and `OSError` are failures of that
        series, and `Stopped` ends it silently; anything else ends the engine.
    received_bytes
        Returns how many bytes have come so far.
    """

    def __init__(
        self, count: int, fetch: Callable[[Fetch], Iterator[Event]], received_bytes: Callable[[], int]
    ) -> None:
        self._count = count
        self._fetch = fetch
        self._received_bytes = received_bytes
        self._orders: queue.SimpleQueue[Fetch | None] = queue.SimpleQueue()
        # None: a series has ended, whatever became of it.
        self._told: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for each in self._threads:
            each.start()

    def run(self, feed: Feed, stop: Callable[[], object]) -> Iterator[Event]:
        """Give out fetches as threads are free, and yield what happens; `stop` ends what they are doing."""
        try:
            yield from self._events(feed)
        finally:
            stop()
            self._end()

    def _events(self, feed: Feed) -> Iterator[Event]:
        in_flight, next_tick = 0, time.monotonic()
        while in_flight or not feed.is_over:
            while in_flight < self._count and (each := next(feed.ready(), None)) is not None:
                if each.missing != ():
                    self._orders.put(each)
                    in_flight += 1
            if not feed.is_over and feed.is_idle:
                yield Waiting()
            for told in self._heard(_TICK_SECONDS if feed.is_over else FEED_SECONDS):
                if told is None:
                    in_flight -= 1
                elif isinstance(told, BaseException):
                    raise told
                else:
                    yield told
            if (now := time.monotonic()) >= next_tick:
                next_tick = now + _TICK_SECONDS
                yield BytesWritten(self._received_bytes())
        yield BytesWritten(self._received_bytes())

    def _end(self) -> None:
        for _ in self._threads:
            self._orders.put(None)
        ends_at = time.monotonic() + _JOIN_SECONDS
        for each in self._threads:
            each.join(max(0.0, ends_at - time.monotonic()))

    def _heard(self, seconds: float) -> Iterator[Event | BaseException | None]:
        """Yield what the threads have told, and wait for it if there is nothing."""
        try:
            yield self._told.get(timeout=seconds)
            while True:
                yield self._told.get_nowait()
        except queue.Empty:
            return

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            self._do(order)
            self._told.put(None)

    def _do(self, order: Fetch) -> None:
        key = order.series.key
        try:
            for event in self._fetch(order):
                self._told.put(event)
        except Stopped:
            pass
        except Failed as error:
            self._told.put(CommandFailed(key, error.cause, error.words))
        except NetworkError as error:
            self._told.put(CommandFailed(key, "network", error.message.rstrip(".")))
        except OSError as error:
            words = f"{error.strerror or error}: {order.series.directory}"
            self._told.put(CommandFailed(key, "disk", words))
        except BaseException as error:  # a bug must not look like a series that never ends
            self._told.put(error)
