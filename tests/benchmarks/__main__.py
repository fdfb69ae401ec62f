"""Measures ours against what a user would run instead: bin/bench [--full] [--json FILE] [SUITE...]."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

import dataset_dl as dd
from benchmarks import (
    adapt,
    again,
    checks,
    cluster,
    deliver,
    images,
    moves,
    pacs,
    page,
    plans,
    preview,
    rate,
    ready,
    stream,
    transfers,
)
from benchmarks.measure import HEADER, Row, as_json, line

_ROOM_BYTES = 12e9
_PEERS = Path(__file__).parents[2] / ".cache" / "peers" / "bin" / "python"


def main() -> None:
    """Run the suites that were named, or all, and print a row as soon as it is there."""
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="whole loads, the large cases, more repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures for a program, too")
    parser.add_argument(
        "--engine", choices=("both", *moves.ENGINES), default="both", help="what moves the bytes"
    )
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help="ready plan move far adapt stream again check preview images deliver pacs transfers page rate cluster",
    )
    chosen = parser.parse_args()
    engines = moves.ENGINES if chosen.engine == "both" else (chosen.engine,)
    scale, times = (1.0, 5) if chosen.full else (0.4, 3)
    scratch = Path(tempfile.mkdtemp(prefix="dataset-dl-bench-", dir=_quiet_place()))
    suites: dict[str, Callable[[], Iterator[Row]]] = {
        "ready": lambda: ready.rows(_PEERS, scratch, times=2 * times),
        "plan": lambda: plans.rows(_PEERS, scratch, times=times, full=chosen.full),
        "move": lambda: moves.near(scratch, _PEERS, scale=scale, times=times, engines=engines),
        "far": lambda: moves.distant(
            scratch, _PEERS, scale=scale, times=times, full=chosen.full, engines=engines
        ),
        "adapt": lambda: adapt.rows(scratch, times=times if chosen.full else 1),
        "stream": lambda: stream.rows(full=chosen.full),
        "again": lambda: again.rows(scratch, times=times, full=chosen.full),
        "check": lambda: checks.rows(scratch, times=times),
        "preview": lambda: preview.rows(scratch, _PEERS, times=times),
        "images": lambda: images.rows(scratch, times=times),
        "deliver": lambda: deliver.rows(scratch, times=times, full=chosen.full),
        "pacs": lambda: pacs.rows(scratch, _PEERS, times=times),
        "transfers": lambda: transfers.rows(scratch, times=times),
        "page": lambda: page.rows(scratch, full=chosen.full),
        "rate": lambda: rate.rows(scratch, engines=engines),
        "cluster": lambda: cluster.rows(scratch, _PEERS, times=times, full=chosen.full),
    }
    if unknown := set(chosen.suites) - suites.keys():
        parser.error(f"no suite is called {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    began = time.monotonic()
    machine = (
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB,"
        f" Python {platform.python_version()}, dataset_dl {dd.__version__}"
    )
    _say(f"{machine}\n\n{HEADER}")
    try:
        for name in chosen.suites or suites:
            for row in suites[name]():
                rows.append(row)
                _say(line(row))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _say(f"\n{sum(row.verdict == 'NOT met' for row in rows)} of {sum(bool(row.verdict) for row in rows)} targets"
        f" are not met; {time.monotonic() - began:.0f} s")  # fmt: skip
    if chosen.json:
        chosen.json.write_text(as_json(rows, {"machine": machine, "full": chosen.full}))


def _quiet_place() -> str | None:
    """Memory, where there is room for the largest load: a disk is busy with the run before for a while."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES else None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
