"""Consumers that put series in groups: one after the other, and completed when all have been taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import dataset_dl as dd
from dataset_dl.destination import paths
from dataset_dl.destination.consumers import Group
from dataset_dl.destination.records import Records
from dataset_dl.plans.file import PlanFile
from dataset_dl.transfer.courier import Courier
from support.plans import row

SERIES = 6


class Sessions:
    """Takes series of three studies, and remembers what it was asked."""

    name = "sessions"
    threads = 3

    def __init__(self) -> None:
        self.options: dict[str, str] = {}
        self.taken: list[str] = []
        self.completed: list[Group] = []
        self.at_work: list[str] = []
        self.most_at_once = 0
        self.fails: set[str] = set()
        self.stops_after_first_step = False
        self._lock = threading.Lock()

    def group(self, planned: dd.PlannedSeries) -> str:
        return str(planned.StudyInstanceUID)

    def take(self, series: dd.Series) -> dict[str, str]:
        study = self.group(series.planned)
        with self._lock:
            assert study not in self.at_work
            self.at_work.append(study)
            self.most_at_once = max(self.most_at_once, len(self.at_work))
        time.sleep(0.05)
        with self._lock:
            self.at_work.remove(study)
        if series.planned.key in self.fails:
            raise ValueError("it will not go in")
        self.taken.append(series.planned.key)
        return {"of": study}

    def complete(self, group: Group) -> Iterator[Mapping[str, Any]]:
        assert not [each for each in self.at_work if each == group.name]
        yield {"state": "begun"}
        if self.stops_after_first_step:
            raise ValueError("broken off")
        self.completed.append(group)
        yield {"state": "final"}

    def confirms(self, key: str, made: Mapping[str, Any]) -> bool:
        return not key.startswith("group:") or made["state"] == "final"


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return made(tmp_path / "data", SERIES)


def made(target: Path, count: int) -> Path:
    """So many series of three studies, as a download leaves them."""
    rows = []
    for number in range(count):
        each = row(number)._replace(StudyInstanceUID=f"1.{number % 3}")
        (target / each.key).mkdir(parents=True, exist_ok=True)
        (target / each.key / "0.dcm").write_bytes(b"x" * 10)
        rows.append(each._replace(directory=each.key, instanceCount=1, size_bytes=10))
    paths.prepare(target)
    with Records(target) as records:
        records.keep(PlanFile.of(rows).plan(target))
    return target


def test_series_of_a_group_go_one_by_one_and_it_is_completed_once(destination: Path) -> None:
    consumer = Sessions()
    delivery = dd.deliver(destination, to=consumer)
    assert (delivery.delivered, delivery.failures) == (SERIES, ())
    assert 1 < consumer.most_at_once <= 3
    assert sorted(each.name for each in consumer.completed) == ["1.0", "1.1", "1.2"]
    assert all(made == {"of": each.name} for each in consumer.completed for made in each.made.values())
    assert sum(len(each.made) for each in consumer.completed) == SERIES
    again = Sessions()
    assert dd.deliver(destination, to=again).delivered_before == SERIES
    assert (again.taken, again.completed) == ([], [])


def test_a_group_that_lacks_a_series_is_not_completed(destination: Path) -> None:
    consumer = Sessions()
    consumer.fails = {row(4).key}
    delivery = dd.deliver(destination, to=consumer, check=False)
    assert [each.key for each in delivery.failures] == [row(4).key]
    assert sorted(each.name for each in consumer.completed) == ["1.0", "1.2"]
    again = Sessions()
    assert dd.deliver(destination, to=again).delivered == 1
    assert [each.name for each in again.completed] == ["1.1"]


def test_a_group_that_was_not_completed_is_tried_again(destination: Path) -> None:
    consumer = Sessions()
    consumer.stops_after_first_step = True
    with pytest.raises(dd.DeliveryIncomplete, match=r"group:1\.[012], broken off"):
        dd.deliver(destination, to=consumer)
    again = Sessions()
    assert dd.deliver(destination, to=again).delivered_before == SERIES
    assert (again.taken, len(again.completed)) == ([], 3)


def test_a_group_that_grows_is_completed_again(destination: Path) -> None:
    dd.deliver(destination, to=Sessions())
    made(destination, SERIES + 1)
    again = Sessions()
    assert dd.deliver(destination, to=again).delivered == 1
    assert [(each.name, len(each.made)) for each in again.completed] == [("1.0", 3)]


def test_series_may_go_before_their_group_is_completed(destination: Path) -> None:
    consumer = Sessions()
    consumer.fails = {row(4).key}
    delivery = dd.deliver(destination, to=consumer, evict=True, check=False)
    assert delivery.evicted_series == SERIES - 1
    again = Sessions()
    assert dd.deliver(destination, to=again, evict=True).evicted_series == SERIES
    assert [(each.name, len(each.made)) for each in again.completed] == [("1.1", 2)]


def test_killed_after_the_last_series_it_still_completes(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The process ends between the receipt of a group's last series and the group.
    with monkeypatch.context() as patched:
        patched.setattr(Courier, "_count_in_group", lambda self, hand, series: None)
        assert dd.deliver(destination, to=Sessions()).delivered == SERIES
    again = Sessions()
    dd.deliver(destination, to=again)
    assert (again.taken, len(again.completed)) == ([], 3)
