"""What a worker of Dask does: fetch a few series with the ordinary engine, and look at the disk."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.destination import disk
from dataset_dl.destination.attempts import SILENT_SECONDS
from dataset_dl.destination.tree import file_size, sweep
from dataset_dl.engines.choice import chooser
from dataset_dl.engines.leftovers import is_begun
from dataset_dl.engines.protocol import Engine
from dataset_dl.model.events import CommandFailed, EngineEnded, FileCompleted
from dataset_dl.model.series import Fetch, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings


class Way(NamedTuple):
    """How a worker fetches.

    Proxies, certificate authorities and credentials are those of the worker's machine: no secret is sent.

    Attributes
    ----------
    settings, network
        Arguments of `DownloadSettings` and of `NetworkSettings.gather`.
    """

    settings: Mapping[str, Any]
    network: Mapping[str, Any]


class Outcome(NamedTuple):
    """What became of a batch.

    Attributes
    ----------
    files
        Key → path below the destination, bytes and whether it was compared with a checksum, of each file that
        the worker has seen on the disk.
    failures
        Key, cause and message of each failure.
    ended
        Why the engine ended early; empty if it did not.
    """

    files: dict[str, list[tuple[str, int, bool]]]
    failures: list[tuple[str, str, str]]
    ended: str = ""


# How many batches of each run are at work in this process.
_at_work: Counter[str] = Counter()
_lock = threading.Lock()
_engines: dict[tuple[str, str], Engine] = {}


def fetch(way: Way, fetches: Sequence[Fetch], destination: str, mark: str, run: str) -> Outcome:
    """Fetch a batch of series.

    Parameters
    ----------
    way
        How.
    fetches
        What; all of one scheme.
    destination
        Where to.
    mark
        A file that is there if this machine has the file system of the destination.
    run
        The run that the batch is of, see `at_work`.
    """
    with _lock:
        _at_work[run] += 1
    try:
        return _fetch(way, fetches, Path(destination), mark)
    finally:
        with _lock:
            _at_work[run] -= 1


def _fetch(way: Way, fetches: Sequence[Fetch], destination: Path, mark: str) -> Outcome:
    outcome = Outcome({}, [])
    if not Path(mark).exists():
        words = f"a worker does not see {destination}"
        return outcome._replace(failures=[(fetches[0].series.key, "disk", words)])
    address = fetches[0].series.address
    ended = ""
    with closing(engine_of(way, address).run(fetches, destination)) as events:  # type: ignore[type-var]
        for event in events:
            if isinstance(event, FileCompleted):
                if file_size(f"{destination}/{event.path}") == event.size_bytes:
                    told = event.path, event.size_bytes, event.proven
                    outcome.files.setdefault(event.key, []).append(told)
            elif isinstance(event, CommandFailed):
                outcome.failures.append((event.key, event.cause, event.message))
            elif isinstance(event, EngineEnded):
                ended = event.message
            if _is_unwanted():
                return outcome  # nobody reads it
    # A worker that was lost with this batch may have left files that it had begun.
    until = disk.clock(mark) - SILENT_SECONDS
    for each in fetches:
        row = each.series
        is_alone = row.key in row.directory or (row.SeriesInstanceUID or "?") in row.directory
        # In a directory of several series, another worker may be writing.
        sweep(f"{destination}/{row.directory}", is_begun, None if is_alone else until)
    return outcome._replace(ended=ended)


def probe(way: Way, address: str) -> None:
    """Ask the store for a series, by the way that a worker takes."""
    engine_of(way, address)


def objects(way: Way, several: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
    """Return the objects that the store lists for some series, by key."""
    return engine_of(way, several[0].address).objects(several)


def engine_of(way: Way, address: str) -> Engine:
    """Return the engine of this process for an address, made and probed on first use."""
    which = repr(way), address.partition("://")[0]
    with _lock:
        if which not in _engines:
            engine = chooser(DownloadSettings(**way.settings), NetworkSettings.gather(**way.network))(
                which[1]
            )
            engine.probe(address)
            _engines[which] = engine
        return _engines[which]


def at_work(run: str) -> int:
    """Return how many batches of a run are at work in this process."""
    return _at_work[run]


def _is_unwanted() -> bool:
    """Whether nobody waits for the task of this thread any more: it was cancelled, or its client is gone."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return False  # not run by Dask
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"
