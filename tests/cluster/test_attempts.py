"""Several writers of one destination: each has a part, and a part belongs to one attempt at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dataset_dl as dd
from dataset_dl.cluster import gather, status
from dataset_dl.destination import attempts, checksums, lock, paths
from dataset_dl.model.events import CommandFailed, Event, FileCompleted, Finished, Noticed, SeriesCompleted
from dataset_dl.model.part import Part
from dataset_dl.model.series import PlannedSeries, StoredObject
from dataset_dl.observers.standing import Standing
from dataset_dl.plans.parts import part_of
from dataset_dl.process.kernel import kernel_id
from dataset_dl.testing import LocalBucket
from support.engines import ScriptedEngine


def fetch(plan: dd.Plan, target: Path, part: str, engine: ScriptedEngine, **options: Any) -> dd.Report:
    return dd.download(plan, target, part=part, engine=engine, progress="none", **options)


def events_of(
    plan: dd.Plan, target: Path, part: str, engine: ScriptedEngine, **options: Any
) -> Iterator[Event]:
    return dd.download_events(plan, target, part=part, engine=engine, **options)


@pytest.fixture
def plan(filled: LocalBucket) -> dd.Plan:
    return dd.plan([each.key for each in filled.series])


def holder(target: Path, name: str) -> Path:
    return paths.files_of(target, name).folder / "holder.json"


def blanked(plan: dd.Plan, target: Path) -> tuple[Path, bytes]:
    """Put zeros into a file of the first part, as a machine that was lost may leave it; return what was there."""
    row = next(iter(part_of(plan, Part(1, 3))))
    file = min((target / row.directory).iterdir())
    right = file.read_bytes()
    file.write_bytes(bytes(len(right)))
    return file, right


def test_each_part_is_an_ordinary_download(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        engine = ScriptedEngine(filled)
        report = fetch(plan, tmp_path, f"{number}/3", engine)
        assert (report.ok, report.series_count) == (True, 1)
        assert fetch(plan, tmp_path, f"{number}/3", engine).fetched_series == 0
        assert len(engine.asked) == 1
    assert dd.verify(tmp_path, progress="none").complete_series == 3
    assert [each.state for each in status(tmp_path)] == ["complete"] * 3
    assert [each.attempt for each in status(tmp_path)] == [2, 2, 2]


def test_parts_of_two_plans_never_mix(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    with pytest.raises(dd.PlanError, match="was cut into 3, not 2"):
        fetch(plan, tmp_path, "1/2", ScriptedEngine(filled))
    other = dd.plan([each.key for each in filled.series[:2]])
    with pytest.raises(dd.PlanError, match="parts of another plan, for example 1/3"):
        fetch(other, tmp_path, "2/3", ScriptedEngine(filled))
    assert len(paths.parts(tmp_path)) == 1


def test_one_writer_for_each_part(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    with closing(events_of(plan, tmp_path, "1/3", ScriptedEngine(filled))) as first:  # type: ignore[type-var]
        next(event for event in first if isinstance(event, FileCompleted))
        with pytest.raises(
            dd.StorageError, match=rf"writes part 1/3 of .*process {os.getpid()}.*--take-over"
        ):
            fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
        with pytest.raises(dd.StorageError, match="Another download writes"):
            dd.download(plan, tmp_path, engine=ScriptedEngine(filled), progress="none")
        with pytest.raises(dd.StorageError, match="is being written"):
            gather(tmp_path)
        assert status(tmp_path)[0].state == "running"
        assert fetch(plan, tmp_path, "2/3", ScriptedEngine(filled)).ok
    assert status(tmp_path)[0].state == "interrupted"
    assert fetch(plan, tmp_path, "1/3", ScriptedEngine(filled)).ok


def test_a_part_does_not_touch_the_records_of_a_running_download(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_GLANCE_SECONDS", 0.1)
    with closing(dd.download_events(plan, tmp_path, engine=ScriptedEngine(filled))) as whole:  # type: ignore[type-var]
        next(event for event in whole if isinstance(event, FileCompleted))
        with pytest.raises(dd.StorageError, match="Another download writes to"):
            fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
        assert not (tmp_path / ".dataset-dl" / "parts").exists()
        *_, last = whole
    assert isinstance(last, Finished)
    assert last.report.ok


def test_looking_does_not_keep_a_part_from_beginning(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    """Whoever looks takes the lock for a moment."""
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            status(tmp_path)

    thread = threading.Thread(target=look)
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    thread.start()
    try:
        for _ in range(10):
            assert fetch(plan, tmp_path, "1/3", ScriptedEngine(filled), take_over=True).ok
    finally:
        ended.set()
        thread.join()


def test_a_frozen_writer_ends_when_it_wakes_up(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    """It may not write to the records, remove a file, or say that it is done."""
    frozen = events_of(plan, tmp_path, "1/3", ScriptedEngine(filled))
    next(event for event in frozen if isinstance(event, FileCompleted))
    engine = ScriptedEngine(filled)
    successor = list(events_of(plan, tmp_path, "1/3", engine, take_over=True))
    (noticed,) = [event for event in successor if isinstance(event, Noticed)]
    assert "every file is compared with the store's MD5 sum" in noticed.text
    assert isinstance(successor[-1], Finished)
    assert successor[-1].report.ok
    assert len(engine.files) == 80, "the file that was there is not fetched again"
    row = next(iter(part_of(plan, Part(1, 3))))
    (tmp_path / row.directory / "unfinished.dcm123").touch()  # as if the successor was still at it
    with pytest.raises(
        dd.DatasetDlError, match=r"Part 1/3 of .* was begun again by another process"
    ) as caught:
        list(frozen)
    assert type(caught.value).__name__ == "Superseded"
    assert caught.value.exit_code == 5
    assert (tmp_path / row.directory / "unfinished.dcm123").exists()
    (tmp_path / row.directory / "unfinished.dcm123").unlink()
    for number in (2, 3):
        fetch(plan, tmp_path, f"{number}/3", ScriptedEngine(filled))
    assert gather(tmp_path).ok


def test_a_frozen_writer_ends_although_its_part_was_gathered_meanwhile(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    """Its records are gone; and when the part is begun once more, they have the same name."""
    several = [events_of(plan, tmp_path, "1/3", ScriptedEngine(filled), take_over=True)]
    next(event for event in several[0] if isinstance(event, FileCompleted))
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", ScriptedEngine(filled), take_over=True)
    assert gather(tmp_path).ok
    again = events_of(plan, tmp_path, "1/3", ScriptedEngine(filled))
    next(event for event in again if isinstance(event, SeriesCompleted))
    with pytest.raises(dd.Superseded, match=r"Part 1/3 of .* was gathered or begun again by another process"):
        list(several[0])
    assert list(again)[-1].report.ok  # type: ignore[attr-defined]


def test_a_writer_that_wakes_up_removes_nothing(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was frozen after it had seen a wrong file, and its successor has replaced that."""
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    file, right = blanked(plan, tmp_path)
    compare, engine = checksums.compare, ScriptedEngine(filled)

    def frozen(pairs: Any) -> list[Any]:
        outcomes = compare(pairs)
        monkeypatch.setattr(checksums, "compare", compare)
        assert fetch(plan, tmp_path, "1/3", ScriptedEngine(filled), take_over=True).ok
        assert file.read_bytes() == right
        return outcomes

    monkeypatch.setattr(checksums, "compare", frozen)
    with pytest.raises(dd.Superseded, match=r"Part 1/3 of .* was begun again"):
        fetch(plan, tmp_path, "1/3", engine, verify="md5")
    assert (file.read_bytes(), engine.files) == (right, [])


def test_a_writer_on_another_machine_lives_if_it_has_lately_said_so(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    """No lock is trusted across machines: it may not be seen here."""
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    name = "1-of-3-attempt-1"
    left = {"pid": 1, "host": "node7", "since": "2026-01-01 00:00:00", "kernel": "another"}
    holder(tmp_path, name).write_text(json.dumps(left))
    with pytest.raises(dd.StorageError, match=r"writes part 1/3 .*process 1 on node7"):
        fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    assert status(tmp_path)[0].state == "running"
    long_ago = time.time() - 2 * attempts.SILENT_SECONDS
    for path in (paths.files_of(tmp_path, name).progress, paths.files_of(tmp_path, name).folder):
        os.utime(path, (long_ago, long_ago))
    engine = ScriptedEngine(filled)
    report = fetch(plan, tmp_path, "1/3", engine)
    assert report.ok
    assert engine.files == []


def test_a_writer_without_events_gives_a_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    with Standing(path, "1/3"):
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert json.loads(path.read_text())["state"] == "running"


def test_bytes_that_another_machine_did_not_write_are_found(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    """A machine that is lost may have named a file whose bytes it still had in memory: the size is right."""
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    file, right = blanked(plan, tmp_path)
    path = holder(tmp_path, "1-of-3-attempt-1")
    path.write_text(json.dumps({"kernel": "another"}))
    engine = ScriptedEngine(filled)
    assert fetch(plan, tmp_path, "1/3", engine, take_over=True).ok
    assert engine.files == [file.name]
    assert file.read_bytes() == right


def test_the_doubt_remains_until_all_files_were_compared(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    """The attempt that compares them is interrupted: the next one may not take them for whole."""
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    file, right = blanked(plan, tmp_path)
    holder(tmp_path, "1-of-3-attempt-1").write_text(json.dumps({"kernel": "another"}))
    with closing(events_of(plan, tmp_path, "1/3", ScriptedEngine(filled), take_over=True)) as interrupted:  # type: ignore[type-var]
        assert isinstance(next(interrupted), Noticed)
        next(interrupted)
    for number in (2, 3):
        fetch(plan, tmp_path, f"{number}/3", ScriptedEngine(filled))
    with pytest.raises(dd.TransferIncomplete, match="Part 1 of 3 did not end in order on another machine"):
        gather(tmp_path)
    engine = ScriptedEngine(filled)
    assert fetch(plan, tmp_path, "1/3", engine).ok
    assert engine.files == [file.name]
    assert file.read_bytes() == right
    assert gather(tmp_path).ok
    assert list((tmp_path / ".dataset-dl").glob("**/doubtful")) == []


class Silent(ScriptedEngine):
    """An engine whose store does not list its objects, and gives none."""

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        return {}

    def fetch(
        self, series: PlannedSeries, directory: Path, names: Sequence[str] | None = None
    ) -> Iterator[Event]:
        yield CommandFailed(series.key, "server_error", "503 Slow Down")


def test_the_doubt_remains_if_the_store_does_not_answer(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    file, right = blanked(plan, tmp_path)
    holder(tmp_path, "1-of-3-attempt-1").write_text(json.dumps({"kernel": "another"}))
    with pytest.raises((dd.TransferIncomplete, dd.NetworkError)):
        fetch(plan, tmp_path, "1/3", Silent(filled), take_over=True, retries=0)
    for number in (2, 3):
        fetch(plan, tmp_path, f"{number}/3", ScriptedEngine(filled))
    with pytest.raises(dd.TransferIncomplete, match="Part 1 of 3 did not end in order on another machine"):
        gather(tmp_path)
    engine = ScriptedEngine(filled)
    assert fetch(plan, tmp_path, "1/3", engine).ok
    assert engine.files == [file.name]
    assert file.read_bytes() == right
    assert gather(tmp_path).ok


def test_a_writer_killed_on_this_machine_costs_no_second_look(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    fetch(plan, tmp_path, "1/3", ScriptedEngine(filled))
    attempt = attempts.begin(tmp_path, part_of(plan, Part(1, 3)))
    assert attempt == attempts.Attempt("1-of-3-attempt-2", False)
    before = paths.files_of(tmp_path, attempt.name)
    (before.folder / "holder.json").write_text(json.dumps({"kernel": kernel_id()}))
    assert attempts.begin(tmp_path, part_of(plan, Part(1, 3))) == attempts.Attempt("1-of-3-attempt-3", False)
    assert attempts.begin(tmp_path, part_of(plan, Part(1, 3))).name == "1-of-3-attempt-4"
    assert paths.attempts(tmp_path, Part(1, 3)) == [3, 4], "only the last one and the one before are kept"


def test_those_that_have_just_begun_count_among_the_running(plan: dd.Plan, tmp_path: Path) -> None:
    names = [attempts.begin(tmp_path, part_of(plan, Part(number, 3))).name for number in (1, 2)]
    assert [attempts.running_beside(tmp_path, name) for name in (*names, "")] == [1, 1, 2]
    os.utime(paths.files_of(tmp_path, names[0]).folder, (1, 1))
    assert attempts.running_beside(tmp_path, "") == 1


def test_records_outlast_an_attempt_that_could_not_copy_them(
    plan: dd.Plan, filled: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full while it begins: what was delivered and removed is not fetched again."""
    taken: list[str] = []

    def process(series: dd.Series) -> None:
        taken.append(series.planned.key)

    def copy_half(source: Path, target: Path) -> None:
        data = Path(source).read_bytes()
        Path(target).write_bytes(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    assert fetch(plan, tmp_path, "1/3", ScriptedEngine(filled), then=[process], evict=True).ok
    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfile", copy_half)
        with pytest.raises(dd.StorageError, match="No space left"):
            fetch(plan, tmp_path, "1/3", ScriptedEngine(filled), then=[process], evict=True)
    assert status(tmp_path)[0].state == "complete"
    engine = ScriptedEngine(filled)
    assert fetch(plan, tmp_path, "1/3", engine, then=[process], evict=True).ok
    assert (engine.files, len(taken)) == ([], 1)
    assert paths.attempts(tmp_path, Part(1, 3)) == [1, 2, 3], "the last whole one and those after it are kept"


def test_a_destination_that_is_none(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(dd.StorageError, match="is a file"):
            fetch(plan, target, "1/3", ScriptedEngine(filled))


def test_a_part_leaves_what_another_one_is_writing(filled: LocalBucket, tmp_path: Path) -> None:
    """In a directory that both write to."""
    plan = dd.plan([each.key for each in filled.series], layout=".")
    writing = tmp_path / "01234567-0123-0123-0123-0123456789ab.dcm123"
    left = tmp_path / "11234567-0123-0123-0123-0123456789ab.dcm123"
    for path in (writing, left):
        path.touch()
    os.utime(left, (1, 1))
    assert fetch(plan, tmp_path, "2/3", ScriptedEngine(filled)).ok
    assert (writing.exists(), left.exists()) == (True, False)
    assert fetch(plan, tmp_path, "1/3", ScriptedEngine(filled)).ok
    assert fetch(plan, tmp_path, "3/3", ScriptedEngine(filled)).ok
    assert gather(tmp_path).ok
    assert not writing.exists()


def test_two_that_begin_at_once(plan: dd.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of(plan, Part(1, 3))
    attempts.begin(tmp_path, part)
    monkeypatch.setattr(paths, "attempts", lambda destination, name: [])
    with pytest.raises(dd.StorageError, match="has just begun part 1/3"):
        attempts.begin(tmp_path, part)


def test_receipts_outlast_an_attempt(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    """Processed and evicted: a series that a consumer had is never fetched again, whoever goes on."""
    taken: list[str] = []

    def process(series: dd.Series) -> None:
        taken.append(series.planned.key)

    for number in (1, 2, 3):
        report = fetch(plan, tmp_path, f"{number}/3", ScriptedEngine(filled), then=[process], evict=True)
        assert report.delivery is not None
        assert report.delivery.evicted_series == 1
    engine = ScriptedEngine(filled)
    for number in (1, 2, 3):
        assert fetch(plan, tmp_path, f"{number}/3", engine, then=[process], evict=True).ok
    assert engine.files == []
    assert len(taken) == 3
    report = gather(tmp_path)
    assert report.ok
    assert dd.download(plan, tmp_path, engine=engine, progress="none", then=[process], evict=True).ok
    assert engine.files == []
    assert len(taken) == 3


@pytest.mark.parametrize("layout", [".", "%PatientID", "%SeriesInstanceUID/%InstanceNumber.dcm"])
def test_parts_that_share_directories_and_names(filled: LocalBucket, tmp_path: Path, layout: str) -> None:
    plan = dd.plan([each.key for each in filled.series], layout=layout)
    for number in (1, 2, 3):
        assert fetch(plan, tmp_path / "parts", f"{number}/3", ScriptedEngine(filled)).ok
    engine = ScriptedEngine(filled)
    for number in (1, 2, 3):
        assert fetch(plan, tmp_path / "parts", f"{number}/3", engine).ok
    assert engine.files == []
    assert gather(tmp_path / "parts").ok
    assert dd.download(plan, tmp_path / "parts", engine=engine, progress="none").ok
    assert engine.files == []
    dd.download(plan, tmp_path / "whole", engine=ScriptedEngine(filled), progress="none")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    # A late repetition, when everything was gathered.
    assert fetch(plan, tmp_path / "parts", "2/3", engine).ok
    assert engine.files == []
    assert gather(tmp_path / "parts").ok


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".dataset-dl" not in path.parts
    }


def test_a_full_account_of_a_failed_part(plan: dd.Plan, filled: LocalBucket, tmp_path: Path) -> None:
    gone = next(iter(part_of(plan, Part(2, 3))))

    def fail(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        from dataset_dl.model.events import CommandFailed

        yield CommandFailed(series.key, "not_found", "no object found")

    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", ScriptedEngine(filled, script={gone.key: fail}), check=False)
    assert [each.state for each in status(tmp_path)] == ["complete", "incomplete", "complete"]
    assert status(tmp_path)[1].failed_series == 1
    report = gather(tmp_path)
    assert (report.ok, report.complete_series, report.series_count) == (False, 2, 3)
    assert [(each.planned.key, each.cause) for each in report.failures] == [(gone.key, "not_found")]
    again = dd.plan(paths.files_of(tmp_path).failed)
    assert [row.key for row in again] == [gone.key]
    assert dd.download(plan, tmp_path, engine=ScriptedEngine(filled), progress="none").fetched_series == 1
