"""How many connections curl uses: what the number that it finds brings, and the best fixed one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.moves import WORKERS, Course, loads
from benchmarks.stores import Store, far, serve
from dataset_dl.engines.curl.engine import CurlEngine
from dataset_dl.model.events import BytesWritten, EngineStarted, FileCompleted
from dataset_dl.model.series import Fetch
from dataset_dl.network import NetworkSettings
from support.corporate import Authority

_DISTANCES_SECONDS = (0.0, 0.01, 0.04)
_SETTLED_SECONDS, _MEASURED_SECONDS = 10.0, 6.0


def rows(scratch: Path, *, times: int) -> Iterator[Row]:
    """Small objects and CT slices over TLS, at three distances; the rate after ten seconds."""
    authority = Authority.make(scratch / "authority", "benchmark")
    for number, load in enumerate(loads(1.0)[:2]):
        root = scratch / f"adapt-{number}"
        root.mkdir()
        course = Course(root, load, Path())
        with serve(root / "store", root / "tls", authority) as near:
            for seconds in _DISTANCES_SECONDS:
                with far(near, seconds) if seconds else nullcontext(near) as store:
                    yield from _compare(course, store, f"{load.name}, TLS, {seconds * 1000:.0f} ms", times)


def _compare(course: Course, store: Store, name: str, times: int) -> Iterator[Row]:
    numbers = (None, *WORKERS)
    rates = [[_rate(course, store, number) for number in numbers] for _ in range(times)]
    found, *fixed = (statistics.median(each) for each in zip(*rates, strict=True))
    best = max(range(len(fixed)), key=lambda index: fixed[index])
    peer = f"the best fixed number, {WORKERS[best]}"
    yield Row(name, "MB a second after 10 s", found, fixed[best], peer, 0.9, True)


def _rate(course: Course, store: Store, connections: int | None) -> float:
    """Fetch the series again and again, and remove each file at once; MB a second."""
    network = NetworkSettings(
        endpoint_url=store.endpoint_url, ca_bundles=(store.environment["AWS_CA_BUNDLE"],)
    )
    engine = CurlEngine(network, connections)
    engine.probe(course.rows[0].address)
    to = course.fresh()
    fetches = (
        Fetch(each._replace(directory=f"{turn}/{each.directory}"))
        for turn in range(1000)
        for each in course.rows
    )
    events = engine.run(fetches, to)
    began, samples = 0.0, []
    for event in events:
        if isinstance(event, EngineStarted):
            began = time.monotonic()
        elif isinstance(event, FileCompleted):
            (to / event.path).unlink()
        elif isinstance(event, BytesWritten):
            seconds = time.monotonic() - began
            if seconds >= _SETTLED_SECONDS:
                samples.append((seconds, event.size_bytes))
            if seconds >= _SETTLED_SECONDS + _MEASURED_SECONDS:
                break
    events.close()  # type: ignore[attr-defined]
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    return (last - first) / (last_at - first_at) / 1e6
