"""What a transfer asks of whatever moves the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dataset_dl.model.events import Event
from dataset_dl.model.series import Fetch, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings


class Engine(Protocol):
    """Something that fetches series. It is registered for the scheme of their addresses.

    Nothing that it says is believed: a series is complete when the disk says so.

    Attributes
    ----------
    name
        What `--engine` calls it.
    workers
        Objects fetched at once. It may have begun twice as many series of which it has not reported a file.
    lists_objects
        Whether `objects` can answer. An engine that cannot list says with `SeriesSized` how much a series is,
        if its plan does not.
    """

    name: str
    workers: int
    lists_objects: bool

    def probe(self, address: str) -> None:
        """Ask once for one series, on the way that the download will take.

        Raises
        ------
        NetworkError
            If nothing can be fetched.
        """

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """What the store holds, by key. A series that it cannot say it of in full is left out."""

    def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
        """Fetch series below a destination, nearly in the order of the fetches.

        It yields a `FileCompleted` for each file that has its final name, ending in ``.dcm``, in the
        directory of its series, and whatever else it has to say; it may leave out whole series without a
        word. When the iterator is closed, everything that was started is stopped.
        """

    def is_unfinished(self, name: str) -> bool:
        """Whether a file of this name is one that this engine, or another of its scheme, has not finished."""


# Makes an engine from how to fetch and how the network is reached.
MakeEngine = Callable[[DownloadSettings, NetworkSettings], Engine]
