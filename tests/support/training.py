"""What the tests of training run in processes of their own."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import dataset_dl as dd
from dataset_dl.training import SeriesDataset


def load(series: dd.Series) -> dict[str, Any]:
    """A sample that needs no decoder."""
    size = sum(len(path.read_bytes()) for path in series.paths)
    assert size == series.planned.size_bytes
    return {"key": series.planned.key, "bytes": size}


def dataset(orders: dict[str, Any], rank: int = 0, world_size: int = 1) -> SeriesDataset:
    """The data set that a test describes."""
    plan = dd.plan(orders["keys"])
    made = SeriesDataset(
        plan, orders["into"], load=load, disk_budget=orders["budget"], endpoint_url=orders["endpoint"],
        rank=rank, world_size=world_size, timeout_seconds=60, seed=orders.get("seed", 0),
        on_failure=orders.get("on_failure", "error"), retries=0,
    )  # fmt: skip
    if world_size == 1:
        made.set_epoch(orders.get("epoch", 0))
    return made


def note(path: Path, keys: list[str]) -> None:
    """Add keys to a file, whole lines at a time."""
    with path.open("a") as file:
        file.write("".join(f"{key}\n" for key in keys))


def load_one(arguments: tuple[SeriesDataset, int]) -> Any:
    """Load a sample, as a worker of a loader does."""
    data, index = arguments
    return data[index]


def train(orders: dict[str, Any], rank: int = 0, world_size: int = 1) -> None:
    """Train for an epoch with two loader processes, and note each key when its step is over."""
    data = dataset(orders, rank, world_size)
    if world_size > 1:
        data.set_epoch(orders.get("epoch", 0))
    mine = range(rank, len(data), world_size)
    try:
        with multiprocessing.get_context(orders.get("start", "spawn")).Pool(2) as pool:
            samples = pool.imap(load_one, [(data, index) for index in mine])
            for sample in data.track(samples):
                time.sleep(orders.get("step_seconds", 0.0))
                note(Path(orders["log"]), [sample["key"]])
    finally:
        if rank == 0:
            wait_for_others(orders, world_size)
        data.close()


def wait_for_others(orders: dict[str, Any], world_size: int) -> None:
    """Keep the process that feeds until all ranks are through."""
    deadline = time.monotonic() + 30
    while world_size > 1 and time.monotonic() < deadline:
        log = Path(orders["log"])
        if log.exists() and len(log.read_text().split()) >= orders["expected"]:
            return
        time.sleep(0.05)


def main() -> None:
    """Run a rank by the orders in the environment."""
    orders = json.loads(os.environ["ORDERS"])
    train(orders, int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


if __name__ == "__main__":
    main()
