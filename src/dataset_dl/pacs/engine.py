"""The engine for ``dicomweb://`` and ``dimse://``: WADO-RS before C-GET before C-MOVE."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dataset_dl.destination.tree import file_size
from dataset_dl.engines.feeding import Feed
from dataset_dl.engines.receiving import Receiving
from dataset_dl.engines.threads import Failed, Stopped, Threads
from dataset_dl.errors import NetworkError, SelectionError, TransferError
from dataset_dl.model.events import EngineStarted, Event, FileCompleted, Noticed, SeriesSized
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, Size, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import require
from dataset_dl.pacs.address import SCHEMES, Address
from dataset_dl.pacs.archives import archive_of
from dataset_dl.pacs.association import Association
from dataset_dl.pacs.intake import Intake, is_unfinished, name_of
from dataset_dl.pacs.ledger import Ledger
from dataset_dl.pacs.limits import limits_of
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.pacs.receiver import Receiver, let_go, shared
from dataset_dl.pacs.source import uids_of
from dataset_dl.pacs.titles import Titles
from dataset_dl.pacs.wado import Wado
from dataset_dl.pacs.ways import Get, Move, NotOffered, Way
from dataset_dl.pixels.identity import identify
from dataset_dl.pixels.unreadable import Unreadable

WORKERS, _MOST_WORKERS = 4, 16
_TICK_SECONDS = 1.0


class ArchiveEngine:
    """Fetches series of archives; implements `engines.protocol.Engine`.

    Parameters
    ----------
    network
        How to reach them.
    workers
        Series at once, of all nodes; each node has its own limit, too.
    stall_seconds
        A connection is left after this long with next to nothing.
    max_rate_mbps
        Limit of the rate in MB a second for a node; no limit if None.
    """

    name = "archive"
    schemes = SCHEMES
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
        self._max_rate_mbps = max_rate_mbps
        self.workers = min(workers or WORKERS, _MOST_WORKERS)

    def probe(self, address: str) -> None:
        """Ask for one series.

        Raises
        ------
        NetworkError
            If the archive does not answer.
        """
        wanted = Address.of(address)
        node = Nodes().find(wanted.node)
        if node.waits_seconds():
            return  # it will be asked in its hours
        with archive_of(node, self._network) as archive:
            try:
                list(archive.find("series", wanted.conditions, ("Modality",)))
            except (TransferError, SelectionError) as error:
                raise NetworkError(error.reference, error.message, error.hint) from None

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return nothing: archives list instances, but not the bytes of each."""
        return {}

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series; see `engines.protocol.Engine.run`."""
        yield EngineStarted(self.name, self.workers, "archives")
        fetching = _Fetching(self._network, destination, self._stall_seconds, self._max_rate_mbps)
        threads = Threads(self.workers, fetching.series, lambda: fetching.received_bytes)
        try:
            yield from threads.run(Feed(fetches), fetching.stop)
        finally:
            fetching.close()

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is one that has not come to its end."""
        return is_unfinished(name)


class _At:
    """A node at work: its limits, and how it is asked."""

    def __init__(self, node: Node, receiving: Receiving) -> None:
        self.node = node
        self.receiving = receiving
        self.limits = limits_of(node, "fetch")
        self.has_get = True
        self.is_waited_for = False


class _Fetching:
    """Fetches series, from several threads."""

    def __init__(
        self, network: NetworkSettings, destination: Path, stall_seconds: float, max_rate_mbps: float | None
    ) -> None:
        self._network = network
        self._destination = destination
        self._stall_seconds = stall_seconds
        self._max_rate_mbps = max_rate_mbps
        self._lock = threading.Lock()
        self._known: dict[str, _At] = {}
        self._open: set[Association] = set()
        self._listening = threading.Lock()
        self._receiver: Receiver | None = None
        self._ledger = Ledger.of(destination)
        self._is_stopped = False

    @property
    def received_bytes(self) -> int:
        """Bytes so far, of all nodes."""
        return sum(each.receiving.received_bytes for each in list(self._known.values()))

    def stop(self) -> None:
        """End everything that is at work."""
        self._is_stopped = True
        with self._lock:
            for at in self._known.values():
                at.receiving.stop()
            for association in self._open:
                association.interrupt()

    def close(self) -> None:
        """Stop to receive, and close the ledger."""
        with self._listening:
            if self._receiver is not None:
                let_go(self._receiver.titles)
        self._ledger.close()

    def series(self, order: Fetch) -> Iterator[Event]:
        """Fetch what is missing of a series."""
        row = order.series
        at = self._at(Address.of(row.address).node)
        yield from self._hours(at)
        directory = self._destination / row.directory
        directory.mkdir(parents=True, exist_ok=True)
        sizes = self._present(row, directory)
        every = uids_of(row)
        asked = every if order.missing is None else {name.removesuffix(".dcm") for name in order.missing}
        is_whole = not sizes and asked == every
        intake = Intake(
            row, asked - sizes.keys(), directory, at.node, self._ledger, at.receiving, is_whole=is_whole
        )
        failure: Failed | NetworkError | None = None
        if intake.missing:
            with at.limits.place(at.receiving.check):
                failure = self._fetch(at, row.scheme, intake)
            intake.record()
        if intake.failure is not None:
            raise intake.failure
        new = intake.sizes
        if sizes.keys() | new.keys() >= every:
            named = {name_of(uid): size_bytes for uid, size_bytes in {**sizes, **new}.items()}
            yield SeriesSized(row.key, Size.of(named, named=True))
        for uid in sizes.keys() | new.keys():
            # What was here before was not fetched.
            yield FileCompleted(row.key, f"{row.directory}/{name_of(uid)}", new.get(uid, 0))
        if intake.missing:
            raise failure or _lacking(intake, at.node)

    def _fetch(self, at: _At, scheme: str, intake: Intake) -> Failed | NetworkError | None:
        """Fetch; return why it could not go on, as a part may have come."""
        try:
            self._by(at, scheme, intake)
        except (Failed, NetworkError) as error:
            if self._is_stopped:
                raise Stopped from None
            return error
        except (TransferError, SelectionError) as error:
            return Failed("access_denied", error.message.rstrip("."))
        return None

    def _by(self, at: _At, scheme: str, intake: Intake) -> None:
        if scheme == "dicomweb":
            Wado(at.node, self._network, at.receiving).fetch(intake)
            return
        refusal: NotOffered | None = None
        if at.has_get:
            try:
                Get(at.node, self._network, self._opened).fetch(intake)
                return
            except NotOffered as error:
                refusal = error
        way: Way = Move(at.node, self._network, self._opened, self._receiving)
        try:
            way.fetch(intake)
        except (Failed, SelectionError):
            if refusal is None or refusal.is_certain:
                raise
            # The archive may just have been restarted; what C-MOVE lacks is no reason to give C-GET up.
            raise NetworkError(refusal.reference, refusal.message, refusal.hint) from None
        # What has worked once is tried first.
        at.has_get = False

    def _at(self, name: str) -> _At:
        with self._lock:
            if name not in self._known:
                node = Nodes().find(name)
                receiving = Receiving(
                    stall_seconds=self._stall_seconds,
                    max_rate_mbps=self._max_rate_mbps,
                    pace=limits_of(node, "fetch").pace,
                )
                self._known[name] = _At(node, receiving)
            return self._known[name]

    def _hours(self, at: _At) -> Iterator[Event]:
        """Wait until a node may be asked."""
        while (opens_at := at.node.opens_at(datetime.now())) > datetime.now():
            at.receiving.check()
            if not at.is_waited_for:
                at.is_waited_for = True
                yield Noticed(
                    f"{at.node.name} may be asked in the hours {at.node.hours} only; the download goes on at"
                    f" {opens_at:%Y-%m-%d %H:%M}."
                )
            time.sleep(_TICK_SECONDS)
        at.is_waited_for = False

    def _present(self, row: PlannedSeries, directory: Path) -> dict[str, int]:
        """Return the instances that are here already, by SOPInstanceUID, with their bytes."""
        found: dict[str, int] = {}
        for name, expected in (row.wanted() or {}).items():
            size_bytes = file_size(directory / name)
            if size_bytes is None or (expected is not None and expected != size_bytes):
                continue
            uid = name.removesuffix(".dcm")
            with suppress(Unreadable, OSError):
                if expected is not None or identify(directory / name).SOPInstanceUID == uid:
                    found[uid] = size_bytes
        return found

    def _opened(self, association: Association) -> None:
        with self._lock:
            self._open = {each for each in self._open if each.is_open}
            self._open.add(association)
            is_late = self._is_stopped
        if is_late:
            association.interrupt()

    def _receiving(self) -> Receiver:
        with self._listening:
            if self._receiver is None:
                self._receiver = shared(Titles.gather(), self._check)
            return self._receiver

    def _check(self) -> None:
        if self._is_stopped:
            raise Stopped


def _lacking(intake: Intake, node: Node) -> Failed:
    """Return why not all has come, naming instances."""
    missing = sorted(intake.missing)
    said = f" ({intake.said})" if intake.said else ""
    if intake.problems:
        first = next(iter(intake.problems.values()))
        more = f"; {len(intake.problems) - 1:,} more like that" if len(intake.problems) > 1 else ""
        return Failed("altered", f"{first}{more}{said}")
    return Failed(
        "truncated",
        f"{node.name} sent {intake.arrived_count:,} of {len(intake.wanted):,} instances{said}; it lacks"
        f" {missing[0]}" + (f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""),
    )


def make(settings: DownloadSettings, network: NetworkSettings) -> ArchiveEngine:
    """Create the engine from settings.

    Raises
    ------
    MissingExtra
        If the extra is not installed.
    """
    return ArchiveEngine(
        network,
        workers=settings.workers,
        stall_seconds=settings.stall_timeout_seconds,
        max_rate_mbps=settings.max_rate_mbps,
    )
