"""The engine for ``nbia://``: a few zips at once, each unpacked while it arrives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import requests
import urllib3

from dataset_dl.engines.feeding import Feed
from dataset_dl.engines.receiving import Receiving
from dataset_dl.engines.threads import Failed, Threads
from dataset_dl.model.events import EngineStarted, Event
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.tcia import require
from dataset_dl.tcia.service import Nbia, NbiaAddress
from dataset_dl.tcia.unpacking import UNFINISHED, Part, Unpacked, is_unfinished, named, save, unpack

# As many as TCIA's own program uses.
WORKERS, _MOST_WORKERS = 4, 16
# A zip that the server ends early is asked for once more, then its instances one by one.
_TRIES = 2
# NBIA's sizes are no promise; far beyond them is a trap.
_SLACK, _SLACK_BYTES = 2, 64_000_000


class NbiaEngine:
    """Fetches series of NBIA; implements `engines.protocol.Engine`.

    Parameters
    ----------
    network
        How to reach it.
    workers
        Series at once.
    stall_seconds
        A connection is left after this long with next to nothing.
    max_rate_mbps
        Limit of the rate in MB a second; no limit if None.
    """

    name = "zip"
    schemes = ("nbia",)
    lists_objects = False

    def __init__(
        self,
        network: NetworkSettings,
        *,
        workers: int | None = None,
        stall_seconds: float = DownloadSettings.stall_timeout_seconds,
        max_rate_mbps: float | None = None,
    ) -> None:
        require()
        self._network = network
        self._stall_seconds = stall_seconds
        self.workers = min(workers or WORKERS, _MOST_WORKERS)
        self._max_rate_mbps = max_rate_mbps

    def probe(self, address: str) -> None:
        """Ask for the facts of one series.

        Raises
        ------
        NetworkError
            If NBIA does not answer.
        """
        wanted = NbiaAddress.of(address)
        Nbia(self._network, wanted.host).metadata([wanted.SeriesInstanceUID])

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return nothing: NBIA lists instances, but not the bytes of each."""
        return {}

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series; see `engines.protocol.Engine.run`."""
        yield EngineStarted(self.name, self.workers, "NBIA")
        receiving = Receiving(stall_seconds=self._stall_seconds, max_rate_mbps=self._max_rate_mbps)
        fetching = _Fetching(self._network, destination, receiving)
        threads = Threads(self.workers, fetching.series, lambda: receiving.received_bytes)
        yield from threads.run(Feed(fetches), receiving.stop)

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is one that was not proven."""
        return is_unfinished(name)


class _Fetching:
    """Fetches series, from several threads."""

    def __init__(self, network: NetworkSettings, destination: Path, receiving: Receiving) -> None:
        self._network = network
        self._destination = destination
        self._receiving = receiving

    def series(self, order: Fetch) -> Iterator[Event]:
        """Fetch a series whole; its files get their names together, when all of them are proven."""
        row = order.series
        address = NbiaAddress.of(row.address)
        nbia = Nbia(self._network, address.host)
        directory = self._destination / row.directory
        directory.mkdir(parents=True, exist_ok=True)
        found = self._whole(nbia, row, directory)
        if not found.is_whole or len(found.parts) != (row.instanceCount or len(found.parts)):
            self._mend(nbia, row, directory, found)
        self._receiving.check()
        yield from named(row, directory, found)

    def _whole(self, nbia: Nbia, row: PlannedSeries, directory: Path) -> Unpacked:
        """Unpack the zip; one that is short for a passing reason is asked for again."""
        uid = str(row.SeriesInstanceUID)
        problem = Failed("truncated", "NBIA sent no zip")
        for _ in range(_TRIES):
            try:
                chunks = self._received(nbia.archive(uid))
                found = unpack(chunks, directory, uid, _most(row))
                if found.is_whole:
                    return found
            except (urllib3.exceptions.HTTPError, TimeoutError) as error:
                problem = Failed("truncated", f"the connection broke off ({type(error).__name__})")
                continue
            except Failed as error:
                if error.cause not in ("truncated", "server_error"):
                    raise
                problem = error
                continue
            if found.parts or found.named is not None:
                return found
        raise problem

    def _mend(self, nbia: Nbia, row: PlannedSeries, directory: Path, found: Unpacked) -> None:
        """Fetch the instances one by one that the zip lacks."""
        uid = str(row.SeriesInstanceUID)
        wanted = nbia.instances(uid)
        if not wanted:
            lacking = f"{len(found.parts):,} of {row.instanceCount or 'its'} files"
            raise Failed("truncated", f"NBIA sent {lacking}, and does not say which are lacking")
        for strange in found.parts.keys() - set(wanted):
            raise Failed("altered", f"the zip has the instance {strange}, which NBIA does not list")
        for number, instance in enumerate(each for each in wanted if each not in found.parts):
            self._receiving.check()
            path = directory / f".{uid}.m{number}{UNFINISHED}"
            try:
                part: Part = save(
                    self._received(nbia.instance(uid, instance)),
                    path,
                    uid,
                    instance,
                    _most(row),
                )
            except (urllib3.exceptions.HTTPError, TimeoutError) as error:
                raise Failed("truncated", f"the connection broke off ({type(error).__name__})") from None
            found.parts[instance] = part

    def _received(self, response: requests.Response) -> Iterator[bytes]:
        return self._receiving.chunks(response, is_decoded=True)


def _most(row: PlannedSeries) -> int | None:
    return None if row.estimated_bytes is None else _SLACK * row.estimated_bytes + _SLACK_BYTES


def make(settings: DownloadSettings, network: NetworkSettings) -> NbiaEngine:
    """Create the engine from settings.

    Raises
    ------
    MissingExtra
        If the extra is not installed.
    """
    return NbiaEngine(
        network,
        workers=settings.workers,
        stall_seconds=settings.stall_timeout_seconds,
        max_rate_mbps=settings.max_rate_mbps,
    )
