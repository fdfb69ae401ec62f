"""What s5cmd is told: its arguments, its file of commands, and how many workers it gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dataset_dl.engines.s5cmd.lines import copy_line, list_line
from dataset_dl.model.series import Fetch, PlannedSeries
from dataset_dl.network import NetworkSettings
from dataset_dl.store.addresses import at_store

# s5cmd's own default; it never opens more than two connections a worker for files of one part.
_MOST_WORKERS = 256
# Through a proxy nearly each object is a connection more, which the proxy has to make, too.
_MOST_WORKERS_BY_PROXY = 64
# What keeps a core busy where answers come at once; more only wait for each other.
_WORKERS_PER_CORE = 8
# A core gets about so many small objects a second, and each takes so many round trips: s5cmd keeps two
# connections open and makes a new one for all others, which over TLS is most of the work.
_OBJECTS_PER_CORE_SECOND, _ROUND_TRIPS_PER_OBJECT = 1500, 2
_OBJECTS_PER_CORE_SECOND_TLS, _ROUND_TRIPS_PER_OBJECT_TLS = 500, 3
_USUAL_ROUND_TRIP_SECONDS = 0.02
_DESCRIPTORS_PER_WORKER = 3
_DESCRIPTORS_ASIDE = 64
# s5cmd writes wherever a store's list leads it; no instance of IDC has such a name.
_OUT_OF_THE_CAGE = ("*..*", "*/*")
# An object by its key costs 1.8 ms of processor time (HEAD and GET) where one of a wildcard costs 0.5 ms,
# and holding one name against one exclusion costs 0.09 µs: above this, keys are cheaper.
_EXCLUSIONS_PER_MISSING = 14_000


def batch_lines(fetches: Iterable[Fetch], network: NetworkSettings) -> Iterator[str]:
    """The commands that fetch series, or what is missing of them, to below the working directory."""
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
    """One command a series: its objects with their sizes and ETags."""
    for each in series:
        yield list_line(at_store(each.address, network))


def run_arguments(
    binary: Path, network: NetworkSettings, workers: int, batch_file: Path, retry_count: int | None = None
) -> list[str]:
    """The arguments that run a file of commands; s5cmd tries each request eleven times unless told."""
    retries = [] if retry_count is None else ["--retry-count", str(retry_count)]
    workers_words = ["--numworkers", str(workers)]
    return [*_global_arguments(binary, network), *retries, *workers_words, "run", str(batch_file)]


def choose_workers(
    cores: int,
    descriptor_limit: int,
    round_trip_seconds: float | None = None,
    *,
    by_proxy: bool = False,
    by_tls: bool = False,
) -> int:
    """How many objects to fetch at once: as many as keep the cores busy, within what can be held open.

    Parameters
    ----------
    cores
        Of this machine.
    descriptor_limit
        How many files and connections s5cmd may hold open.
    round_trip_seconds
        Between a question to the store and its answer; None if it is not known.
    by_proxy
        Whether the store is reached through a proxy.
    by_tls
        Whether it speaks TLS.
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
