"""The data set for training, without torch: its order, its disk, its ranks, and what a kill leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from dataset_dl.training.epoch import Epoch
from support import training
from support.many import many_series

COUNT = 12


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    with many_series(COUNT, tmp_path_factory.mktemp("many")) as served:
        yield served


@pytest.fixture
def orders(store: LocalBucket, tmp_path: Path) -> dict[str, Any]:
    """What `support.training` needs to know; the disk has room for three series."""
    return {
        "keys": [each.crdc_series_uuid for each in store.series],
        "into": str(tmp_path / "data"),
        "budget": 3 * max(each.expected_bytes for each in store.series),
        "endpoint": store.endpoint_url,
        "log": str(tmp_path / "log"),
        "expected": COUNT,
    }


def on_disk(orders: dict[str, Any]) -> int:
    """Bytes of the series, while some may just be going."""
    found = 0
    for directory, _, names in os.walk(orders["into"]):
        for name in names:
            try:
                found += (Path(directory) / name).stat().st_size if name.endswith(".dcm") else 0
            except OSError:
                continue
    return found


def test_samples_come_in_an_order_of_the_seed_and_the_disk_stays_small(orders: dict[str, Any]) -> None:
    data = training.dataset(orders)
    seen, most = [], 0
    try:
        for index in range(len(data)):
            seen.append(data[index]["key"])
            most = max(most, on_disk(orders))
        data.set_epoch(1)
        second = [data[index]["key"] for index in range(len(data))]
    finally:
        data.close()
    assert sorted(seen) == sorted(second) == sorted(orders["keys"])
    assert seen != second
    assert most <= orders["budget"]
    again = training.dataset({**orders, "into": f"{orders['into']}-2", "budget": None})
    try:
        assert [again[index]["key"] for index in range(len(again))] == seen
    finally:
        again.close()
    assert on_disk({"into": f"{orders['into']}-2"}) > orders["budget"]


def test_a_sample_that_was_used_comes_again(orders: dict[str, Any]) -> None:
    data = training.dataset(orders)
    try:
        first = [data[index]["key"] for index in range(len(data))]
        assert [data[index]["key"] for index in (0, 5, 0)] == [first[0], first[5], first[0]]
    finally:
        data.close()


def rank(orders: dict[str, Any], number: int = 0, ranks: int = 1) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "ORDERS": json.dumps(orders), "RANK": str(number), "WORLD_SIZE": str(ranks),
        "PYTHONPATH": str(Path(training.__file__).parents[1]),
    }  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "support.training"], env=environment)


def log(orders: dict[str, Any]) -> Counter[str]:
    path = Path(orders["log"])
    return Counter(path.read_text().split()) if path.exists() else Counter()


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_ranks_share_what_is_fed(orders: dict[str, Any], start: str) -> None:
    ranks = [rank({**orders, "start": start}, number, 2) for number in range(2)]
    assert [each.wait(timeout=90) for each in ranks] == [0, 0]
    assert log(orders) == Counter(orders["keys"])


def test_killed_in_the_middle_it_goes_on_where_it_was(orders: dict[str, Any]) -> None:
    chance = random.Random(3)
    orders["step_seconds"] = 0.1
    for _ in range(3):
        child = rank(orders)
        before = log(orders).total()
        deadline = time.monotonic() + 60
        while log(orders).total() < min(COUNT - 2, before + 2) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
        child.wait()
        _wait_for_the_rest()
    assert log(orders).total() < COUNT
    assert rank(orders).wait(timeout=90) == 0
    counts = log(orders)
    assert set(counts) == set(orders["keys"])
    # A kill between a step and the next one repeats that step; nothing else is repeated.
    assert counts.total() <= COUNT + 3
    (epoch,) = (Path(orders["into"]) / ".dataset-dl" / "training").glob("epoch-*")
    assert Epoch(epoch).done() == set(range(COUNT))


def _wait_for_the_rest() -> None:
    """Wait until the processes of a killed rank are gone; they end by themselves."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        words = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
        if not any("dataset_dl.training.feeder" in each for each in words):
            return
        time.sleep(0.05)
    raise AssertionError("a process that feeds has outlived its parent")


def test_a_series_that_fails_is_an_error_or_is_skipped(
    orders: dict[str, Any], store: LocalBucket, tmp_path: Path
) -> None:
    keys = [*orders["keys"][:3]]
    with LocalBucket(keys, directory=tmp_path / "damaged") as damaged:
        next(damaged.series_directory(damaged.series[1]).glob("*.dcm")).unlink()
        broken = damaged.series[1].crdc_series_uuid
        few = {**orders, "keys": keys, "endpoint": damaged.endpoint_url}
        data = training.dataset({**few, "on_failure": "skip"})
        try:
            samples = [data[index] for index in range(3)]
            assert {each["key"] for each in samples if each is not None} == set(keys) - {broken}
            assert samples.count(None) == 1
            (message,) = data.failures().values()
            assert "not_found" in message
        finally:
            data.close()
        strict = training.dataset({**few, "into": f"{few['into']}-strict"})
        try:
            with pytest.raises(dd.TransferError, match="cannot be had: not_found"):
                [strict[index] for index in range(3)]
        finally:
            strict.close()


def test_without_its_feeder_it_says_so(orders: dict[str, Any]) -> None:
    data = training.dataset(orders)
    try:
        assert data._feeder is not None
        psutil.Process(data._feeder.pid).kill()
        with pytest.raises(dd.TransferError, match="has ended"):
            [data[index] for index in range(COUNT)]
    finally:
        data.close()


def test_a_budget_smaller_than_a_series_is_refused(orders: dict[str, Any]) -> None:
    with pytest.raises(dd.PlanError, match="smaller than the largest series"):
        training.dataset({**orders, "budget": 1000})


def test_done_rows_outlive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    epoch = Epoch(tmp_path)
    epoch.add_done(0, [1, 2])
    epoch.add_done(1, [3])
    with (tmp_path / "done.0").open("a") as file:
        file.write("44")
    assert epoch.done() == {1, 2, 3}
    epoch.add_done(0, [5])
    assert epoch.done() == {1, 2, 3, 5}


def test_another_order_than_that_of_the_epoch_is_refused(orders: dict[str, Any]) -> None:
    data = training.dataset(orders)
    try:
        with pytest.raises(dd.TransferError, match="does not ask in the order of the epoch"):
            data[COUNT - 1]
    finally:
        data.close()


def test_what_others_have_downloaded_is_not_removed(orders: dict[str, Any]) -> None:
    dd.download(orders["keys"], orders["into"], endpoint_url=orders["endpoint"], progress="none")
    before = on_disk(orders)
    data = training.dataset(orders)
    try:
        with pytest.raises(dd.TransferError, match="has series of another download"):
            for index in range(COUNT):
                assert data[index]
    finally:
        data.close()
    assert on_disk(orders) == before


def test_an_epoch_has_to_begin(orders: dict[str, Any]) -> None:
    data = training.dataset(orders, rank=1, world_size=2)
    with pytest.raises(dd.PlanError, match="No epoch has begun"):
        len(data)
