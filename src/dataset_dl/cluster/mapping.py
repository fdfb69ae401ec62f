"""Let workers of Dask do something with each series of a download, where it lies; each series once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dataset_dl.cluster.connecting import seen_by_all, threads_of, why
from dataset_dl.destination import disk
from dataset_dl.destination.consumers import Consumer, ConsumerRequest
from dataset_dl.doors import CONSUMERS
from dataset_dl.errors import ManifestError, SelectionError
from dataset_dl.model.outcome import Delivery
from dataset_dl.model.series import Series
from dataset_dl.transfer.crew import Processes, Taken, taken_by
from dataset_dl.transfer.hands import hands_of
from dataset_dl.verbs.deliver import deliver

if TYPE_CHECKING:
    from distributed import Client, Future

    from dataset_dl.observers import Observer

_TASKS_A_THREAD = 2


class DaskCrew:
    """Runs a consumer on the workers of Dask; implements `transfer.crew.Crew`.

    Parameters
    ----------
    client
        The client.
    wanted
        A consumer, or the request for one that each worker makes for itself.
    """

    def __init__(self, client: Client, wanted: Consumer | ConsumerRequest) -> None:
        self._client = client
        self._wanted = wanted
        self._most = threads_of(client) * _TASKS_A_THREAD
        self._waiting: list[Series] = []
        self._begun: dict[Future[Any], Series] = {}

    def give(self, task: Series) -> None:
        """Give it a series."""
        self._waiting.append(task)
        self._distribute()

    def taken(self) -> Iterator[Taken]:
        """Yield what became of series."""
        for future in [each for each in self._begun if each.done()]:
            series = self._begun.pop(future)
            if future.status == "finished":
                yield future.result()
            else:
                yield Taken(series.planned.key, None, *why(future))
        self._distribute()

    def close(self) -> None:
        """Give up what has begun; what a worker is at goes on to its end, without a receipt."""
        if self._begun:
            self._client.cancel(list(self._begun), force=True)

    def _distribute(self) -> None:
        while self._waiting and len(self._begun) < self._most:
            series = self._waiting.pop(0)
            future = self._client.submit(take, self._wanted, series.to_plain(), pure=False)
            self._begun[future] = series


_consumers: dict[str, Consumer] = {}


def take(wanted: Consumer | ConsumerRequest, plain: list[Any]) -> Taken:
    """Let a consumer take a series; runs on a worker."""
    series = Series.of_plain(plain)
    if not isinstance(wanted, ConsumerRequest):
        return taken_by(wanted, series)
    which = repr(wanted)
    if which not in _consumers:
        make = CONSUMERS.find(wanted.name)
        if make is None:
            words = f"this worker has no consumer {wanted.name}"
            return Taken(series.planned.key, None, "consumer", words)
        _consumers[which] = make(wanted)
    return taken_by(_consumers[which], series)


def map_series(
    what: Any,
    destination: str | Path,
    client: Client,
    *,
    evict: bool = False,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    check: bool = True,
) -> Delivery:
    """Run a function or a consumer over each complete series of a download, on the workers of Dask.

    A series with a receipt is left out, so the same call goes on with the rest. This process writes the
    receipts; a series that is running when a worker is lost goes to another one.

    Parameters
    ----------
    what
        A function with a name that takes a `Series` and returns None or a mapping for the receipt; or the
        name of a consumer, like ``thumbnails``, which must be installed on the workers.
    destination
        The directory of a download, which all workers see at the same path.
    client
        A `distributed.Client` that is not asynchronous.
    evict, progress, observers, check
        As for `dataset_dl.deliver`.

    Raises
    ------
    SelectionError
        If there is no such consumer, or it works in the process that writes the receipts.
    DeliveryIncomplete, ManifestError, StorageError
        As for `dataset_dl.deliver`.
    """
    threads_of(client)
    root = disk.absolute(Path(destination))
    if not root.is_dir():
        raise ManifestError(
            str(root), f"No download went to {root}, so nothing can be delivered from there.", "Name one."
        )
    (hand,) = hands_of([what], root, 1)
    wanted: Consumer | ConsumerRequest = hand.consumer
    if isinstance(what, str):
        if not isinstance(hand.crew, Processes):
            raise SelectionError(
                what,
                f"The consumer {hand.consumer.name} works in one process, so it cannot be spread over"
                " workers; nothing was started.",
                f"`dataset-dl deliver {root} --to {what}` runs it here.",
            )
        request = ConsumerRequest.of(what, root)
        # A directory is meant here, where the command runs, not where a worker happens to run.
        wanted = replace(request, where=os.fspath(getattr(hand.consumer, "target", request.where)))
    with seen_by_all(client, root):
        crew = DaskCrew(client, wanted)
        return deliver(
            root,
            to=[replace(hand, crew=crew)],
            evict=evict,
            progress=progress,
            observers=observers,
            check=check,
        )
