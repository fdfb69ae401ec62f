"""Stores that lie about amounts, and destinations that change under the download: it ends, and says what it is."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.errors import StorageError
from dataset_dl.model.events import EngineEnded, Event, FileCompleted, Finished
from dataset_dl.testing import LocalBucket
from support.children import running
from support.faults import FaultServer


@pytest.fixture
def plan(saved: Path, tmp_path: Path) -> dd.Plan:
    return dd.plan(saved, into=tmp_path / "to")


def run(plan: dd.Plan, server: FaultServer, **options: object) -> tuple[list[Event], dd.Report]:
    events = list(dd.download_events(plan, endpoint_url=server.endpoint_url, **options))  # type: ignore[arg-type]
    assert isinstance(events[-1], Finished)
    return events, events[-1].report


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.dcm?*") if ".dataset-dl" not in path.parts]


@pytest.mark.parametrize("which", [[0], [0, 1, 2]])
def test_a_list_that_repeats_itself_ends_with_the_last_series(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str, which: list[int]
) -> None:
    server.endless = {filled.series[number].crdc_series_uuid: "same" for number in which}
    _, report = run(plan, server)
    assert report.ok
    assert not running(engine)
    assert leftovers(tmp_path / "to") == []
    assert dd.verify(tmp_path / "to").ok


def test_a_list_of_ever_new_names_ends_its_series_alone(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str
) -> None:
    liar = filled.series[1]
    server.endless = {liar.crdc_series_uuid: "new"}
    _, report = run(plan, server)
    # It may have been complete before the first of the new names came.
    assert {(each.planned.crdc_series_uuid, each.cause) for each in report.failures} <= {
        (liar.crdc_series_uuid, "excess")
    }
    assert report.complete_series >= 2
    assert dd.verify(tmp_path / "to").ok == report.ok
    assert not running(engine)
    assert leftovers(tmp_path / "to") == []
    (row,) = [each for each in plan if each.crdc_series_uuid == liar.crdc_series_uuid]
    assert len(list((tmp_path / "to" / row.directory).glob("*.dcm"))) <= liar.instanceCount
    server.endless = {}
    assert run(plan, server)[1].ok


def test_an_object_without_end_does_not_fill_the_disk(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str
) -> None:
    liar = filled.series[2]
    server.faults = {min(filled.series_directory(liar).iterdir()).name: "flood"}
    _, report = run(plan, server)
    assert [(each.planned.crdc_series_uuid, each.cause) for each in report.failures] == [
        (liar.crdc_series_uuid, "excess")
    ]
    assert report.complete_series == 2
    assert leftovers(tmp_path / "to") == []
    server.faults = {}
    assert run(plan, server)[1].ok


def test_an_object_without_end_costs_nothing_complete_in_a_shared_directory(
    filled: LocalBucket, server: FaultServer, tmp_path: Path, engine: str
) -> None:
    plan = dd.plan([each.key for each in filled.series], into=tmp_path / "to", layout=".")
    liar = filled.series[2]
    server.faults = {min(filled.series_directory(liar).iterdir()).name: "flood"}
    _, report = run(plan, server, workers=1)
    assert not report.ok
    # Files of the liar that came just before the end stay, too: nobody knows whose they are.
    assert len(list((tmp_path / "to").glob("*.dcm"))) >= report.complete_instances > 0
    server.faults = {}
    assert run(plan, server)[1].ok


def test_a_byte_now_and_then_is_no_sign_of_life(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan
) -> None:
    name = min(filled.series_directory(filled.series[0]).iterdir()).name
    server.faults = {name: "drip"}
    events: list[Event] = []
    for event in dd.download_events(plan, endpoint_url=server.endpoint_url, stall_timeout_seconds=2):
        events.append(event)
        if isinstance(event, EngineEnded):
            server.faults = {}
    (ended,) = [event for event in events if isinstance(event, EngineEnded)]
    assert ended.stalled
    assert isinstance(events[-1], Finished)
    assert events[-1].report.ok


def replace_by_link(directory: Path, to: Path) -> None:
    for attempt in itertools.count():
        directory.rename(directory.with_name(f"moved {attempt}"))
        with suppress(FileExistsError):  # s5cmd may have created it again in between
            directory.symlink_to(to)
            return


def test_a_directory_that_becomes_a_link_ends_the_download_at_once(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    server.faults = dict.fromkeys([".dcm"], "slow")
    swapped = threading.Event()
    with pytest.raises(StorageError, match="symbolic link") as caught:
        for event in dd.download_events(plan, endpoint_url=server.endpoint_url, workers=1):
            if isinstance(event, FileCompleted) and not swapped.is_set():
                directory = (tmp_path / "to" / event.path).parent
                replace_by_link(directory, outside)
                swapped.set()
                time.sleep(0.2)
    assert str(outside) in caught.value.message
    assert not running(engine)
    series = max(each.instanceCount for each in filled.series)
    assert len(list(outside.iterdir())) < series / 2
