"""Real s5cmd against a server that misbehaves: what the report says, and what the next run makes of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.events import EngineEnded, Event, FileCompleted, Finished, RetryStarted
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM
from support.faults import FaultServer, serve


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> LocalBucket:
    bucket = LocalBucket("qin_pet_phantom", max_series=3, directory=tmp_path_factory.mktemp("faults"))
    bucket.fill()
    return bucket


@pytest.fixture
def server(filled: LocalBucket) -> Iterator[FaultServer]:
    with serve(filled.root) as running:
        yield running


@pytest.fixture
def plan(filled: LocalBucket, tmp_path: Path) -> dd.Plan:
    return dd.plan([each.crdc_series_uuid for each in filled.series], into=tmp_path / "to")


def key_of(bucket: LocalBucket, number: int) -> str:
    return min(bucket.series_directory(bucket.series[number]).iterdir()).name


def is_complete(bucket: LocalBucket, plan: dd.Plan, target: Path) -> bool:
    wanted = {
        target / row.directory / file.name: file.read_bytes()
        for row in plan
        for file in bucket.series_directory(row).iterdir()
    }
    found = {
        path: path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and ".dataset-dl" not in path.parts
    }
    return found == wanted


def run(plan: dd.Plan, server: FaultServer, **options: object) -> tuple[list[Event], dd.Report]:
    events = list(dd.download_events(plan, endpoint_url=server.endpoint_url, **options))  # type: ignore[arg-type]
    assert isinstance(events[-1], Finished)
    return events, events[-1].report


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("404", "not_found"),
        ("403", "access_denied"),
        ("cut", "truncated"),
        ("html", "truncated"),
        ("future", "not_found"),
    ],
)
def test_a_fault_is_told_and_the_next_run_mends_it(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, fault: str, cause: str
) -> None:
    server.faults[key_of(filled, 1)] = fault
    _, report = run(plan, server, retries=0)
    assert [(each.planned.crdc_series_uuid, each.cause) for each in report.failures] == [
        (filled.series[1].crdc_series_uuid, cause)
    ]
    assert report.complete_series == 2
    server.faults.clear()
    server.gets.clear()
    _, report = run(plan, server)
    assert report.ok
    assert report.fetched_series == 1
    assert all(key.startswith(filled.series[1].crdc_series_uuid) for key in server.gets)
    assert is_complete(filled, plan, tmp_path / "to")


def test_a_server_that_fails_now_and_then_is_asked_again(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    for number in range(3):
        server.faults[key_of(filled, number)] = "503 once"
    _, report = run(plan, server)
    assert report.ok
    assert is_complete(filled, plan, tmp_path / "to")


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan
) -> None:
    server.faults[key_of(filled, 0)] = "html"
    server.faults[key_of(filled, 1)] = "404"
    events, report = run(plan, server, retries=1)
    assert [event.series_count for event in events if isinstance(event, RetryStarted)] == [1]
    assert server.gets[f"{filled.series[0].crdc_series_uuid}/{key_of(filled, 0)}"] == 2
    assert server.gets[f"{filled.series[1].crdc_series_uuid}/{key_of(filled, 1)}"] == 1
    assert len(report.failures) == 2


def test_a_server_that_falls_silent_is_left_and_asked_anew(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    server.faults[key_of(filled, 2)] = "hang"
    events = []
    for event in dd.download_events(plan, endpoint_url=server.endpoint_url, stall_timeout_seconds=1):
        events.append(event)
        if isinstance(event, EngineEnded):
            assert event.stalled
            server.faults.clear()
    assert sum(isinstance(event, EngineEnded) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].report.ok
    assert is_complete(filled, plan, tmp_path / "to")


def test_a_server_that_stays_silent_is_given_up(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    server.faults[key_of(filled, 2)] = "hang"
    began = time.monotonic()
    with pytest.raises(dd.ConnectionTimeout, match="3 times in a row") as caught:
        run(plan, server, stall_timeout_seconds=1)
    assert caught.value.exit_code == 4
    assert time.monotonic() - began < 60
    assert not list((tmp_path / "to").rglob("*.dcm?*"))
    server.faults.clear()
    assert run(plan, server)[1].ok


def test_a_slow_consumer_is_no_stall(filled: LocalBucket, server: FaultServer, plan: dd.Plan) -> None:
    for series in dd.stream(plan, endpoint_url=server.endpoint_url, workers=1, stall_timeout_seconds=0.5):
        assert series.paths
        time.sleep(1)


def test_a_killed_s5cmd_is_survived(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    ended = []
    for event in dd.download_events(plan, endpoint_url=server.endpoint_url, workers=1):
        if isinstance(event, FileCompleted) and not ended:
            for child in psutil.Process().children():
                if child.name() == "s5cmd":
                    child.kill()
        if isinstance(event, EngineEnded):
            ended.append(event)
    assert len(ended) == 1
    assert "signal 9" in ended[0].message
    assert is_complete(filled, plan, tmp_path / "to")


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_too_few_descriptors_are_survived_with_fewer_workers(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    plan.save(tmp_path / "plan.parquet")
    command = [
        PROGRAM,
        "idc",
        "download",
        tmp_path / "plan.parquet",
        "--to",
        tmp_path / "to",
        "--workers",
        "200",
    ]
    done = subprocess.run(
        ["prlimit", "--nofile=60:60", *command, "--endpoint-url", server.endpoint_url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "it gets 50 workers" in done.stderr
    assert is_complete(filled, plan, tmp_path / "to")
