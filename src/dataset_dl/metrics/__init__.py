"""Wing: a download as metrics for Prometheus. Installed by ``pip install "dataset-dl[metrics]"``."""

from __future__ import annotations

from collections.abc import Iterable

from dataset_dl.doors import Extension
from dataset_dl.observers import Observer


def _observers(value: str) -> Iterable[Observer]:
    from dataset_dl.metrics.observer import Metrics

    return [Metrics(value)]


METRICS = Extension(
    "--metrics",
    help="Metrics for Prometheus: on this port of this machine, or in a file for a textfile collector.",
    metavar="PORT|FILE.prom",
    observers=_observers,
)
