"""Real engines against a server that misbehaves: what the report says, and what the next run makes of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.model.events import (
    CommandFailed,
    EngineEnded,
    Event,
    FileCompleted,
    Finished,
    RetryStarted,
)
from dataset_dl.testing import LocalBucket
from support.children import running
from support.cli import PROGRAM, Cli
from support.faults import FaultServer
from support.plans import plan_of, row


@pytest.fixture
def plan(saved: Path, tmp_path: Path) -> dd.Plan:
    return dd.plan(saved, into=tmp_path / "to")


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
    ("fault", "cause", "may_pass"),
    [
        ("404", "not_found", False),
        ("403", "access_denied", False),
        ("cut", "truncated", True),
        ("html", "truncated", True),
    ],
)
def test_a_fault_is_told_and_the_next_run_mends_it(
    filled: LocalBucket,
    server: FaultServer,
    plan: dd.Plan,
    tmp_path: Path,
    engine: str,
    fault: str,
    cause: str,
    may_pass: bool,
) -> None:
    wrong = f"{filled.series[1].crdc_series_uuid}/{key_of(filled, 1)}"
    server.faults[wrong] = fault
    plan.save(tmp_path / "plan.parquet")
    command = ["idc", "download", tmp_path / "plan.parquet", "--to", tmp_path / "to", "--retries", "0"]
    outcome = Cli(tmp_path)(*command, "--endpoint-url", server.endpoint_url, "--json")
    assert outcome.code == 3
    report = outcome.events[-1]
    assert (report["complete_series"], report["ok"]) == (2, False)
    (failure,) = report["failures"]
    assert failure["crdc_series_uuid"] == filled.series[1].crdc_series_uuid
    assert (failure["cause"], failure["may_pass"]) == (cause, may_pass)
    # The file that was wrong is not there under its name, and the others are right.
    row = next(each for each in plan if each.crdc_series_uuid == failure["crdc_series_uuid"])
    assert not (tmp_path / "to" / row.directory / key_of(filled, 1)).exists()
    assert failure["present_instances"] == row.instanceCount - 1
    server.faults.clear()
    server.gets.clear()
    failed = Cli(tmp_path)(
        "idc", "download", "to/.dataset-dl/failed.csv", "--to", "to", "--endpoint-url", server.endpoint_url
    )
    assert failed.code == 0, failed.err
    assert set(server.gets) == {wrong}
    assert is_complete(filled, plan, tmp_path / "to")
    assert dd.verify(tmp_path / "to", deep=True).ok


def test_s5cmd_ignores_objects_of_the_future(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    server.faults[key_of(filled, 1)] = "future"
    _, report = run(plan, server, retries=0)
    (failure,) = report.failures
    assert (failure.cause, failure.may_pass) == ("not_found", False)
    assert run(plan, server, engine="curl")[1].ok


@pytest.mark.parametrize("fault", ["503", "500", "close"])
def test_a_server_that_fails_each_fifth_time_costs_nothing(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str, fault: str
) -> None:
    server.each_nth = (5, fault)
    assert run(plan, server)[1].ok
    assert is_complete(filled, plan, tmp_path / "to")


def test_a_server_that_fails_now_and_then_is_asked_again(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str
) -> None:
    for number in range(3):
        server.faults[key_of(filled, number)] = "503 once"
    _, report = run(plan, server)
    assert report.ok
    assert is_complete(filled, plan, tmp_path / "to")


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, engine: str
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


def test_a_silent_connection_is_left_and_its_object_asked_anew(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    server.faults[key_of(filled, 2)] = "hang once"
    events, report = run(plan, server, engine="curl", stall_timeout_seconds=1)
    assert report.ok
    assert not [event for event in events if isinstance(event, (EngineEnded, CommandFailed, RetryStarted))]
    assert server.gets[f"{filled.series[2].crdc_series_uuid}/{key_of(filled, 2)}"] == 2
    assert is_complete(filled, plan, tmp_path / "to")


def test_an_object_that_never_comes_costs_its_series_alone(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    server.faults[key_of(filled, 2)] = "hang"
    _, report = run(plan, server, engine="curl", stall_timeout_seconds=1, retries=0)
    (failure,) = report.failures
    assert (failure.planned.crdc_series_uuid, failure.cause, failure.may_pass) == (
        filled.series[2].crdc_series_uuid, "network", True,
    )  # fmt: skip
    assert failure.present_instances == filled.series[2].instanceCount - 1
    assert not list((tmp_path / "to").rglob("*.dcm?*"))
    server.faults.clear()
    assert run(plan, server, engine="curl")[1].ok


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


def test_a_slow_consumer_is_no_stall(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, engine: str
) -> None:
    for series in dd.stream(plan, endpoint_url=server.endpoint_url, workers=1, stall_timeout_seconds=0.5):
        assert series.paths
        time.sleep(1)


def test_a_killed_child_is_survived(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str
) -> None:
    ended, killed = [], False
    # Slowly, so that it is not through before it is killed.
    for event in dd.download_events(plan, endpoint_url=server.endpoint_url, workers=1, max_rate_mbps=10):
        if isinstance(event, FileCompleted) and not killed:
            for child in running(engine):
                child.kill()
            killed = True
        if isinstance(event, EngineEnded):
            ended.append(event)
    assert len(ended) == 1
    assert "signal 9" in ended[0].message
    assert is_complete(filled, plan, tmp_path / "to")


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_too_few_descriptors_are_survived_with_fewer_workers(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str
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
    assert ("it gets 50 workers" if engine == "s5cmd" else "by curl with 1 workers") in done.stderr
    assert is_complete(filled, plan, tmp_path / "to")


@pytest.mark.parametrize("half", [False, True])
def test_a_store_cannot_lead_out_of_the_destination(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str, half: bool
) -> None:
    target = tmp_path / "a" / "b" / "to"
    if half:
        dd.download(plan, target, endpoint_url=server.endpoint_url, progress="none")
        min(target.rglob("*.dcm")).unlink()
    server.listed_too = [f"{'../' * depth}evil.dcm" for depth in range(1, 9)]
    server.listed_too += ["/evil.dcm", "below/evil.dcm", "'; rm evil.dcm", "evil'.dcm", "evil\n.dcm"]
    report = dd.download(plan, target, endpoint_url=server.endpoint_url, progress="none", check=False)
    outside = {path for path in tmp_path.rglob("*evil*") if target not in path.parents}
    assert not outside
    in_place = {target / row.directory for row in plan}
    assert {path.parent for path in target.rglob("*evil*")} <= in_place
    assert report.complete_series + len(report.failures) == 3


def test_a_store_that_lacks_everything_is_left_after_a_few_hundred(
    server: FaultServer, tmp_path: Path, engine: str
) -> None:
    wanted = plan_of([row(number, count=1, size=1) for number in range(3_000)])
    wanted.save(tmp_path / "plan.parquet")
    command = ["idc", "download", "plan.parquet", "--to", "to", "--endpoint-url", server.endpoint_url]
    outcome = Cli(tmp_path)(*command)
    assert outcome.code == 3
    assert "300 series in a row failed for one reason (not_found" in outcome.err
    assert server.lists < 2_000
    assert "not tried" in outcome.out


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk is mounted as Linux does it")
@pytest.mark.parametrize("fault", ["full", "unmounted", "moved"])
def test_a_disk_that_takes_no_more_is_told_and_the_same_command_resumes(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path, engine: str, fault: str
) -> None:
    """In a mount namespace of its own: a disk of 40 MB, and what happens to it after the first file."""
    plan.save(tmp_path / "plan.parquet")
    (tmp_path / "disk").mkdir()
    script = f"""
        mkdir store
        mount -t tmpfs -o size=40m none store
        mount --bind store disk
        {PROGRAM} idc download plan.parquet --to disk/to --endpoint-url {server.endpoint_url} --workers 2 \
            --json >events 2>said & program=$!
        while ! grep -q file_completed events; do sleep 0.02; done
        case {fault} in
            full) head -c 100m /dev/zero >disk/filler 2>/dev/null;;
            unmounted) umount --lazy disk;;
            moved) mv disk/to disk/away;;
        esac
        wait $program; echo "code $?"; cat said
        find store -name '*.dcm?*'
        case {fault} in
            full) rm disk/filler;;
            unmounted) mount --bind store disk;;
            moved) mv disk/away disk/to;;
        esac
        {PROGRAM} idc download plan.parquet --to disk/to --endpoint-url {server.endpoint_url} >/dev/null || exit 9
        cp -r disk/to to
    """
    server.each_nth = (1, "slow")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    code, *said = done.stdout.splitlines()
    assert code == "code 5"
    assert len(said) == 1, said
    assert "the same command again" in said[0]
    assert ("are free" if fault == "full" else "no longer there") in said[0]
    assert is_complete(filled, plan, tmp_path / "to")
