"""What s5cmd is told: its arguments, its file of commands, and how many workers it gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dataset_dl.manifest import copy_line, list_line
from dataset_dl.model import Fetch, PlannedSeries
from dataset_dl.network import NetworkSettings

# s5cmd's own default; it never opens more than two connections a worker for files of one part.
_MOST_WORKERS = 256
_WORKERS_PER_CORE = 32
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
        url = network.bucket_url(series.series_aws_url)
        if missing is None:
            yield copy_line(url, series.directory, exclude=_OUT_OF_THE_CAGE)
        elif (len(missing) + len(present)) * len(present) <= _EXCLUSIONS_PER_MISSING * len(missing):
            yield copy_line(url, series.directory, exclude=(*_OUT_OF_THE_CAGE, *present))
        else:
            yield from (copy_line(url.removesuffix("*") + name, series.directory) for name in missing)


def list_lines(series: Iterable[PlannedSeries], network: NetworkSettings) -> Iterator[str]:
    """One command a series: its objects with their sizes and ETags."""
    for each in series:
        yield list_line(network.bucket_url(each.series_aws_url))


def run_arguments(
    binary: Path, network: NetworkSettings, workers: int, batch_file: Path, retry_count: int | None = None
) -> list[str]:
    """The arguments that run a file of commands; s5cmd tries each request eleven times unless told."""
    retries = [] if retry_count is None else ["--retry-count", str(retry_count)]
    workers_words = ["--numworkers", str(workers)]
    return [*_global_arguments(binary, network), *retries, *workers_words, "run", str(batch_file)]


def probe_arguments(binary: Path, network: NetworkSettings, series_aws_url: str) -> list[str]:
    """The arguments that ask for the objects of one series, once."""
    url = network.bucket_url(series_aws_url).removesuffix("*")
    return [*_global_arguments(binary, network), "--retry-count", "0", "ls", url]


def choose_workers(cores: int, descriptor_limit: int) -> int:
    """How many objects to fetch at once, within what the machine can hold open."""
    by_descriptors = (descriptor_limit - _DESCRIPTORS_ASIDE) // _DESCRIPTORS_PER_WORKER
    return max(1, min(_MOST_WORKERS, _WORKERS_PER_CORE * cores, by_descriptors))


def _global_arguments(binary: Path, network: NetworkSettings) -> list[str]:
    unsigned = [] if network.sign else ["--no-sign-request"]
    return [str(binary), "--json", *unsigned, "--endpoint-url", network.endpoint_url]
