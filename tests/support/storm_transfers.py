"""A storm of transfers: a job of thousands of instances, two workers, pauses, and a worker that is killed.

Afterwards the target must have got each instance once; of those that were on their way when the worker was
killed, one for each of its associations may have come twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

from dataset_dl.pacs.transfers.nouns import ENDED, Wanted
from dataset_dl.pacs.transfers.steering import Steering
from dataset_dl.pacs.transfers.store import Store
from support.cli import PROGRAM
from support.namespace import namespace
from support.orthanc import Orthanc
from support.patients import write_series
from support.peers import Scp, scp
from support.postgres import postgres
from support.storm_pacs import Lost

_OF_STUDY, _AT_ONCE, _PAUSES = 50, 2, 3


def storm(instances: int, say: Callable[[str], object], *, seed: int = 0) -> None:
    """Transfer so many instances; raise `Lost` if one is missing, or came twice."""
    root = Path(tempfile.mkdtemp(prefix="dataset-dl-storm-"))
    try:
        with namespace(), Orthanc(root / "ward", "WARD") as ward, scp() as target, postgres() as address:
            tasks = _filled(ward, root / "files", instances)
            nodes = [{"name": "WARD", "dimse": ward.dimse}, {"name": "TARGET", "dimse": target.address}]
            (root / "nodes.json").write_text(json.dumps(nodes))
            environment = {
                **os.environ, "DATASET_DL_NODES": str(root / "nodes.json"), "DATASET_DL_QUEUE": address,
                "DATASET_DL_STATE": str(root / "state"),
            }  # fmt: skip
            _run(tasks, target, address, environment, instances, say, random.Random(seed))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _filled(ward: Orthanc, place: Path, instances: int) -> list[Wanted]:
    """Fill an archive; return a task for each study."""
    tasks = []
    for number in range((instances + _OF_STUDY - 1) // _OF_STUDY):
        study, count = f"1.7.{number}", min(_OF_STUDY, instances - number * _OF_STUDY)
        for path in write_series(place, f"P{number}", study, f"{study}.1", count):
            requests.post(f"{ward.url}/instances", data=path.read_bytes(), timeout=30).raise_for_status()
        tasks.append(Wanted("WARD", "TARGET", f"P{number}", study))
    return tasks


def _run(
    tasks: list[Wanted], target: Scp, address: str, environment: dict[str, str], instances: int,
    say: Callable[[str], object], chance: random.Random,
) -> None:  # fmt: skip
    store = Store(address)
    steering = Steering(store, "storm")
    job = store.create("batch", tasks, owner="storm")
    began = time.monotonic()
    steering.act(job.id, "start")
    workers = [_worker(environment) for _ in range(2)]
    try:
        for number in range(1, _PAUSES + 1):
            _wait(lambda number=number: target.counts.total() >= instances * number // (_PAUSES + 2))
            if number == 2:
                victim = workers.pop(chance.randrange(2))
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                workers.append(_worker(environment))
                continue
            steering.act(job.id, "pause")
            _wait(lambda: store.job(job.id).state == "PAUSED")
            steering.act(job.id, "resume")
        _wait(lambda: store.job(job.id).state in ENDED)
    finally:
        for each in workers:
            each.terminate()
            each.wait(60)
    seconds, ended = time.monotonic() - began, store.job(job.id)
    store.close()
    twice = sum(count - 1 for count in target.counts.values())
    if ended.state != "SUCCESS":
        raise Lost(f"the job is {ended.state}: {ended.message}")
    if len(target.counts) != instances:
        raise Lost(f"{instances - len(target.counts):,} of {instances:,} instances have not come")
    if twice > 2 * _AT_ONCE:
        raise Lost(f"{twice:,} instances came twice")
    say(
        f"{instances:,} instances of {len(tasks):,} tasks by two workers in {seconds:.0f} s, paused"
        f" {_PAUSES - 1} times, one worker killed: each came, {twice} twice"
    )


def _worker(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [PROGRAM, "pacs", "jobs", "run", "--stay", "--at-once", str(_AT_ONCE)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait(is_so: Callable[[], bool], seconds: float = 900.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise Lost("it does not go on")
        time.sleep(0.05)


def main() -> None:
    """Run a storm."""
    parser = argparse.ArgumentParser(prog="bin/storm transfers", description=__doc__)
    parser.add_argument("instances", nargs="?", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    try:
        storm(chosen.instances, lambda words: sys.stdout.write(f"{words}\n"), seed=chosen.seed)
    except Lost as error:
        sys.exit(f"lost: {error}")


if __name__ == "__main__":
    main()
