"""The arguments of s5cmd, its file of commands, and its number of workers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dataset_dl.engines.s5cmd.lines import copy_line, list_line
from dataset_dl.model.series import Fetch, PlannedSeries
from dataset_dl.network import NetworkSettings
from dataset_dl.store.addresses import at_store

# s5cmd's own default; for objects fetched in one piece it opens at most two connections a worker.
_MOST_WORKERS = 256
# Through a proxy nearly every object needs another connection, which the proxy has to open, too.
_MOST_WORKERS_BY_PROXY = 64
# Enough to keep a core busy if responses come immediately; more workers only wait for each other.
_WORKERS_PER_CORE = 8
# How many small objects a core fetches a second, and how many round trips each takes: s5cmd keeps two
# connections open and opens a new one for every other object, which over TLS is most of the work.
_OBJECTS_PER_CORE_SECOND, _ROUND_TRIPS_PER_OBJECT = 1500, 2
_OBJECTS_PER_CORE_SECOND_TLS, _ROUND_TRIPS_PER_OBJECT_TLS = 500, 3
_USUAL_ROUND_TRIP_SECONDS = 0.02
_DESCRIPTORS_PER_WORKER = 3
_DESCRIPTORS_ASIDE = 64
# s5cmd writes to any path that a store lists, even outside the destination; no IDC instance has such a name.
_OUT_OF_THE_CAGE = ("*..*", "*/*")
# An object fetched by its key costs 1.8 ms of CPU time (HEAD and GET), one fetched by a wildcard 0.5 ms, and
# comparing one name with one exclusion 0.09 µs: above this ratio, keys are cheaper.
_EXCLUSIONS_PER_MISSING = 14_000


def batch_lines(fetches: Iterable[Fetch], network: NetworkSettings) -> Iterator[str]:
    """Yield the commands that fetch series, or their missing files, below the working directory."""
    for series, missing, present in fetches:
        url = at_store(series.address, network)
        if missing is None:
            yield copy_line(url, series.directory, exclude=_OUT_OF_THE_CAGE)
        elif series.files is None and (len(missing) + len(present)) * len(
            present
        ) <= _EXCLUSIONS_PER_MISSING * len(missing):
            yield copy_line(url, series.directory, exclude=(*_OUT_OF_THE_CAGE, *present))
        else:
            yield from (copy_line(url.removesuffix("*") + name, series.directory) for name in missing)


def list_lines(series: Iterable[PlannedSeries], network: NetworkSettings) -> Iterator[str]:
    """Yield one command per series, which lists its objects with sizes and ETags."""
    for each in series:
        yield list_line(at_store(each.address, network))


def run_arguments(
    binary: Path,
    network: NetworkSettings,
    workers: int,
    batch_file: Path | None,
    retry_count: int | None = None,
) -> list[str]:
    """Return the arguments to run commands of a file, or of standard input.

    s5cmd tries each request eleven times by default.
    """
    retries = [] if retry_count is None else ["--retry-count", str(retry_count)]
    workers_words = ["--numworkers", str(workers)]
    commands = [] if batch_file is None else [str(batch_file)]
    return [*_global_arguments(binary, network), *retries, *workers_words, "run", *commands]


def choose_workers(
    cores: int,
    descriptor_limit: int,
    round_trip_seconds: float | None = None,
    *,
    by_proxy: bool = False,
    by_tls: bool = False,
) -> int:
    """Choose how many objects to fetch in parallel: enough to keep the cores busy, within the limits.

    Parameters
    ----------
    cores
        How many this machine has.
    descriptor_limit
        How many files and connections s5cmd may hold open.
    round_trip_seconds
        Between a request to the store and its response; None if unknown.
    by_proxy
        Whether the store is reached through a proxy.
    by_tls
        Whether the store is reached by TLS.
    """
    waiting = _USUAL_ROUND_TRIP_SECONDS if round_trip_seconds is None else round_trip_seconds
    rate, round_trips = (
        (_OBJECTS_PER_CORE_SECOND_TLS, _ROUND_TRIPS_PER_OBJECT_TLS)
        if by_tls
        else (_OBJECTS_PER_CORE_SECOND, _ROUND_TRIPS_PER_OBJECT)
    )
    under_way = cores * rate * round_trips * waiting
    by_descriptors = (descriptor_limit - _DESCRIPTORS_ASIDE) // _DESCRIPTORS_PER_WORKER
    most = min(_MOST_WORKERS_BY_PROXY if by_proxy else _MOST_WORKERS, by_descriptors)
    return max(1, min(most, max(_WORKERS_PER_CORE * cores, round(under_way))))


def _global_arguments(binary: Path, network: NetworkSettings) -> list[str]:
    unsigned = [] if network.sign else ["--no-sign-request"]
    return [str(binary), "--json", *unsigned, "--endpoint-url", network.endpoint_url]
