"""The engine for ``gs://``: several objects at once in threads of this process, events from all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from dataset_dl.aignostics.account import Account, find_account
from dataset_dl.aignostics.addresses import GsAddress
from dataset_dl.aignostics.causes import Refused
from dataset_dl.aignostics.requesting import Requests
from dataset_dl.aignostics.signing import VALID_SECONDS
from dataset_dl.engines.feeding import Feed
from dataset_dl.engines.receiving import Receiving
from dataset_dl.engines.threads import Threads
from dataset_dl.errors import MissingExtra, NetworkError
from dataset_dl.model.events import EngineStarted, Event
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import READ_SECONDS

WORKERS = 4
_MOST_WORKERS = 64


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
        from dataset_dl.aignostics.fetching import Fetching

        with self._requests() as asking:
            yield EngineStarted(self.name, self.workers, urlsplit(asking.endpoint).hostname or "")
            receiving = Receiving(stall_seconds=self._stall_seconds, max_rate_mbps=self._max_rate_mbps)
            fetching = Fetching(asking, destination, receiving)
            threads = Threads(self.workers, fetching.objects, lambda: receiving.received_bytes)
            yield from threads.run(Feed(fetches), receiving.stop)

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is of no use to a later run: none is, each is continued."""
        return False

    def _requests(self) -> Requests:
        read_seconds = min(READ_SECONDS, self._stall_seconds)
        return Requests(
            self._network, self._account, read_seconds=read_seconds, valid_seconds=self._valid_seconds
        )


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
