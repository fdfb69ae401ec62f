"""What a transfer makes of an engine that lies, falls silent or breaks off."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.engines.s5cmd.output import parse_line
from dataset_dl.errors import EngineCrashed, InsufficientDiskSpace, NetworkError, StorageError
from dataset_dl.model.events import (
    CommandFailed,
    EngineEnded,
    EngineMessage,
    Event,
    FileCompleted,
    Finished,
    SeriesCompleted,
)
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Fetch, PlannedSeries
from dataset_dl.testing import LocalBucket
from dataset_dl.transfer import transfer
from support.engines import ScriptedEngine
from support.plans import plan_of, row
from support.settings import settings


@pytest.fixture(scope="module")
def plan(bucket: LocalBucket) -> Plan:
    return dd.plan([each.crdc_series_uuid for each in bucket.series])


def run(plan: Plan, target: Path, engine: ScriptedEngine, retries: int = 0) -> Report:
    *_, last = transfer(plan, target, lambda scheme: engine, settings(retries=retries), pause_seconds=0)
    assert isinstance(last, Finished)
    return last.report


def test_silence_proves_nothing(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket, {bucket.series[1].crdc_series_uuid: lambda series, directory: iter(())})
    report = run(plan, tmp_path, engine)
    assert [each.planned for each in report.failures] == [
        next(iter(p for p in plan if p == report.failures[0].planned))
    ]
    assert report.failures[0].cause == "unknown"
    assert "gave no reason" in report.failures[0].message


def test_a_claim_without_a_file_is_no_success(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    def claims(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        for number in range(series.instanceCount):
            yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/{number}.dcm", 1)

    report = run(plan, tmp_path, ScriptedEngine(bucket, {bucket.series[0].crdc_series_uuid: claims}))
    assert len(report.failures) == 1
    assert report.failures[0].present_instances == 0


def test_a_page_in_place_of_a_file_is_no_success(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    def page(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        directory.mkdir(parents=True)
        for number in range(series.instanceCount):
            (directory / f"{number}.dcm").write_text("<html>Sign in</html>")
            yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/{number}.dcm", 20)

    report = run(plan, tmp_path, ScriptedEngine(bucket, {bucket.series[0].crdc_series_uuid: page}))
    assert [each.cause for each in report.failures] == ["truncated"]


def test_a_link_is_no_file(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    def links(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        directory.mkdir(parents=True)
        for file in bucket.series_directory(series).iterdir():
            (directory / file.name).symlink_to(file)
            yield FileCompleted(
                series.crdc_series_uuid, f"{series.directory}/{file.name}", file.stat().st_size
            )

    report = run(plan, tmp_path, ScriptedEngine(bucket, {bucket.series[0].crdc_series_uuid: links}))
    assert len(report.failures) == 1


def test_files_of_strangers_become_messages(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket)

    def twice(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        yield FileCompleted("stranger", "x.dcm", 1)
        yield from engine.fetch(series, directory)
        yield FileCompleted(series.crdc_series_uuid, "again.dcm", 1)

    engine.script[bucket.series[0].crdc_series_uuid] = twice
    events = list(transfer(plan, tmp_path, lambda scheme: engine))
    assert sum(isinstance(event, EngineMessage) for event in events) == 2
    assert sum(isinstance(event, SeriesCompleted) for event in events) == 4


@pytest.mark.parametrize("words", ["write x: no space left on device", "mkdir x: read-only file system"])
def test_a_disk_that_takes_no_more_is_told(
    bucket: LocalBucket, plan: Plan, tmp_path: Path, words: str
) -> None:
    def full(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        line = {"operation": "cp", "command": f"cp {series.series_aws_url} x/", "error": words}
        yield parse_line(json.dumps(line).encode())

    engine = ScriptedEngine(bucket, {bucket.series[2].crdc_series_uuid: full})
    with pytest.raises(StorageError, match=words) as caught:
        list(transfer(plan, tmp_path, lambda scheme: engine))
    assert caught.value.exit_code == 5
    assert engine.asked == [each.crdc_series_uuid for each in bucket.series[:3]]


def test_a_crash_keeps_what_was_finished(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    class Crashing(ScriptedEngine):
        def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
            for each in fetches:
                if each.series.crdc_series_uuid == bucket.series[2].crdc_series_uuid:
                    yield EngineEnded("s5cmd ended on its own (signal 9)", False, "tail")
                    return
                yield from super().run(iter([each]), destination)

    crashing = Crashing(bucket)
    with pytest.raises(EngineCrashed, match="3 times in a row") as caught:
        list(transfer(plan, tmp_path, lambda scheme: crashing, settings(retries=0), pause_seconds=0))
    assert caught.value.stderr_tail == "tail"
    assert crashing.asked == [each.crdc_series_uuid for each in bucket.series[:2]]
    engine = ScriptedEngine(bucket)
    assert run(plan, tmp_path, engine).ok
    assert engine.asked == [each.crdc_series_uuid for each in bucket.series[2:]]


def test_nothing_is_written_where_nothing_can_be_fetched(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    with pytest.raises(NetworkError):
        list(transfer(plan, tmp_path / "to", lambda scheme: ScriptedEngine(bucket, reachable=False)))
    assert not (tmp_path / "to").exists()


def test_space_is_checked_before_the_first_byte(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = plan_of([row(1, size=10**18)])
    engine = ScriptedEngine(bucket)
    with pytest.raises(InsufficientDiskSpace, match="are needed") as caught:
        list(transfer(plan, tmp_path / "to", lambda scheme: engine))
    assert caught.value.needed_bytes > 10**18 > caught.value.free_bytes
    assert not (tmp_path / "to").exists()
    assert engine.asked == []


def test_a_complete_tree_of_another_tool_is_adopted(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket)
    for each in plan:
        list(engine.fetch(each, tmp_path / each.directory))
    report = run(plan, tmp_path, engine)
    assert report.ok
    assert engine.asked == []
    assert dd.verify(tmp_path).ok


def test_a_second_writer_is_told_who_holds_the_destination(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    first = transfer(plan, tmp_path, lambda scheme: ScriptedEngine(bucket))
    next(event for event in first if isinstance(event, FileCompleted))
    (tmp_path / "x.dcm123").touch()
    with pytest.raises(StorageError, match="Another download writes to"):
        list(transfer(plan, tmp_path, lambda scheme: ScriptedEngine(bucket)))
    *_, last = first
    assert isinstance(last, Finished)
    assert last.report.ok
    assert not (tmp_path / ".dataset-dl" / "holder.json").exists()


def test_nothing_is_written_through_a_link(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "to"
    target.mkdir()
    (target / "qin_pet_phantom").symlink_to(outside)
    engine = ScriptedEngine(bucket)
    with pytest.raises(StorageError, match="is a symbolic link"):
        list(transfer(plan, target, lambda scheme: engine))
    assert engine.asked == []
    assert not list(outside.iterdir())


def test_the_destination_itself_may_be_a_link(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert run(plan, tmp_path / "link", ScriptedEngine(bucket)).ok


def test_a_fault_that_passes_is_no_failure(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket)
    tries = []

    def fails_twice(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        tries.append(series)
        if len(tries) < 3:
            yield CommandFailed(series.crdc_series_uuid, "server_error", "503")
        else:
            yield from engine.fetch(series, directory)

    engine.script[bucket.series[1].crdc_series_uuid] = fails_twice
    assert run(plan, tmp_path, engine, retries=2).ok
    assert len(engine.asked) == 4 + 1 + 1


def test_what_cannot_pass_is_not_tried_again(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    def forbidden(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        yield CommandFailed(series.crdc_series_uuid, "access_denied", "403")

    engine = ScriptedEngine(bucket, {bucket.series[1].crdc_series_uuid: forbidden})
    assert len(run(plan, tmp_path, engine, retries=2).failures) == 1
    assert len(engine.asked) == 4


def test_a_failure_that_names_no_series_reads_no_plan(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    engine = ScriptedEngine(bucket)

    def whole(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        yield CommandFailed("", "network", "session: fetching region failed")
        yield from engine.fetch(series, directory)

    engine.script[bucket.series[0].crdc_series_uuid] = whole
    assert run(plan, tmp_path, engine).ok


def test_the_kept_plan_holds_all_that_was_asked_for(bucket: LocalBucket, tmp_path: Path) -> None:
    first, second = (dd.plan(each.crdc_series_uuid) for each in bucket.series[:2])
    run(first, tmp_path, ScriptedEngine(bucket))
    run(second, tmp_path, ScriptedEngine(bucket))
    assert dd.verify(tmp_path).series_count == 2
    min((tmp_path / next(iter(first)).directory).glob("*.dcm")).unlink()
    assert [each.problem for each in dd.verify(tmp_path).deviations] == ["missing"]
    assert (
        run(
            dd.plan(tmp_path / ".dataset-dl" / "plan.parquet"), tmp_path, ScriptedEngine(bucket)
        ).fetched_series
        == 1
    )


def test_a_damaged_kept_plan_is_replaced(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / ".dataset-dl").mkdir()
    (tmp_path / ".dataset-dl" / "plan.parquet").write_text("broken")
    assert run(plan, tmp_path, ScriptedEngine(bucket)).ok
    assert dd.verify(tmp_path).series_count == 4


def test_what_is_there_needs_no_space_again(
    bucket: LocalBucket, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.destination import disk

    run(plan, tmp_path, ScriptedEngine(bucket))
    for row_ in plan:
        min((tmp_path / row_.directory).glob("*.dcm")).unlink()
    asked: list[int] = []
    monkeypatch.setattr(disk, "check_space", lambda destination, size, count: asked.append(size))
    assert run(plan, tmp_path, ScriptedEngine(bucket)).ok
    assert 0 < asked[0] < plan.size_bytes // 20


def test_a_file_too_many_is_named_and_not_retried(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    stray = tmp_path / next(iter(plan)).directory / "stray.dcm"
    stray.parent.mkdir(parents=True)
    stray.write_text("mine")
    engine = ScriptedEngine(bucket)
    report = run(plan, tmp_path, engine, retries=2)
    assert [each.cause for each in report.failures] == ["extra_files"]
    assert "remove what does not belong" in report.failures[0].message
    assert len(engine.asked) == 4
    stray.unlink()
    assert run(plan, tmp_path, engine).ok


def test_files_of_a_user_are_never_swept(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    mine = tmp_path / next(iter(plan)).directory / "scan.dcm2024"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert run(plan, tmp_path, ScriptedEngine(bucket)).ok
    assert mine.read_text() == "mine"
