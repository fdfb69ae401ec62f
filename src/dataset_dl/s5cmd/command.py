"""What s5cmd is told: its arguments, its file of commands, and how many workers it gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dataset_dl.manifest import copy_line
from dataset_dl.model import PlannedSeries
from dataset_dl.network import NetworkSettings

# s5cmd's own default; it never opens more than two connections a worker for files of one part.
_MOST_WORKERS = 256
_WORKERS_PER_CORE = 32
_DESCRIPTORS_PER_WORKER = 3
_DESCRIPTORS_ASIDE = 64


def batch_lines(series: Iterable[PlannedSeries], network: NetworkSettings) -> Iterator[str]:
    """One command a series: all its objects into its directory below the working directory."""
    for each in series:
        yield copy_line(network.bucket_url(each.series_aws_url), each.directory)


def run_arguments(binary: Path, network: NetworkSettings, workers: int, batch_file: Path) -> list[str]:
    """The arguments that run a file of commands."""
    return [*_global_arguments(binary, network), "--numworkers", str(workers), "run", str(batch_file)]


def probe_arguments(binary: Path, network: NetworkSettings, series_aws_url: str) -> list[str]:
    """The arguments that ask for the objects of one series, once."""
    url = network.bucket_url(series_aws_url).removesuffix("*")
    return [*_global_arguments(binary, network), "--retry-count", "0", "ls", url]


def choose_workers(cores: int, descriptor_limit: int) -> int:
    """How many objects to fetch at once, within what the machine can hold open."""
    by_descriptors = (descriptor_limit - _DESCRIPTORS_ASIDE) // _DESCRIPTORS_PER_WORKER
    return max(1, min(_MOST_WORKERS, _WORKERS_PER_CORE * cores, by_descriptors))


def _global_arguments(binary: Path, network: NetworkSettings) -> list[str]:
    return [str(binary), "--json", "--no-sign-request", "--endpoint-url", network.endpoint_url]
