"""--max-rate: how near to what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.moves import ENGINES, Course, Load
from benchmarks.stores import serve

_ASKED_MBPS = 20.0


def rows(scratch: Path, *, engines: Sequence[str] = ENGINES) -> Iterator[Row]:
    """Ten seconds' worth of small objects and of large ones."""
    for name, sizes in (
        ("objects of 100 KB", [[100_000] * 100] * 20),
        ("objects of 20 MB", [[20_000_000]] * 10),
    ):
        root = scratch / name.replace(" ", "-")
        root.mkdir()
        course = Course(root, Load(name, sizes), Path())
        with serve(root / "store", root / "nginx") as store:
            for engine in engines:
                run = course.ours(store, max_rate_mbps=_ASKED_MBPS, engine=engine)
                reached = course.load.size_mb / run.seconds
                work = f"--max-rate 20, {name}, {engine}"
                yield Row(work, "MB a second", reached, _ASKED_MBPS, "asked", 1.1)
                yield Row(work, "MB a second", reached, _ASKED_MBPS, "asked", 0.9, True)
