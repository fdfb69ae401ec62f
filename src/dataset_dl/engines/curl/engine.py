"""The engine: takes series to fetch, yields events, and leaves no worker behind."""

from __future__ import annotations

import os
import queue
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import msgspec

from dataset_dl.engines.curl.causes import failure_of, reason_of
from dataset_dl.engines.curl.pool import Get, Pool
from dataset_dl.engines.curl.route import listing_url
from dataset_dl.engines.curl.tasks import Task, TaskFile
from dataset_dl.engines.curl.way import prefix_of, route_to
from dataset_dl.engines.curl.worker import Failed, File, Line, Orders, Tick
from dataset_dl.engines.descriptors import descriptor_limit
from dataset_dl.engines.feeding import FEED_SECONDS, Feed
from dataset_dl.engines.leftovers import is_begun
from dataset_dl.engines.words import redacted
from dataset_dl.errors import NetworkError, StorageError
from dataset_dl.model.events import (
    BytesWritten,
    CommandFailed,
    EngineEnded,
    EngineMessage,
    EngineStarted,
    Event,
    FileCompleted,
    Waiting,
)
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.network.reasons import unreachable
from dataset_dl.process import LineQueue, Process, lines_of, stop_all
from dataset_dl.process.kernel import kernel_id
from dataset_dl.process.python import start_module
from dataset_dl.scratch import Scratch
from dataset_dl.store.pages import most_listed, parse_page

_TICK_SECONDS = 0.1
_GATHER_SECONDS = 0.01
_PROBE_SECONDS = 20.0
_LEAST_CONNECTIONS, _MOST_CONNECTIONS, _MOST_BY_PROXY = 16, 256, 64
# Twice the small objects that are fetched a second: from afar, as many connections keep the processes busy
# although half of them wait for the store.
_OBJECTS_PER_SECOND = 6_000
_DESCRIPTORS_ASIDE, _DESCRIPTORS_PER_CONNECTION = 64, 3
_LISTINGS_AT_ONCE = 32
# One process fetches several GB a second; more than a few would only wait for the network.
_MOST_PROCESSES = 4
# What is worth starting another process, which takes a tenth of a second; a small object costs as much as
# these bytes, whatever its size.
_BYTES_PER_PROCESS, _OBJECT_BYTES = 150 << 20, 30_000
_decode = msgspec.json.Decoder(Line).decode
# Workers speak ten times a second, whatever the store does.
_SILENT_SECONDS = 60.0
# Variables that OpenSSL or libcurl would take orders from.
_UNWANTED = ("PROXY", "SSLKEYLOGFILE", "AWS_SECRET", "AWS_SESSION", "CURL_")


class CurlEngine:
    """Fetches series with libcurl in worker processes; implements `engines.Engine`.

    Parameters
    ----------
    network
        How to reach the store.
    workers
        Connections, all workers together; if None, adapted to what arrives.
    stall_seconds
        A connection is ended after this long with next to nothing, and its request tried again.
    max_rate_mbps
        Limit of the rate in MB a second; no limit if None.
    md5
        Compare each file with the store's checksum while it arrives.
    processes
        Number of worker processes; if None, chosen by the cores and by how much there is to fetch.
    """

    name = "curl"
    lists_objects = True

    def __init__(
        self,
        network: NetworkSettings,
        workers: int | None = None,
        stall_seconds: float = DownloadSettings.stall_timeout_seconds,
        max_rate_mbps: float | None = None,
        *,
        md5: bool = False,
        processes: int | None = None,
    ) -> None:
        self._network = network
        self._route = route_to(network)
        self._stall_seconds = stall_seconds
        self._max_rate_mbps = max_rate_mbps
        self._md5 = md5
        self._processes = processes
        self._living: list[Process] = []
        self._is_fixed = workers is not None
        by_descriptors = (descriptor_limit() - _DESCRIPTORS_ASIDE) // _DESCRIPTORS_PER_CONNECTION
        most = _MOST_BY_PROXY if self._route.proxy else _MOST_CONNECTIONS
        self._most = max(1, min(most, by_descriptors))
        self.workers = (
            min(workers, max(1, by_descriptors)) if workers else min(self._most, _LEAST_CONNECTIONS)
        )

    def probe(self, address: str) -> None:
        """List one series by the route that the download will take, and choose the connections to begin with.

        Raises
        ------
        NetworkError
            If the endpoint fails, or is no store.
        """
        bucket_url, prefix = prefix_of(address, self._network)
        body = bytearray()
        ended: list[Get] = []
        with Pool(self._route, 1, _PROBE_SECONDS) as pool:
            for _ in range(2):  # the second one takes a round trip, on the connection of the first
                asked = Get(listing_url(bucket_url, prefix, most=1), body.extend, ended.append)
                asked.reads_errors = True
                pool.start(asked)
                deadline = time.monotonic() + _PROBE_SECONDS
                while len(pool) and time.monotonic() < deadline:
                    pool.wait(_TICK_SECONDS)
                get = ended[-1] if ended and not len(pool) else None
                if get is None:
                    raise unreachable(self._network.endpoint_url, "silent")
                if not get.ok:
                    raise self._error(get, bytes(body))
                if parse_page(bytes(body), prefix) is None:
                    raise unreachable(self._network.endpoint_url, "no_store")
                body.clear()
        if not self._is_fixed:
            from_afar = round(_OBJECTS_PER_SECOND * ended[-1].round_trip_seconds)
            self.workers = min(self._most, max(_LEAST_CONNECTIONS, from_afar))

    def _error(self, get: Get, body: bytes) -> NetworkError:
        endpoint = self._network.endpoint_url
        reason = reason_of(get, body, by_proxy=bool(self._route.proxy))
        if reason is not None:
            return unreachable(endpoint, reason)
        return NetworkError(endpoint, f"{endpoint} cannot be reached: {failure_of(get).words}.")

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the objects that the store lists for some series, by key.

        A series without a full list is left out.
        """
        from dataset_dl.engines.curl.listings import Listings

        with Pool(self._route, _LISTINGS_AT_ONCE, self._stall_seconds) as pool:
            return Listings(pool, _LISTINGS_AT_ONCE).of(self._task(Fetch(each)) for each in series)

    def _task(self, fetch: Fetch) -> Task:
        series = fetch.series
        bucket_url, prefix = prefix_of(series.address, self._network)
        names = list(fetch.missing or ())
        wanted = series.wanted() or {}
        sizes = [wanted.get(name) for name in names]
        return Task(series.key, series.directory, bucket_url, prefix, most_listed(series), names, sizes)

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series below `destination`; yield what the workers say as events.

        Raises
        ------
        StorageError
            If no worker can start in the destination.
        """
        load, feed = _Load(), Feed(fetches)
        with Scratch("run") as scratch:
            tasks = TaskFile(scratch / "tasks")

            def more() -> int:
                """Add the tasks that there is room for; return how many."""
                count = tasks.add(self._task(each) for each in load.counted(feed.ready()))
                if feed.is_over:
                    tasks.end()
                return count

            if more() or not feed.is_over:
                count = min(self.workers, self._processes or load.processes)
                with self._running(tasks.path, destination, count) as (processes, lines):
                    host = urlsplit(self._network.request_url).hostname or ""
                    yield EngineStarted(self.name, self.workers, host)
                    yield from self._listen(processes, lines, feed, more)

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is unfinished, by this engine or s5cmd; large objects are kept, to go on with."""
        return is_begun(name)

    def limit(self, rate_mbps: float) -> None:
        """Change the limit of the rate, also while it runs; it must have had one from the beginning."""
        self._max_rate_mbps = rate_mbps
        for each in self._living:
            each.feed(b"%f\n" % (rate_mbps * 1e6 / len(self._living)))

    @contextmanager
    def _running(
        self, tasks: Path, destination: Path, count: int
    ) -> Iterator[tuple[list[Process], LineQueue]]:
        """Run the workers, and stop them at the end."""
        share = max(1, self.workers // count)
        orders = Orders(
            str(tasks),
            self._route,
            first=share,
            most=share if self._is_fixed else max(share, self._most // count),
            fixed=self._is_fixed,
            stall_seconds=self._stall_seconds,
            rate_bytes=self._max_rate_mbps and self._max_rate_mbps * 1e6 / count,
            hashed=self._md5,
            boot=kernel_id().replace(" ", "-"),
            token=secrets.token_hex(3),
        )
        lines: LineQueue = queue.SimpleQueue()
        self._living = processes = []
        try:
            for number in range(count):
                words = msgspec.json.encode(msgspec.structs.replace(orders, number=number)) + b"\n"
                processes.append(_worker(destination, words, lines))
            yield processes, lines
        finally:
            self._living = []
            stop_all(processes)

    def _listen(
        self, processes: list[Process], lines: LineQueue, feed: Feed, more: Callable[[], int]
    ) -> Iterator[Event]:
        ticks: dict[int, Tick] = {}
        heard_at = next_sample = time.monotonic()
        tick_seconds = _TICK_SECONDS if feed.is_over else FEED_SECONDS
        for batch in lines_of(lines, len(processes), tick_seconds):
            if not feed.is_over:
                more()
                if feed.is_idle:
                    yield Waiting()
            now = time.monotonic()
            heard_at = now if batch else heard_at
            for line in batch:
                try:
                    said = _decode(line)
                except msgspec.MsgspecError:
                    yield EngineMessage(redacted(line.decode(errors="replace").strip()))
                    continue
                if isinstance(said, File):
                    yield FileCompleted(said.key, said.path, said.size_bytes, said.proven)
                elif isinstance(said, Failed):
                    yield CommandFailed(said.key, cast(Cause, said.cause), said.words)
                else:
                    ticks[said.number] = said
            if ticks and now >= next_sample:
                next_sample = now + _TICK_SECONDS
                yield _sum(ticks.values())
            if now - heard_at >= max(self._stall_seconds, _SILENT_SECONDS):
                yield EngineEnded(f"the workers of curl said nothing for {now - heard_at:.0f} s", True, "")
                return
        if ticks:
            yield _sum(ticks.values())
        codes = [each.returncode or 0 for each in processes]
        if any(codes):
            how = ", ".join(f"signal {-code}" if code < 0 else f"exit code {code}" for code in codes if code)
            tail = "\n".join(filter(None, (each.stderr_tail for each in processes)))
            yield EngineEnded(f"a worker of curl ended on its own ({how})", False, redacted(tail))


class _Load:
    """How much there is to fetch, and how many processes that is worth."""

    def __init__(self) -> None:
        self._series = self._work = 0

    def counted(self, fetches: Iterable[Fetch]) -> Iterator[Fetch]:
        """Pass on the fetches that ask for anything."""
        for each in fetches:
            if each.missing != ():
                self._series += 1
                self._work += each.series.expected_bytes + _OBJECT_BYTES * each.series.expected_instances
                yield each

    @property
    def processes(self) -> int:
        """How many processes it is worth on this machine."""
        most = min(_MOST_PROCESSES, os.cpu_count() or 1, self._series)
        return max(1, min(most, self._work // _BYTES_PER_PROCESS))


def _worker(destination: Path, orders: bytes, lines: LineQueue) -> Process:
    try:
        return start_module(
            "dataset_dl.engines.curl.worker",
            directory=destination,
            orders=orders,
            lines=lines,
            is_unwanted=_is_unwanted,
            # Memory is used again, not returned after each object: that saves a tenth of the CPU time.
            variables={"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_TOP_PAD_": str(16 << 20)},
            gather_seconds=_GATHER_SECONDS,
        )
    except OSError as error:
        raise StorageError(
            str(destination), f"No worker of curl can start in {destination}: {error.strerror or error}."
        ) from None


def _is_unwanted(variable: str) -> bool:
    return any(word in variable.upper() for word in _UNWANTED)


def _sum(ticks: Iterable[Tick]) -> BytesWritten:
    several = list(ticks)
    memory = [each.memory_bytes for each in several if each.memory_bytes is not None]
    return BytesWritten(sum(each.size_bytes for each in several), sum(memory) or None)
