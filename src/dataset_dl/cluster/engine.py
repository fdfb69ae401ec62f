"""An engine around the ordinary one: workers of Dask fetch batches, this process keeps the records."""

from __future__ import annotations

import secrets
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dataset_dl.cluster.batch import Outcome, Way, at_work, fetch, objects, probe
from dataset_dl.cluster.connecting import client_of, reaching, seen_by_all, threads_of, why
from dataset_dl.engines.feeding import FEED_SECONDS, Feed
from dataset_dl.engines.leftovers import is_begun
from dataset_dl.errors import EngineMissing, SelectionError
from dataset_dl.model.events import (
    BytesWritten,
    CommandFailed,
    EngineEnded,
    EngineStarted,
    Event,
    FileCompleted,
    Waiting,
)
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings

if TYPE_CHECKING:
    from distributed import Client, Future

# A batch ends after so many series or bytes: small enough that little is repeated if its worker is lost, and
# large enough that starting an engine for it does not count.
_BATCH_SERIES, _BATCH_BYTES = 32, 256 << 20
# Each thread of a worker has one batch and the next one.
_BATCHES_A_THREAD = 2
_STOP_SECONDS = 30.0
# After so long without an answer it is asked whether there is anybody left who could give one.
_SILENT_SECONDS = 5.0
_TICK_SECONDS = 0.1
# Settings that hold on the workers, too; rates and workers are theirs in equal shares.
_SETTINGS = ("stall_timeout_seconds", "verify")


class DaskEngine:
    """Fetches series on the workers of Dask; implements `engines.protocol.Engine`.

    All workers need dataset-dl and the file system of the destination. They reach the network by the settings
    of their own machines. A batch whose worker is lost goes to another one.

    Parameters
    ----------
    client
        A `distributed.Client` that is not asynchronous.
    engine
        The engine that workers use.

    Examples
    --------
    >>> dd.download(plan, "data", engine=DaskEngine(Client("scheduler:8786")))
    """

    name = "dask"
    lists_objects = True
    schemes = ("s3",)

    def __init__(self, client: Client, *, engine: str = "auto") -> None:
        self._client = client
        self._engine = engine
        self._threads = threads_of(client)
        self.workers = self._threads * _BATCHES_A_THREAD * _BATCH_SERIES
        self._way = self._way_by(DownloadSettings(), NetworkSettings())

    def configured(self, settings: DownloadSettings, network: NetworkSettings) -> DaskEngine:
        """Return the engine for the settings of a download."""
        made = DaskEngine(self._client, engine=self._engine)
        made._way = made._way_by(settings, network)
        return made

    def _way_by(self, settings: DownloadSettings, network: NetworkSettings) -> Way:
        own: dict[str, Any] = {name: getattr(settings, name) for name in _SETTINGS}
        own["engine"] = self._engine
        if settings.max_rate_mbps is not None:
            own["max_rate_mbps"] = settings.max_rate_mbps / self._threads
        if settings.workers is not None:
            own["workers"] = max(1, settings.workers // self._threads)
        given: dict[str, Any] = {"store": network.store, "sign": network.sign or None}
        if network.origins.get("endpoint_url"):
            given["endpoint_url"] = network.endpoint_url
        return Way(own, given)

    def probe(self, address: str) -> None:
        """Request one series by the way that a worker takes.

        Raises
        ------
        NetworkError
            If nothing can be fetched.
        """
        with reaching(self._client):
            self._client.submit(probe, self._way, address, pure=False).result()

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the objects that the store lists for some series, by key.

        A series without a full list is left out.
        """
        batches = [list(series[at : at + _BATCH_SERIES]) for at in range(0, len(series), _BATCH_SERIES)]
        with reaching(self._client):
            futures = [self._client.submit(objects, self._way, batch, pure=False) for batch in batches]
        found: dict[str, list[StoredObject]] = {}
        heard_at, count = time.monotonic(), 0
        while not all(each.done() for each in futures):
            time.sleep(FEED_SECONDS)
            now = time.monotonic()
            if (done := sum(each.done() for each in futures)) > count:
                count, heard_at = done, now
            if now - heard_at > _SILENT_SECONDS and self._gone():
                break
        for each in futures:
            if each.status == "finished":
                found |= each.result()
        return found

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series below a destination, batch by batch.

        Raises
        ------
        StorageError
            If a worker does not see the destination.
        PlanError
            If a worker has another version of dataset-dl.
        """
        feed = Feed(fetches)
        batches = _Batches(feed)
        run, begun = secrets.token_hex(6), dict[Any, list[Fetch]]()
        most, received, ended = self._threads * _BATCHES_A_THREAD, 0, ""
        heard_at = time.monotonic()
        with seen_by_all(self._client, destination) as mark:
            yield EngineStarted(self.name, self.workers)
            try:
                while True:
                    while len(begun) < most and (batch := batches.next()):
                        orders = self._way, batch, str(destination), mark, run
                        with reaching(self._client):
                            begun[self._client.submit(fetch, *orders, pure=False)] = batch
                    done = [each for each in begun if each.done()]
                    heard_at = time.monotonic() if done or not begun else heard_at
                    if time.monotonic() - heard_at > _SILENT_SECONDS and (gone := self._gone()):
                        yield EngineEnded(gone, True, "")
                        return
                    for future in done:
                        for event in _events(future, begun.pop(future)):
                            if isinstance(event, FileCompleted):
                                received += event.size_bytes
                            if isinstance(event, EngineEnded):
                                ended = event.message
                            else:
                                yield event
                        yield BytesWritten(received)
                    if not begun and feed.is_over and not batches.waiting:
                        break
                    if not feed.is_over and feed.is_idle and not begun:
                        yield Waiting()
                    if not done:
                        time.sleep(FEED_SECONDS)
                        yield BytesWritten(received)
                if ended:
                    yield EngineEnded(ended, False, "")
            finally:
                self._stop(begun, run)

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is unfinished, by any engine that a worker may use."""
        return is_begun(name)

    def _gone(self) -> str:
        """Return what is not there any more, the scheduler or all workers; empty if both are."""
        if self._client.status != "running":
            return "the scheduler of Dask is gone"
        with suppress(OSError, TimeoutError):
            return "" if self._client.nthreads() else "all workers of Dask are gone"
        return "the scheduler of Dask does not answer"

    def _stop(self, begun: Iterable[Future[Any]], run: str) -> None:
        """Cancel batches, and wait until no worker is at one of them any more."""
        if not begun:
            return
        deadline = time.monotonic() + _STOP_SECONDS
        with suppress(OSError, TimeoutError):  # what is gone need not be stopped
            self._client.cancel(list(begun), force=True)
            while time.monotonic() < deadline and self._client.status == "running":
                answers = self._client.run(at_work, run, on_error="ignore")
                if not any(answers.values()):
                    return
                time.sleep(_TICK_SECONDS)


class _Batches:
    """Puts fetches together: of one scheme, and not too many."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.waiting: list[Fetch] = []

    def next(self) -> list[Fetch]:
        """Return the next batch; empty if there is nothing now."""
        if not self._feed.is_over and len(self.waiting) < _BATCH_SERIES:
            for each in self._feed.ready():
                self.waiting.append(each)
                if len(self.waiting) >= _BATCH_SERIES:
                    break
        batch: list[Fetch] = []
        size_bytes = 0
        while self.waiting and len(batch) < _BATCH_SERIES and size_bytes < _BATCH_BYTES:
            batch.append(self.waiting.pop(0))
            size_bytes += batch[-1].series.expected_bytes
        return batch


def _events(future: Future[Any], batch: list[Fetch]) -> Iterator[Event]:
    """Yield what has happened to a batch."""
    if future.status != "finished":
        reason, words = why(future)
        for each in batch:
            yield CommandFailed(each.series.key, reason, words)
        yield EngineEnded(words, False, "")
        return
    outcome: Outcome = future.result()
    for key, files in outcome.files.items():
        for path, size_bytes, proven in files:
            yield FileCompleted(key, path, size_bytes, proven)
    for key, cause, message in outcome.failures:
        yield CommandFailed(key, cast(Cause, cause), message)
    if outcome.ended:
        yield EngineEnded(outcome.ended, False, "")


def make(settings: DownloadSettings, network: NetworkSettings) -> DaskEngine:
    """Make the engine for an address like ``dask://host:8786``.

    Raises
    ------
    EngineMissing
        If no address is given, as with `auto`.
    NetworkError
        If no scheduler answers there, or it has no workers.
    """
    address = settings.engine if isinstance(settings.engine, str) else ""
    if not address.startswith("dask://"):
        if address == "dask":
            raise SelectionError(
                "dask", "The engine dask needs the address of a scheduler; nothing was started.",
                "Write --engine dask://HOST:8786.",
            )  # fmt: skip
        raise EngineMissing("dask", "No scheduler of Dask was named, so nothing was started.")
    client = client_of(address)
    engine = DaskEngine(client).configured(settings, network)
    weakref.finalize(engine, client.close)
    return engine
