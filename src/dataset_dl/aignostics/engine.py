"""The engine for ``gs://``: several objects at once in threads of this process, events from all of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from dataset_dl.aignostics.account import Account, find_account
from dataset_dl.aignostics.addresses import GsAddress
from dataset_dl.aignostics.causes import Refused
from dataset_dl.aignostics.requesting import Requests
from dataset_dl.aignostics.signing import VALID_SECONDS
from dataset_dl.engines.feeding import FEED_SECONDS, Feed
from dataset_dl.errors import MissingExtra, NetworkError
from dataset_dl.model.events import (
    BytesWritten,
    CommandFailed,
    EngineStarted,
    Event,
    FileCompleted,
    Waiting,
)
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import READ_SECONDS

WORKERS = 4
_MOST_WORKERS = 64
_TICK_SECONDS = 0.1
# A thread that waits for a response notices only later that it was stopped; it writes nothing then.
_JOIN_SECONDS = 2.0


class GcsEngine:
    """Fetches objects of Google Cloud Storage; implements `engines.protocol.Engine`.

    Parameters
    ----------
    network
        How to reach the store.
    account
        Who signs the requests.
    workers
        Objects at once.
    stall_seconds
        A connection is left after this long with next to nothing.
    max_rate_mbps
        Limit of the rate in MB a second; no limit if None.
    valid_seconds
        How long a signature is valid.

    Raises
    ------
    MissingExtra
        If the library for checksums is not installed.
    """

    name = "gcs"
    schemes = ("gs",)
    lists_objects = True

    def __init__(
        self,
        network: NetworkSettings,
        account: Account,
        *,
        workers: int | None = None,
        stall_seconds: float = DownloadSettings.stall_timeout_seconds,
        max_rate_mbps: float | None = None,
        valid_seconds: int = VALID_SECONDS,
    ) -> None:
        try:
            import google_crc32c  # noqa: F401
        except ImportError:
            raise MissingExtra("aignostics", "google-crc32c") from None
        self._network = network
        self._account = account
        self.workers = min(workers or WORKERS, _MOST_WORKERS)
        self._stall_seconds = stall_seconds
        self._max_rate_mbps = max_rate_mbps
        self._valid_seconds = valid_seconds

    def probe(self, address: str) -> None:
        """Ask for one object.

        Raises
        ------
        NetworkError
            If the store cannot be reached, does not answer as one, or accepts no signature of the account.
        """
        with self._requests() as asking:
            try:
                asking.find(GsAddress.of(address))
            except Refused as error:
                if error.is_for_all or error.cause in ("server_error", "network"):
                    raise NetworkError(
                        asking.endpoint, f"Nothing can be fetched: {error.words}.", "Try again later."
                    ) from None

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the object of each row, by key; rows whose object is gone or was replaced are left out."""
        with self._requests() as asking, ThreadPoolExecutor(self.workers) as pool:

            def ask(row: PlannedSeries) -> list[StoredObject]:
                try:
                    found = asking.find(GsAddress.of(row.address))
                except (Refused, NetworkError):
                    return []
                if row.key != f"{found.address}#{found.generation}":
                    return []
                return [
                    StoredObject(name, found.size_bytes, f"crc32c-{found.crc32c:08x}")
                    for name in row.wanted() or ()
                ]

            answers = zip(series, pool.map(ask, series), strict=True)
            return {row.key: objects for row, objects in answers if objects}

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch objects; see `engines.protocol.Engine.run`."""
        with self._requests() as asking:
            yield EngineStarted(self.name, self.workers, urlsplit(asking.endpoint).hostname or "")
            crew = _Crew(asking, destination, self.workers, self._stall_seconds, self._max_rate_mbps)
            try:
                yield from crew.events(Feed(fetches))
            finally:
                crew.stop()

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is of no use to a later run: none is, each is continued."""
        return False

    def _requests(self) -> Requests:
        read_seconds = min(READ_SECONDS, self._stall_seconds)
        return Requests(
            self._network, self._account, read_seconds=read_seconds, valid_seconds=self._valid_seconds
        )


class _Crew:
    """Threads that each fetch one object after the other."""

    def __init__(
        self,
        asking: Requests,
        destination: Path,
        workers: int,
        stall_seconds: float,
        max_rate_mbps: float | None,
    ) -> None:
        from dataset_dl.aignostics.fetching import Fetching

        self._fetching = Fetching(
            asking, destination, stall_seconds=stall_seconds, max_rate_mbps=max_rate_mbps
        )
        self._workers = workers
        self._orders: queue.SimpleQueue[Fetch | None] = queue.SimpleQueue()
        # None: an object has ended, whatever became of it.
        self._told: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for each in self._threads:
            each.start()

    def events(self, feed: Feed) -> Iterator[Event]:
        """Give out fetches as threads are free, and yield what happens."""
        in_flight, next_tick = 0, time.monotonic()
        while in_flight or not feed.is_over:
            while in_flight < self._workers and (each := next(feed.ready(), None)) is not None:
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
                yield BytesWritten(self._fetching.received_bytes)
        yield BytesWritten(self._fetching.received_bytes)

    def stop(self) -> None:
        """End the threads."""
        self._fetching.stop()
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
            self._fetch(order)
            self._told.put(None)

    def _fetch(self, order: Fetch) -> None:
        from dataset_dl.aignostics.fetching import Stopped

        series = order.series
        try:
            for name in order.missing or series.wanted() or ():
                size_bytes = self._fetching.fetch(series, name)
                path = f"{series.directory}/{name}"
                self._told.put(FileCompleted(series.key, path, size_bytes, proven=True))
        except Stopped:
            pass
        except Refused as error:
            self._told.put(CommandFailed(series.key, error.cause, error.words))
        except NetworkError as error:
            self._told.put(CommandFailed(series.key, "network", error.message.rstrip(".")))
        except OSError as error:
            words = f"{error.strerror or error}: {series.directory}"
            self._told.put(CommandFailed(series.key, "disk", words))
        except BaseException as error:  # a bug must not look like an object that never ends
            self._told.put(error)


def make(settings: DownloadSettings, network: NetworkSettings) -> GcsEngine:
    """Create the engine from settings, with the account that the environment names.

    Raises
    ------
    MissingExtra
        If the extra is not installed.
    SelectionError
        If no credentials are named, or they cannot be used.
    """
    return GcsEngine(
        network,
        find_account(),
        workers=settings.workers,
        stall_seconds=settings.stall_timeout_seconds,
        max_rate_mbps=settings.max_rate_mbps,
    )
