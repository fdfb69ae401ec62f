"""What only the engine of libcurl does: pieces, checksums on the way, connections that stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.engines.curl.engine import CurlEngine
from dataset_dl.engines.curl.large import PIECE_BYTES
from dataset_dl.model.events import (
    BytesWritten,
    CommandFailed,
    EngineStarted,
    Event,
    FileCompleted,
    Finished,
    RetryStarted,
)
from dataset_dl.model.series import Fetch
from dataset_dl.network import NetworkSettings
from dataset_dl.testing import LocalBucket
from support.children import running
from support.cli import PROGRAM
from support.faults import FaultServer, serve
from support.plans import plan_of, row

LARGE_BYTES = 3 * PIECE_BYTES + 1234


@pytest.fixture
def plan(saved: Path, tmp_path: Path) -> dd.Plan:
    return dd.plan(saved, into=tmp_path / "to")


def run(plan: dd.Plan, server: FaultServer, **options: object) -> tuple[list[Event], dd.Report]:
    events = list(
        dd.download_events(plan, endpoint_url=server.endpoint_url, engine="curl", **options)  # type: ignore[arg-type]
    )
    assert isinstance(events[-1], Finished)
    return events, events[-1].report


@contextmanager
def one_object(directory: Path, size_bytes: int) -> Iterator[tuple[FaultServer, Path, dd.Plan]]:
    """A server of one series of one object, its file there, and a plan."""
    series = row(1, count=1, size=size_bytes)
    file = directory / "store" / "idc-open-data" / series.key / f"{uuid.uuid4()}.dcm"
    file.parent.mkdir(parents=True)
    file.write_bytes(os.urandom(1 << 20) * (size_bytes // (1 << 20) + 1))
    os.truncate(file, size_bytes)
    address = f"s3://idc-open-data/{series.key}/*"
    with serve(directory / "store") as server:
        yield server, file, plan_of([series._replace(address=address)], into=directory / "to")


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[FaultServer, Path, dd.Plan]]:
    with one_object(tmp_path, LARGE_BYTES) as found:
        yield found


def in_place(plan: dd.Plan, target: Path) -> list[str]:
    (series,) = plan
    return sorted(path.name for path in (target / series.directory).iterdir())


@pytest.mark.timeout(240)
def test_a_large_object_goes_on_where_an_earlier_run_has_ended(
    large: tuple[FaultServer, Path, dd.Plan], tmp_path: Path
) -> None:
    server, file, plan = large
    command = [PROGRAM, "idc", "download", tmp_path / "plan.parquet", "--to", tmp_path / "to", "--engine", "curl",
               "--workers", "1", "--max-rate", "30", "--json", "--endpoint-url", server.endpoint_url]  # fmt: skip
    plan.save(tmp_path / "plan.parquet")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        while len(server.ranges) < 3:  # the first two pieces have come
            time.sleep(0.01)
        program.send_signal(signal.SIGKILL)
    names = in_place(plan, tmp_path / "to")
    assert [name.rpartition(".")[2] for name in names] == ["large", "pieces"]
    server.ranges.clear()
    events, report = run(plan, server)
    assert report.ok
    assert in_place(plan, tmp_path / "to") == [file.name]
    assert (tmp_path / "to" / next(iter(plan)).directory / file.name).read_bytes() == file.read_bytes()
    # Whole pieces are not fetched again, and the others are asked for from their beginning.
    assert set(server.ranges) == {
        f"bytes={2 * PIECE_BYTES}-{3 * PIECE_BYTES - 1}",
        f"bytes={3 * PIECE_BYTES}-{LARGE_BYTES - 1}",
    }
    assert not any(isinstance(event, CommandFailed) for event in events)


def test_a_piece_that_is_cut_goes_on_where_it_ended(
    large: tuple[FaultServer, Path, dd.Plan], tmp_path: Path
) -> None:
    server, file, plan = large
    server.faults[file.name] = "cut once"
    _, report = run(plan, server, workers=1, verify="md5")
    assert report.ok
    assert (tmp_path / "to" / next(iter(plan)).directory / file.name).read_bytes() == file.read_bytes()
    assert f"bytes={PIECE_BYTES // 2}-{PIECE_BYTES - 1}" in server.ranges


def test_an_object_that_was_replaced_is_fetched_anew(
    large: tuple[FaultServer, Path, dd.Plan], tmp_path: Path
) -> None:
    server, file, plan = large
    server.each_nth = (3, "500")
    target = tmp_path / "to" / next(iter(plan)).directory
    events = dd.download_events(plan, endpoint_url=server.endpoint_url, engine="curl", workers=1)
    for _ in events:
        if target.is_dir() and len(server.ranges) >= 3:
            break
    events.close()  # type: ignore[attr-defined]
    file.write_bytes(bytes(LARGE_BYTES))
    server.each_nth = None
    server.ranges.clear()
    assert run(plan, server)[1].ok
    assert (target / file.name).read_bytes() == bytes(LARGE_BYTES)
    assert len(server.ranges) == 4
    assert in_place(plan, tmp_path / "to") == [file.name]


def test_a_store_that_knows_no_such_etag_gives_the_object_whole(
    large: tuple[FaultServer, Path, dd.Plan], tmp_path: Path
) -> None:
    server, file, plan = large
    server.faults[file.name] = "unsure"
    events, report = run(plan, server)
    assert report.ok
    assert not [event for event in events if isinstance(event, (CommandFailed, RetryStarted))]
    assert (tmp_path / "to" / next(iter(plan)).directory / file.name).read_bytes() == file.read_bytes()
    assert in_place(plan, tmp_path / "to") == [file.name]


def test_s5cmd_starts_a_large_object_again(large: tuple[FaultServer, Path, dd.Plan], tmp_path: Path) -> None:
    server, file, plan = large
    directory = tmp_path / "to" / next(iter(plan)).directory
    directory.mkdir(parents=True)
    (directory / f"{file.name}.{'0' * 32}.0.large").write_bytes(b"x")
    assert dd.download(plan, engine="s5cmd", endpoint_url=server.endpoint_url, progress="none").ok
    assert in_place(plan, tmp_path / "to") == [file.name]


def test_checksums_are_compared_on_the_way_and_nothing_is_read_again(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan
) -> None:
    events, report = run(plan, server, verify="md5")
    assert report.ok
    assert all(event.proven for event in events if isinstance(event, FileCompleted))
    assert server.lists == 3 + 2  # one a series, and those of the probe


def test_a_byte_that_differs_is_found_on_the_way(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    file = min(filled.series_directory(filled.series[1]).iterdir())
    server.faults[file.name] = "flip once"
    _, report = run(plan, server, verify="md5")
    assert report.ok
    assert server.gets[f"{filled.series[1].crdc_series_uuid}/{file.name}"] == 2
    (found,) = (tmp_path / "to").rglob(file.name)
    assert found.read_bytes() == file.read_bytes()
    server.faults[file.name] = "flip"
    found.unlink()
    _, report = run(plan, server, verify="md5", retries=0)
    assert [each.cause for each in report.failures] == ["altered"]
    assert not list((tmp_path / "to").rglob(f"{file.name}*"))


def test_a_second_try_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    with one_object(tmp_path, 1 << 20) as (server, file, plan):
        server.faults[file.name] = "flip then stop"
        engine = CurlEngine(NetworkSettings(endpoint_url=server.endpoint_url), md5=True)
        target = tmp_path / "to"
        target.mkdir()
        events = engine.run(map(Fetch, plan), target)
        for _ in events:
            if list(target.rglob("*.part")) and server.gets.total() == 2:
                break
        events.close()  # type: ignore[attr-defined]
        assert server.gets.total() == 2
        assert not [path for path in target.rglob("*") if path.is_file()]


def test_a_rate_is_never_exceeded_by_large_objects_either(large: tuple[FaultServer, Path, dd.Plan]) -> None:
    server, _, plan = large
    began, most = 0.0, 0.0
    for event in dd.download_events(plan, endpoint_url=server.endpoint_url, engine="curl", max_rate_mbps=40):
        if isinstance(event, EngineStarted):
            began = time.monotonic()
        if isinstance(event, BytesWritten):
            most = max(most, event.size_bytes - 40e6 * (time.monotonic() - began))
    assert began
    assert most <= 0.3 * 40e6


@pytest.mark.parametrize(("fault", "ok"), [("moved once", True), ("moved", False), ("away", False)])
def test_a_store_may_not_lead_to_another_server(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, fault: str, ok: bool
) -> None:
    server.faults[min(filled.series_directory(filled.series[1]).iterdir()).name] = fault
    _, report = run(plan, server, retries=0)
    assert report.ok == ok
    assert [each.cause for each in report.failures] == ([] if ok else ["network"])


def test_the_environment_of_libcurl_is_not_asked(
    filled: LocalBucket, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: dd.Plan
) -> None:
    for name in ("http_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "to").mkdir()
    engine = CurlEngine(NetworkSettings(endpoint_url=server.endpoint_url))
    engine.probe(filled.series[0].series_aws_url)
    assert len(engine.objects(filled.series)) == 3
    told = [
        event for event in engine.run(map(Fetch, plan), tmp_path / "to") if isinstance(event, FileCompleted)
    ]
    assert len(told) == plan.instance_count


def test_several_workers_share_the_series(
    filled: LocalBucket, server: FaultServer, plan: dd.Plan, tmp_path: Path
) -> None:
    server.each_nth = (1, "slow")
    engine = CurlEngine(NetworkSettings(endpoint_url=server.endpoint_url), processes=3)
    (tmp_path / "to").mkdir()
    most, received, told = 0, 0, []
    for event in engine.run(map(Fetch, plan), tmp_path / "to"):
        most = max(most, len(running("curl")))
        if isinstance(event, FileCompleted):
            told.append(event.path)
        elif isinstance(event, BytesWritten):
            assert event.size_bytes >= received
            received = event.size_bytes
    assert most == 3
    assert len(set(told)) == len(told) == plan.instance_count
    assert received == plan.size_bytes


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_workers_die_with_their_parent(
    filled: LocalBucket, server: FaultServer, saved: Path, tmp_path: Path
) -> None:
    server.each_nth = (1, "slow")
    command = [PROGRAM, "idc", "download", saved, "--to", tmp_path / "to", "--engine", "curl", "--workers", "2",
               "--endpoint-url", server.endpoint_url, "--json"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        next(line for line in program.stdout if b"file_completed" in line)
        workers = psutil.Process(program.pid).children(recursive=True)
        assert workers
        program.kill()
    assert not psutil.wait_procs(workers, timeout=10)[1]
    server.each_nth = None
    assert dd.download(dd.plan(saved), tmp_path / "to", endpoint_url=server.endpoint_url, engine="curl",
                       progress="none").ok  # fmt: skip
    assert dd.verify(tmp_path / "to", deep=True).ok
