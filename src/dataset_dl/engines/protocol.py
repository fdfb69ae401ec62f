"""The protocol of engines, which move the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dataset_dl.model.events import Event
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings


class Engine(Protocol):
    """Fetches series; registered for the scheme of their addresses.

    Its events prove nothing: only the disk decides that a series is complete.

    An engine that knows several stores has two more methods, see `engines.stores.TwoStores`:
    ``elsewhere(key)`` is called if a series failed, and ``leave()`` if everything fails. An engine that can
    change its rate while it runs has ``limit(rate_mbps)``; another thread may not call it.

    Attributes
    ----------
    name
        Its name for `--engine`.
    workers
        Objects fetched in parallel. It may have begun twice as many series without reporting a file of them.
    lists_objects
        Whether `objects` works. An engine that cannot list yields a `SeriesSized` for each series whose size
        the plan does not contain.
    """

    name: str
    workers: int
    lists_objects: bool

    def probe(self, address: str) -> None:
        """Request one series once, by the route that the download will take.

        Raises
        ------
        NetworkError
            If nothing can be fetched.
        """

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the objects that the store lists, by key. Leave out a series without a full list."""

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series below a destination, nearly in the order of the fetches.

        If the disk is bounded, or consumers take the series, the iterator may give a `Pause`: there is no
        room for more. The engine goes on with what it has, yields an event, for example `Waiting`, and asks
        again soon; `feeding.Feed` helps. It takes a series only when it begins with it or can hold it back.

        It yields a `FileCompleted` for each file that has its final name in the directory of its series, and
        any other events. The name ends in ``.dcm``, unless the row names its files. It may skip whole series
        silently. Closing the iterator stops everything that was started.
        """

    def is_unfinished(self, name: str) -> bool:
        """Whether a file of this name is unfinished, by this engine or another one for its scheme."""


# Makes an engine from the settings of the download and of the network.
MakeEngine = Callable[[DownloadSettings, NetworkSettings], Engine]
