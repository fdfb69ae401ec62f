"""A storm of sends: thousands of instances to a real archive while every core is busy with something else.

It is over when the program says that it is done; then the archive must have each instance, the ledger an answer
for each, and nothing may have been called failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.cli import PROGRAM
from support.namespace import namespace
from support.orthanc import Orthanc
from support.patients import write_series

_SERIES_INSTANCES = 250
_LOADS_A_CORE = 2


class Lost(Exception):
    """A promise that was not kept."""


@contextmanager
def load() -> Iterator[None]:
    """Keep every core busy, so that threads and processes are interrupted at any place."""
    count = _LOADS_A_CORE * (os.cpu_count() or 1)
    several = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in several:
            each.kill()
            each.wait()


def storm(instances: int, say: Callable[[str], object], *, at_once: int = 4) -> None:
    """Send so many instances under load; raise `Lost` if one is."""
    root = Path(tempfile.mkdtemp(prefix="dataset-dl-storm-"))
    try:
        expected = set()
        for number in range(1, (instances + _SERIES_INSTANCES - 1) // _SERIES_INSTANCES + 1):
            count = min(_SERIES_INSTANCES, instances - len(expected))
            series = f"1.2.826.0.1.3680043.8.498.{number}"
            write_series(root / "files" / str(number), f"P{number}", f"{series}.0", series, count, pixels=64)
            expected |= {f"{series}.{each}" for each in range(1, count + 1)}
        with namespace(), Orthanc(root / "archive", "STORM") as archive, load():
            nodes = root / "nodes.json"
            nodes.write_text(json.dumps([{"name": "STORM", "dimse": archive.dimse, "at_once": at_once}]))
            environment = {
                **os.environ, "DATASET_DL_NODES": str(nodes), "DATASET_DL_STATE": str(root / "state"),
            }  # fmt: skip
            began = time.monotonic()
            done = subprocess.run(
                [PROGRAM, "pacs", "upload", root / "files", "--to", "STORM"],
                env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - began
            status = subprocess.run(
                [PROGRAM, "pacs", "status", "--all", "--format", "json"],
                env=environment, capture_output=True, text=True, check=True,
            )  # fmt: skip
            there = archive.instances
        states = [row["state"] for row in json.loads(status.stdout)]
        if done.returncode != 0:
            raise Lost(f"it ended with {done.returncode}: {done.stderr[-1000:]}")
        if there != expected:
            raise Lost(f"{len(expected - there):,} of {len(expected):,} instances are not there")
        if len(states) != len(expected) or set(states) != {"stored"}:
            raise Lost(f"{len(states):,} answers, of which {states.count('stored'):,} say stored")
        say(f"{len(there):,} instances in {seconds:.0f} s under load, each there, each with an answer")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/storm pacs", description=__doc__)
    parser.add_argument("instances", nargs="?", type=int, default=20_000)
    chosen = parser.parse_args()
    try:
        storm(chosen.instances, print)
    except Lost as error:
        sys.exit(f"storm: {error}")


if __name__ == "__main__":
    main()
