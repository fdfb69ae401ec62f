"""Jobs: a queue on disk that outlasts the programs that use it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.doors import JOBS
from dataset_dl.model.job import Ended, Job
from dataset_dl.model.outcome import DownloadProgress
from dataset_dl.testing import LocalBucket
from dataset_dl.verbs.jobs.table import Table
from support.cli import PROGRAM, Cli
from support.faults import FaultServer
from support.waiting import until


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dd.Jobs:
    monkeypatch.setenv("DATASET_DL_STATE", str(tmp_path / "state"))
    return dd.Jobs()


@pytest.fixture
def reachable(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The series of a bucket that programs in this environment find."""
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)
    return [each.crdc_series_uuid for each in bucket.series]


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*.dcm")}


@pytest.fixture
def runner() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `dataset-dl jobs run` as a program of its own."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [PROGRAM, "jobs", "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            # A shell that runs the tests in the background lets its children ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_job_is_planned_run_and_verified(jobs: dd.Jobs, reachable: list[str], tmp_path: Path) -> None:
    job = jobs.add(reachable, into=tmp_path / "data", verify="md5")
    assert (job.state, job.kind, job.request["series_count"]) == ("PENDING", "download", 4)
    assert not (tmp_path / "data").exists()
    seen: list[Job] = []
    (ended,) = jobs.run(on_change=seen.append)
    assert (ended.state, ended.id) == ("SUCCESS", job.id)
    assert ended.message.startswith("4 series, ")
    assert ended.outcome["ok"] and ended.outcome["complete_series"] == 4
    assert ended.progress is not None and ended.progress.completed_series == 4
    assert [each.change for each in seen] == sorted({each.change for each in seen})
    assert dd.verify(tmp_path / "data").ok
    assert jobs.jobs() == [ended]
    assert jobs.run() == []


@pytest.mark.timeout(120)
def test_the_queue_outlasts_a_passing_error_of_the_system(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, calls = jobs.settle, itertools.count()

    def settle_or_fail() -> None:
        if next(calls) in (1, 2):
            raise OSError(errno.EMFILE, "Too many open files")
        settle()

    several = [jobs.add([key], into=tmp_path / key) for key in reachable[:3]]
    monkeypatch.setattr(jobs, "settle", settle_or_fail)
    assert {each.id for each in jobs.run(at_once=1)} == {each.id for each in several}
    assert next(calls) > 3


def test_a_running_job_is_paused_and_goes_on(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, runner: Callable[[], subprocess.Popen[str]]
) -> None:
    job = jobs.add(reachable, into=tmp_path / "data", max_rate_mbps=1.5, workers=1)
    child = runner()
    until(lambda: (now := jobs.job(job.id)).progress is not None and now.progress.completed_series >= 1)
    assert jobs.pause(job.id).state == "IN_PROGRESS"
    until(lambda: jobs.job(job.id).state != "IN_PROGRESS")
    assert jobs.job(job.id).state == "PAUSED", jobs.job(job.id)
    assert child.wait(30) == 0
    before = files(tmp_path / "data")
    complete = {path: when for path, when in before.items() if len(list(path.parent.iterdir())) == 81}
    assert complete
    assert jobs.resume(job.id).state == "PENDING"
    (ended,) = jobs.run()
    assert ended.state == "SUCCESS"
    after = files(tmp_path / "data")
    assert {path: after[path] for path in complete} == complete
    assert len(after) == 4 * 81


def test_a_job_ends_although_its_signal_was_ignored(jobs: dd.Jobs, tmp_path: Path) -> None:
    # A signal that comes while Python runs a finalizer raises there, and Python ignores that.
    script = tmp_path / "goes_on.py"
    script.write_text(
        "import signal\n"
        "from dataset_dl.doors import JOBS\n"
        "from dataset_dl.model.events import Working\n"
        "from dataset_dl.model.job import Ended\n"
        "from dataset_dl.verbs.jobs import worker\n"
        "class Finalized:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "def goes_on(job, plan_path, observers):\n"
        "    Finalized()\n"
        "    for observer in observers:\n"
        "        observer(Working('Going on', 0))\n"
        "    return Ended('SUCCESS', '', {})\n"
        "JOBS.register('goes_on', goes_on)\n"
        "worker.main()\n"
    )
    remove = JOBS.register("goes_on", lambda job, path, observers: Ended("SUCCESS", "", {}))
    job = jobs.add_check("goes_on", tmp_path)
    remove()
    order = json.dumps({"job": job.to_dict(), "plan": ""}) + "\n"
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(order)
        child.stdin.flush()
        told = [json.loads(line) for line in child.stdout if line.strip()]
    assert told[-1]["state"] == "PAUSED"


def test_a_job_outlasts_the_program_that_runs_it(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, runner: Callable[[], subprocess.Popen[str]]
) -> None:
    job = jobs.add(reachable, into=tmp_path / "data", max_rate_mbps=1, workers=4)
    child = runner()
    until(lambda: (now := jobs.job(job.id)).progress is not None and now.progress.completed_files >= 20)
    below = psutil.Process(child.pid).children(recursive=True)
    assert below
    child.kill()
    child.wait()
    until(lambda: not any(each.is_running() and each.status() != "zombie" for each in below))
    stopped = jobs.job(job.id)
    assert (stopped.state, "has ended" in stopped.message) == ("PAUSED", True)
    jobs.resume(job.id)
    (ended,) = jobs.run()
    assert (ended.state, len(files(tmp_path / "data"))) == ("SUCCESS", 4 * 81)


def test_ctrl_c_pauses_what_runs(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, runner: Callable[[], subprocess.Popen[str]]
) -> None:
    job = jobs.add(reachable, into=tmp_path / "data", max_rate_mbps=1, workers=4)
    child = runner()
    until(lambda: (now := jobs.job(job.id)).progress is not None and now.progress.completed_files >= 20)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    assert jobs.job(job.id).state == "PAUSED"
    jobs.cancel(job.id)
    assert jobs.job(job.id).state == "CANCELED"


def test_one_writer_a_destination_and_several_at_once(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path
) -> None:
    for number, key in enumerate(reachable):
        jobs.add(
            key, into=tmp_path / ("one" if number < 2 else f"other-{number}"), max_rate_mbps=1, workers=4
        )
    together: list[set[Path]] = []

    def look(job: Job) -> None:
        running = [each.destination for each in jobs.table.jobs() if each.state == "IN_PROGRESS"]
        assert len(running) == len(set(running)) <= 3
        together.append(set(running))

    ended = jobs.run(at_once=3, on_change=look)
    assert [each.state for each in ended] == ["SUCCESS"] * 4
    assert max(map(len, together)) == 3


def test_what_failed_is_named_and_tried_again(
    jobs: dd.Jobs, server: FaultServer, filled: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", server.endpoint_url)
    bad = filled.series[0]
    server.faults[bad.crdc_series_uuid] = "403"
    job = jobs.add([each.crdc_series_uuid for each in filled.series], into=tmp_path / "data", retries=0)
    (ended,) = jobs.run()
    assert (ended.state, ended.outcome["failure_count"]) == ("WARNING", 1)
    assert ended.outcome["failures"][0]["SeriesInstanceUID"] == bad.SeriesInstanceUID
    assert ended.outcome["failures"][0]["cause"] == "access_denied"
    server.faults.clear()
    assert jobs.retry(job.id).state == "PENDING"
    (ended,) = jobs.run()
    assert ended.state == "SUCCESS"


def test_trees_are_verified_repaired_and_updated(jobs: dd.Jobs, reachable: list[str], tmp_path: Path) -> None:
    root = tmp_path / "data"
    dd.download(reachable[:2], into=root, progress="none")
    next(root.rglob("*.dcm")).unlink()
    for kind in ("verify", "repair", "verify", "update"):
        jobs.add_check(kind, root)
    states = {job.id: (job.kind, job.state) for job in jobs.run()}
    assert [states[number] for number in sorted(states)] == [
        ("verify", "WARNING"), ("repair", "SUCCESS"), ("verify", "SUCCESS"), ("update", "SUCCESS"),
    ]  # fmt: skip
    with pytest.raises(dd.SelectionError, match="There is no job “polish”"):
        jobs.add_check("polish", root)
    with pytest.raises(dd.SelectionError, match="is not a directory"):
        jobs.add_check("verify", tmp_path / "nowhere")


def test_what_a_job_cannot_keep_is_refused(jobs: dd.Jobs, reachable: list[str], tmp_path: Path) -> None:
    into = tmp_path / "data"
    with pytest.raises(dd.PlanError, match=r"does not keep proxy.*DATASET_DL_PROXY"):
        jobs.add(reachable, into=into, proxy="http://user:secret@proxy:3128")
    with pytest.raises(dd.PlanError, match="cannot keep a"):
        jobs.add(reachable, into=into, then=files)
    with pytest.raises(dd.SelectionError):
        jobs.add("no_such_collection", into=into)
    assert jobs.jobs() == []
    assert b"secret" not in b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*.sqlite"))


def test_wrong_moves_are_refused(jobs: dd.Jobs, reachable: list[str], tmp_path: Path) -> None:
    job = jobs.add(reachable[0], into=tmp_path / "data")
    with pytest.raises(dd.SelectionError, match="There is no job 99"):
        jobs.pause(99)
    with pytest.raises(dd.SelectionError, match="Job 1 is PENDING, so it cannot be resumed"):
        jobs.resume(job.id)
    jobs.pause(job.id)
    jobs.cancel(job.id)
    with pytest.raises(dd.SelectionError, match="Job 1 is CANCELED, so it cannot be paused"):
        jobs.pause(job.id)
    plan_path = jobs.plan_of(job.id)
    assert plan_path.exists()
    jobs.remove(job.id)
    assert (jobs.jobs(), plan_path.exists()) == ([], False)


def test_jobs_of_a_newer_version_are_left_alone(jobs: dd.Jobs) -> None:
    jobs.table.path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(jobs.table.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(dd.StorageError, match="of a newer version of this program"):
        jobs.jobs()


def test_the_command_line(
    cli: Cli, jobs: dd.Jobs, reachable: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = cli("jobs", "add", *reachable[:1], "--to", tmp_path / "data", "--verify", "md5")
    assert (added.code, added.out.startswith("Job 1: 1 series, ")) == (0, True), added.err
    assert cli("jobs", "pause", 1).out == "Job 1: PAUSED\n"
    assert cli("jobs", "run").err == "No job waits.\n"
    assert "PENDING" in cli("jobs", "resume", 1).out
    done = cli("jobs", "run")
    assert (done.code, "Job 1 (download, " in done.out, "SUCCESS: 1 series" in done.out) == (0, True, True)
    listed = cli("jobs", "list", "--format", "json").json
    assert [(each["id"], each["state"]) for each in listed] == [(1, "SUCCESS")]
    assert "SUCCESS" in cli("jobs", "list").out
    shown = cli("jobs", "show", 1)
    assert f"asked for: {reachable[0]} (1 series" in shown.out
    assert cli("jobs", "check", "verify", tmp_path / "data").code == 0
    next((tmp_path / "data").rglob("*.dcm")).unlink()
    failed = cli("jobs", "run", "--json")
    assert (failed.code, failed.events[-1]["state"]) == (3, "WARNING")
    assert cli("jobs", "retry", 2).code == 0
    assert cli("jobs", "cancel", 2).out == "Job 2: CANCELED\n"
    assert cli("jobs", "remove", 1, 2).out == "Job 1: removed\nJob 2: removed\n"
    wrong = cli("jobs", "pause", 1)
    assert (wrong.code, "There is no job 1" in wrong.err) == (2, True)


def test_a_worker_that_dies_fails_its_job(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, runner: Callable[[], subprocess.Popen[str]]
) -> None:
    job = jobs.add(reachable, into=tmp_path / "data", max_rate_mbps=1, workers=4)
    child = runner()
    until(lambda: (now := jobs.job(job.id)).progress is not None and now.progress.completed_files >= 1)
    (worker,) = psutil.Process(child.pid).children()
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: jobs.job(job.id).state == "FAILURE")
    assert "has died" in jobs.job(job.id).message
    assert child.wait(30) == 3


PROGRESS = DownloadProgress(1, 0, 0, 1, 0, 0, 1, 0, "", 0.0, None, 0.0)
MOVES = {
    "pause": {"PENDING": "PAUSED", "IN_PROGRESS": "PAUSED"},
    "resume": {"PAUSED": "PENDING"},
    "cancel": dict.fromkeys(("PENDING", "PAUSED", "IN_PROGRESS"), "CANCELED"),
    "retry": dict.fromkeys(("WARNING", "FAILURE", "CANCELED"), "PENDING"),
}


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from([*MOVES, "add", "remove", "claim", "note", "done", "stopped", "settle"]),
                          st.integers(1, 4)), max_size=25))  # fmt: skip
def test_who_reads_only_changes_knows_everything(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    table = Table(tmp_path_factory.mktemp("table") / "jobs.sqlite")
    known: dict[int, Job] = {}
    last = 0
    for what, number in steps:
        if what == "add":
            table.publish(table.add("download", Path(f"/data/{number % 2}"), {}))
        elif what in MOVES:
            table.move(number, MOVES[what])  # type: ignore[arg-type]
        elif what == "remove":
            table.remove(number, ("PENDING", "PAUSED", "CANCELED", "SUCCESS"))
        elif what == "claim":
            table.claim("1:0", 2)
        elif what == "note":
            table.note(number, PROGRESS, "x")
        elif what == "settle":
            table.settle({"1:0": False})
        else:
            table.end(number, Ended("SUCCESS" if what == "done" else "PAUSED", "", {}))
        before = last
        last, changed, removed = table.since(last)
        assert last >= before
        known |= {job.id: job for job in changed}
        for each in removed:
            known.pop(each, None)
        assert sorted(known.values(), key=lambda job: -job.id) == table.jobs()
        running = [job.destination for job in known.values() if job.state == "IN_PROGRESS"]
        assert len(running) == len(set(running)) <= 2


def test_python_is_not_needed_to_import_the_page() -> None:
    subprocess.run(
        [sys.executable, "-c", "import dataset_dl.verbs.jobs.table, sys; assert 'duckdb' not in sys.modules"],
        check=True,
    )


def test_a_killed_runner_does_not_hold_up_another_one(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, runner: Callable[[], subprocess.Popen[str]]
) -> None:
    first = jobs.add(reachable[:2], into=tmp_path / "data", max_rate_mbps=1, workers=4)
    second = jobs.add(reachable[2:], into=tmp_path / "data")
    child = runner()
    until(lambda: jobs.table.job(first.id).state == "IN_PROGRESS")
    other = runner()
    child.kill()
    assert other.wait(60) == 0
    assert (jobs.job(first.id).state, jobs.job(second.id).state) == ("PAUSED", "SUCCESS")
    assert list((jobs.folder / "runners").iterdir()) == []


def test_what_a_library_prints_is_no_word_of_the_worker(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import sys\nprint('hello\\n[1]\\n{}', file=sys.stderr)\nprint(5)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    jobs.add(reachable[0], into=tmp_path / "data")
    (ended,) = jobs.run()
    assert ended.state == "SUCCESS", ended.message


def test_one_directory_under_two_names_has_one_writer(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one, other = (
        jobs.add(key, into=tmp_path / name)
        for key, name in zip(reachable[:2], ("real/x", "link/x"), strict=True)
    )
    assert one.destination == other.destination
    assert [each.state for each in jobs.run(at_once=2)] == ["SUCCESS"] * 2


def test_a_disk_that_is_gone_is_not_replaced_by_another(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    jobs.add(reachable[0], into=tmp_path / "disk" / "data")
    (tmp_path / "disk").rmdir()
    (ended,) = jobs.run()
    assert (ended.state, "is no longer there" in ended.message) == ("FAILURE", True)
    assert not (tmp_path / "disk").exists()
    jobs.plan_of(jobs.add(reachable[0], into=tmp_path / "data").id).unlink()
    (ended,) = jobs.run()
    assert (ended.state, "The plan of this job is gone" in ended.message) == ("FAILURE", True)


def test_nobody_else_reads_the_queue(jobs: dd.Jobs, reachable: list[str], tmp_path: Path) -> None:
    jobs.add([*reachable, *reachable], into=tmp_path / "data")
    assert jobs.table.path.stat().st_mode & 0o077 == 0
    assert jobs.plan_of(1).parent.stat().st_mode & 0o077 == 0
    with pytest.raises(dd.PlanError, match="keeps its own records"):
        jobs.add(reachable, into=tmp_path / "data" / ".dataset-dl" / "x")


def test_a_damaged_queue_is_an_error_in_plain_words(
    jobs: dd.Jobs, reachable: list[str], tmp_path: Path, cli: Cli
) -> None:
    jobs.add(reachable[0], into=tmp_path / "data")
    with sqlite3.connect(jobs.table.path) as connection:
        connection.execute("UPDATE jobs SET request = '{'")
    listed = cli("jobs", "list")
    assert (listed.code, "If it is damaged" in listed.err) == (5, True), listed.err
    jobs.table.path.write_bytes(b"no database at all, but something else" * 100)
    listed = cli("jobs", "list")
    assert (listed.code, "move it away" in listed.err) == (5, True), listed.err


def test_a_long_request_is_kept_short(jobs: dd.Jobs, tmp_path: Path) -> None:
    uids = list(
        dd.query("SELECT SeriesInstanceUID AS uid FROM idc_index WHERE collection_id = 'rider_pilot'").uid
    )
    job = jobs.add(uids, into=tmp_path / "data")
    assert (len(job.request["what"]), job.request["what_count"]) == (100, len(uids))


def test_a_job_is_paused_in_the_midst_of_a_query(
    jobs: dd.Jobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runner: Callable[[], subprocess.Popen[str]],
) -> None:
    """DuckDB turns what a signal raises into an error of its own."""
    site = tmp_path / "site"
    info = site / "counting-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dataset_dl.jobs]\ncounting = counting_job:count\n")
    (site / "counting_job.py").write_text(
        "from dataset_dl.duck import Database\n"
        "def count(job, plan_path, observers):\n"
        "    (job.destination / 'begun').touch()\n"
        "    Database().column('SELECT sum(hash(a.range)) FROM range(1000000) a, range(1000000)')\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setattr(JOBS, "_found", None)
    job = jobs.add_check("counting", tmp_path)
    runner()
    until((tmp_path / "begun").exists)
    time.sleep(0.5)
    jobs.pause(job.id)
    until(lambda: jobs.job(job.id).state != "IN_PROGRESS")
    assert (jobs.job(job.id).state, jobs.job(job.id).message) == ("PAUSED", "")
