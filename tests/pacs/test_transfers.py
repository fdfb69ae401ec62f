"""Transfer jobs: spreadsheets, states, workers that are killed; each instance once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_dl.destination.lock import hold
from dataset_dl.destination.paths import prepare
from dataset_dl.errors import ManifestError, SelectionError, StorageError
from dataset_dl.pacs import commandsets
from dataset_dl.pacs.association import Association
from dataset_dl.pacs.transfers import batch, recording
from dataset_dl.pacs.transfers.nouns import ENDED, STATES, Wanted
from dataset_dl.pacs.transfers.running import Running
from dataset_dl.pacs.transfers.steering import ACTIONS, Steering
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.tables import tasks
from dataset_dl.pacs.transfers.worker import Worker
from dataset_dl.pacs.transfers.working import Sums, Try, Work, pinned_key
from support.cli import PROGRAM, Cli
from support.orthanc import Orthanc
from support.patients import write_series
from support.peers import Most, Scp, raw, respond, scp
from support.postgres import postgres
from support.waiting import until

STUDIES, EACH = 12, 5


@pytest.fixture(scope="module")
def cluster(_namespace: None) -> Iterator[str]:
    with postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgres"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty queue."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.sqlite'}"
    address: str = request.getfixturevalue("cluster")
    import psycopg

    name = f"queue_{os.urandom(4).hex()}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{address.rpartition('/')[0]}/{name}"


@pytest.fixture
def store(queue: str) -> Iterator[Store]:
    made = Store(queue)
    yield made
    made.close()


@pytest.fixture(scope="module")
def filled(ward: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """WARD with twelve studies of five instances."""
    import requests

    place = tmp_path_factory.mktemp("many")
    for number in range(STUDIES):
        for path in write_series(place / str(number), f"P{number}", f"1.5.{number}", f"1.5.{number}.1", EACH):
            requests.post(f"{ward.url}/instances", data=path.read_bytes(), timeout=30).raise_for_status()
    return ward


@pytest.fixture
def target(nodes: Path) -> Iterator[Scp]:
    """A node that counts what it gets: TARGET."""
    with scp() as running:
        known = json.loads(nodes.read_text())
        nodes.write_text(json.dumps([*known, {"name": "TARGET", "dimse": running.address}]))
        yield running


def wanted(count: int = STUDIES, to: str = "TARGET") -> list[Wanted]:
    return [Wanted("WARD", to, f"P{number}", f"1.5.{number}") for number in range(count)]


def test_a_job_is_made_started_and_done(store: Store, filled: Orthanc, target: Scp) -> None:
    job = store.create("selective", wanted(3), owner="ada")
    assert (job.state, job.counts) == ("PAUSED", {"PAUSED": 3})
    Worker(store).run(until_idle=True)
    assert not target.counts
    Steering(store, "ada").act(job.id, "start")
    said: list[str] = []
    Worker(store, say=said.append).run(until_idle=True)
    job = store.job(job.id)
    assert (job.state, job.counts, job.message) == ("SUCCESS", {"SUCCESS": 3}, "3 tasks done.")
    found = store.tasks(job.id)
    assert [(each.instances, each.done, each.attempts) for each in found] == [(EACH, EACH, 1)] * 3
    assert len(target.counts) == 3 * EACH and set(target.counts.values()) == {1}
    instances = store.instances(found[0].id)
    assert [each["status"] for each in instances] == [0] * EACH
    assert {each["SOPInstanceUID"] for each in instances} <= set(target.counts)
    assert len(said) == 3 and "SUCCESS" in said[0]
    assert [each.verb for each in store.logged()] == ["start"]


def test_tasks_at_once_share_the_limit_of_a_node(store: Store, filled: Orthanc, nodes: Path) -> None:
    most, taken = Most(), []

    def serve(association: Association) -> None:
        most.begin()
        write, is_open = association._write, True

        def written(buffers: list[bytes]) -> None:
            nonlocal is_open
            if is_open and bytes(buffers[0][:1]) == b"\6":  # it is released, and the peer may come again
                is_open = False
                most.end()
            write(buffers)

        association._write = written  # type: ignore[method-assign]
        while (message := association.receive()) is not None:
            if message.command["CommandField"] == commandsets.C_STORE:
                taken.append(message.command["AffectedSOPInstanceUID"])
                time.sleep(0.05)
            respond(association, message)

    with raw(serve) as port:
        target = {"name": "TARGET", "dimse": f"dimse://A@127.0.0.1:{port}", "at_once": 1}
        nodes.write_text(json.dumps([*json.loads(nodes.read_text()), target]))
        job = store.create("selective", wanted(4), owner="ada")
        Steering(store, "ada").act(job.id, "start")
        Worker(store, at_once=3).run(until_idle=True)
    assert [(each.state, each.attempts) for each in store.tasks(job.id)] == [("SUCCESS", 1)] * 4
    assert len(taken) == len(set(taken)) == 4 * EACH and most.count == 1


def test_paused_and_resumed_each_instance_goes_once(store: Store, filled: Orthanc, target: Scp) -> None:
    target.answer = lambda number, association: time.sleep(0.02) or 0
    job = store.create("selective", wanted(), owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    worker = Worker(store)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        for count in (7, 25):
            until(lambda count=count: target.counts.total() >= count)
            steering.act(job.id, "pause")
            until(lambda: store.job(job.id).state == "PAUSED")
            sent = target.counts.total()
            time.sleep(0.3)
            assert target.counts.total() == sent < STUDIES * EACH
            steering.act(job.id, "resume")
        until(lambda: store.job(job.id).state in ENDED)
    finally:
        worker.stop()
        thread.join()
    assert store.job(job.id).state == "SUCCESS"
    assert len(target.counts) == STUDIES * EACH and set(target.counts.values()) == {1}


def test_a_worker_is_killed_and_another_one_goes_on(
    queue: str, store: Store, filled: Orthanc, target: Scp
) -> None:
    target.answer = lambda number, association: time.sleep(0.03) or 0
    job = store.create("selective", wanted(), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    command = [PROGRAM, "pacs", "jobs", "run", "--queue", queue]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: target.counts.total() >= 12)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert store.job(job.id).state == "IN_PROGRESS"
    lost = [each for each in store.tasks(job.id) if each.state == "IN_PROGRESS"]
    assert lost
    with store.writing() as connection:  # its lease would end in half a minute
        connection.execute(tasks.update().where(tasks.c.state == "IN_PROGRESS").values(lease=time.time() - 1))
    Worker(store).run(until_idle=True)
    assert store.job(job.id).state == "SUCCESS"
    assert len(target.counts) == STUDIES * EACH
    # What was on the way when the process was killed may go twice: one instance an association.
    assert sum(count > 1 for count in target.counts.values()) <= 4
    assert {each.attempts for each in store.tasks(job.id) if each.id in {task.id for task in lost}} == {2}


def test_two_workers_share_the_work(queue: str, store: Store, filled: Orthanc, target: Scp) -> None:
    target.answer = lambda number, association: time.sleep(0.05) or 0
    job = store.create("selective", wanted(), owner="ada")
    said: list[list[str]] = [[], []]
    stores = [Store(queue), Store(queue)]
    workers = [Worker(stores[each], at_once=1, say=said[each].append) for each in range(2)]
    threads = [threading.Thread(target=each.run) for each in workers]
    for each in threads:
        each.start()
    try:
        Steering(store, "ada").act(job.id, "start")
        until(lambda: store.job(job.id).state in ENDED)
    finally:
        for each in workers:
            each.stop()
        for thread in threads:
            thread.join()
        for each in stores:
            each.close()
    assert store.job(job.id).state == "SUCCESS"
    assert all(said), said
    assert set(target.counts.values()) == {1} and len(target.counts) == STUDIES * EACH


def test_a_worker_that_is_told_to_end_gives_its_tasks_back(
    store: Store, filled: Orthanc, target: Scp
) -> None:
    target.answer = lambda number, association: time.sleep(0.05) or 0
    job = store.create("selective", wanted(4), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    worker = Worker(store)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: target.counts.total() >= 3)
    worker.stop()
    thread.join(30)
    assert not thread.is_alive()
    counts = store.job(job.id).counts
    assert "IN_PROGRESS" not in counts and counts.get("PENDING")
    Worker(store).run(until_idle=True)
    assert store.job(job.id).state == "SUCCESS" and set(target.counts.values()) == {1}


def test_what_fails_is_said_and_a_retry_does_the_rest(store: Store, filled: Orthanc, target: Scp) -> None:
    refused = {"1.5.1.1.2"}
    target.answer = lambda number, association: (
        0xC000 if not refused.isdisjoint(target.counts) and number == 7 else 0
    )
    job = store.create("selective", [*wanted(2), Wanted("WARD", "TARGET", "P0", "1.5.999")], owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    Worker(store, at_once=1).run(until_idle=True)
    job = store.job(job.id)
    assert job.state == "WARNING" and "A retry does the rest." in job.message
    ended = store.tasks(job.id)
    assert [each.state for each in ended] == ["SUCCESS", "WARNING", "FAILURE"]
    assert (ended[1].done, ended[1].failed) == (EACH - 1, 1) and "C000" in ended[1].message
    assert "nothing for" in ended[2].message
    target.answer = lambda number, association: 0
    before = target.counts.copy()
    steering.act(job.id, "retry")
    Worker(store).run(until_idle=True)
    assert store.tasks(job.id)[1].state == "SUCCESS"
    assert (target.counts - before).total() == 1


def test_restart_sends_all_anew_and_delete_forgets(store: Store, filled: Orthanc, target: Scp) -> None:
    job = store.create("selective", wanted(2), owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    Worker(store).run(until_idle=True)
    steering.act(job.id, "restart")
    Worker(store).run(until_idle=True)
    assert set(target.counts.values()) == {2} and store.job(job.id).state == "SUCCESS"
    assert steering.act(job.id, "delete") is None
    assert store.jobs() == []
    assert store.instances(1) == []


def test_a_canceled_job_stops(store: Store, filled: Orthanc, target: Scp) -> None:
    target.answer = lambda number, association: time.sleep(0.05) or 0
    job = store.create("selective", wanted(), owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    worker = Worker(store)
    thread = threading.Thread(target=worker.run, kwargs={"until_idle": True})
    thread.start()
    until(lambda: target.counts.total() >= 3)
    steering.act(job.id, "cancel")
    thread.join(30)
    assert not thread.is_alive()
    job = store.job(job.id)
    assert job.state == "CANCELED" and target.counts.total() < STUDIES * EACH
    assert "IN_PROGRESS" not in job.counts and "PENDING" not in job.counts


def test_priorities_and_hours_are_kept(store: Store, nodes: Path) -> None:
    late = datetime.now() + timedelta(hours=2)
    closed = f"{late:%H}:00-{late + timedelta(hours=1):%H}:00"
    jobs = [
        store.create("selective", wanted(1), owner="ada", priority=priority, hours=hours)
        for priority, hours in ((0, ""), (5, ""), (9, closed))
    ]
    for each in jobs:
        Steering(store, "ada").act(each.id, "start")
    work = Work(store, "one")
    closed_jobs = [jobs[2].id]
    order = []
    while (taken := work.claim(closed_jobs)) is not None:
        order.append(taken[1].id)
    assert order == [jobs[1].id, jobs[0].id]
    assert Worker(store)._closed()[0] == closed_jobs
    assert work.claim([], ["WARD"]) is None
    Steering(store, "ada").prioritise(jobs[2].id, 1)
    assert store.job(jobs[2].id).priority == 1


def test_no_task_is_given_to_two(store: Store) -> None:
    job = store.create("selective", wanted(40), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    taken: list[int] = []

    def take(name: str) -> None:
        work = Work(store, name)
        while (found := work.claim()) is not None:
            taken.append(found[0].id)

    threads = [threading.Thread(target=take, args=(str(each),)) for each in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(taken) == len(set(taken)) == 40


def test_a_worker_that_lost_its_task_cannot_end_it(store: Store) -> None:
    job = store.create("selective", wanted(1), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    slow, quick = Work(store, "slow", lease_seconds=0.0), Work(store, "quick")
    taken = slow.claim()
    assert taken is not None
    time.sleep(0.01)
    assert quick.settle() == 1
    assert quick.claim() is not None
    mine = Try(taken[0].id, taken[0].attempts)
    assert slow.renew([mine]) == {mine}
    assert not slow.end(taken[0], "SUCCESS", "", Sums())
    assert store.task(taken[0].id).runner == "quick"


def test_a_worker_that_took_its_own_task_again_ends_only_the_second_try(store: Store) -> None:
    job = store.create("selective", wanted(1), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    work = Work(store, "one", lease_seconds=0.0)
    taken = work.claim()
    assert taken is not None
    time.sleep(0.01)
    assert work.settle() == 1
    again = work.claim()
    assert again is not None
    first, second = taken[0], again[0]
    tries = [Try(each.id, each.attempts) for each in (first, second)]
    assert work.renew(tries) == {tries[0]}
    work.note(first, Sums(9, 9))
    assert not work.end(first, "FAILURE", "", Sums())
    assert (store.task(first.id).state, store.task(first.id).done) == ("IN_PROGRESS", 0)
    assert work.end(second, "SUCCESS", "", Sums())


def test_a_task_waits_for_the_end_of_its_former_worker(
    store: Store, filled: Orthanc, target: Scp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset_dl.pacs.transfers.running._BUSY_SECONDS", 0.5)
    job = store.create("selective", wanted(1), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    running = Running(store, tmp_path / "way")
    place = running._place / f"task-{store.tasks(job.id)[0].id}-0"
    prepare(place)
    # Somebody else has begun it, and cannot be seen to live.
    gone = Work(store, "gone", lease_seconds=0.0)
    assert gone.claim() is not None
    time.sleep(0.01)
    assert gone.settle() == 1
    worker = Worker(store, running=running)
    thread = threading.Thread(target=worker.run)
    with hold(place):
        thread.start()
        try:
            until(lambda: "whose end it waits for" in store.tasks(job.id)[0].message)
            assert store.tasks(job.id)[0].state == "PENDING"
        except BaseException:
            worker.stop()
            raise
    try:
        until(lambda: store.job(job.id).state in ENDED)
    finally:
        worker.stop()
        thread.join()
    assert store.job(job.id).state == "SUCCESS" and set(target.counts.values()) == {1}


def test_a_restart_is_anew_on_every_machine(
    store: Store, filled: Orthanc, target: Scp, tmp_path: Path
) -> None:
    target.answer = lambda number, association: 0xC000 if number == 3 else 0
    job = store.create("selective", [Wanted("WARD", "TARGET", "", "1.5.0\\1.5.1")], owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    first, second = Running(store, tmp_path / "first"), Running(store, tmp_path / "second")
    Worker(store, running=second).run(until_idle=True)
    assert store.job(job.id).state == "WARNING"
    target.answer = lambda number, association: 0
    target.counts.clear()
    steering.act(job.id, "restart")
    work = Work(store, "first")
    taken = work.claim()
    assert taken is not None
    work.end(taken[0], *first.run(*taken, lambda: True, lambda sums: None))
    Worker(store, running=second).run(until_idle=True)
    (ended,) = store.tasks(job.id)
    assert (ended.state, ended.done) == ("SUCCESS", 2 * EACH), ended.message
    assert len(target.counts) == 2 * EACH and set(target.counts.values()) == {1}


def test_pseudonyms_are_put_in(
    store: Store, filled: Orthanc, target: Scp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_PSEUDONYM_KEY", "a key for these tests, long enough")
    both = [
        Wanted("WARD", "TARGET", "P1", "1.5.1", pseudonym="CASE-1"),
        Wanted("WARD", "TARGET", "P2", "1.5.2"),
    ]
    job = store.create("batch", both, owner="ada", options={"pseudonymise": {"dates": "remove"}})
    Steering(store, "ada").act(job.id, "start")
    Worker(store).run(until_idle=True)
    assert store.job(job.id).state == "SUCCESS"
    assert len(target.stored) == 2 * EACH and all(uid.startswith("2.25.") for uid in target.stored)
    everything = b"".join(target.stored.values())
    assert b"DOE" not in everything and everything.count(b"CASE-1") == 2 * EACH


def test_a_directory_is_a_target(store: Store, filled: Orthanc, nodes: Path, tmp_path: Path) -> None:
    place = tmp_path / "export"
    place.mkdir()
    job = store.create("selective", wanted(2, str(place)), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    Worker(store).run(until_idle=True)
    assert store.job(job.id).state == "SUCCESS", store.tasks(job.id)[0].message
    assert len(list(place.rglob("*.dcm"))) == 2 * EACH


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from([*ACTIONS, "claim", "success", "failure", "stop"]), max_size=14))
def test_no_sequence_of_actions_leaves_a_job_that_nobody_can_end(tmp_path: Path, actions: list[str]) -> None:
    """Whatever people and workers do: states are known, and a job whose tasks ended has ended."""
    store = Store(f"sqlite:///{tmp_path / os.urandom(6).hex()}.sqlite")
    job = store.create("selective", wanted(2), owner="ada")
    work, steering, mine = Work(store, "one"), Steering(store, "ada"), []
    for action in actions:
        try:
            if action == "claim":
                mine += [found[0]] if (found := work.claim()) else []
            elif action in ("success", "failure", "stop"):
                states = {"success": "SUCCESS", "failure": "FAILURE", "stop": "PENDING"}
                if mine:
                    work.end(mine.pop(), states[action], "", Sums())  # type: ignore[arg-type]
            elif steering.act(job.id, action) is None:
                assert store.jobs() == []
                store.close()
                return
        except SelectionError:
            continue
        now = store.job(job.id)
        assert now.state in STATES and sum(now.counts.values()) == 2
        running = now.counts.get("IN_PROGRESS", 0)
        assert running == len(mine)
        if now.state in ENDED:
            assert not running and not now.counts.get("PENDING")
        if now.state == "PAUSED":
            assert not running
        if running:
            assert now.state == "IN_PROGRESS"
    store.close()


def sheet(path: Path, rows: list[tuple[object, ...]]) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (batch.COLUMNS, *rows):
        book.active.append(row)
    book.save(path)
    return path


def test_a_thousand_rows_of_which_some_are_wrong(tmp_path: Path, nodes: Path, cli: Cli) -> None:
    rows: list[tuple[object, ...]] = [
        (f"P{number}", f"1.6.{number}", "", f"C{number}") for number in range(1000)
    ]
    wrong = range(7, 1000, 20)
    for number in wrong:
        rows[number] = (f"P{number}", f"not a UID {number}", "", "")
    path = sheet(tmp_path / "many.xlsx", rows)
    found, bad = batch.looked_at(path, path.read_bytes(), "WARD", "TARGET")
    assert [each.row for each in bad] == [number + 2 for number in wrong]
    assert len(found) == 1000 - len(wrong)
    refused = cli("pacs", "batch", path, "--from", "WARD", "--to", "RESEARCH", "--pseudonymise")
    assert refused.code == 2 and "50 rows of" in refused.err and "row 9: “not a UID 7” is no" in refused.err
    assert cli("pacs", "jobs", "list", "--format", "json").json == []


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (("P1", "1.2.1", "", "A"), "row 2 has the same study as a whole"),
        (("P2", "1.2.1", "1.2.1.9", "A"), "row 2 has the same study with another PatientID"),
        (("P1", "1.2.1", "1.2.1.9", "B"), "row 2 has the same study with another Pseudonym"),
        (("P1", "1.2.2", "", "B"), "row 2 has the same PatientID with another Pseudonym"),
        (("P2", "1.2.2", "", "A"), "row 2 has the same Pseudonym for another PatientID"),
        (("", "1.2.2", "", "A"), "row 2 has the same Pseudonym for another study, and it has no PatientID"),
        (("P*", "1.2.2", "", ""), "wildcard"),
        (("P2", "", "1.2.3", ""), "no StudyInstanceUID"),
        (("P2", "1.2.3", "1.x", ""), "is no SeriesInstanceUID"),
        (("P2", "1.2.3", "", "Ä"), "what no PatientID can hold"),
    ],
)
def test_rows_that_contradict_are_named(tmp_path: Path, second: tuple[str, ...], reason: str) -> None:
    path = sheet(tmp_path / "two.xlsx", [("P1", "1.2.1", "", "A"), second])
    with pytest.raises(ManifestError, match="row 3: ") as caught:
        batch.read(path, path.read_bytes(), "WARD", "TARGET")
    assert reason in str(caught.value) and caught.value.line == 3


def test_studies_without_a_patient_do_not_share_a_pseudonym(tmp_path: Path) -> None:
    path = sheet(tmp_path / "two.xlsx", [("", "1.2.1", "", "A"), ("", "1.2.2", "", "A")])
    with pytest.raises(ManifestError, match="row 3: row 2 has the same Pseudonym for another study"):
        batch.read(path, path.read_bytes(), "WARD", "TARGET")
    path = sheet(tmp_path / "one.xlsx", [("", "1.2.1", "1.2.1.1", "A"), ("", "1.2.1", "1.2.1.2", "A")])
    assert len(batch.read(path, path.read_bytes(), "WARD", "TARGET")) == 1


def test_series_of_one_study_are_one_task(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_text("patient;study uid;series uid\n007;1.2.1;1.2.1.1\n007;1.2.1;1.2.1.2\n008;1.2.2;\n")
    found = batch.read(path, path.read_bytes(), "WARD", "TARGET")
    assert [(each.PatientID, each.SeriesInstanceUIDs, each.row) for each in found] == [
        ("007", ("1.2.1.1", "1.2.1.2"), 2), ("008", (), 4),
    ]  # fmt: skip


def test_pseudonyms_without_the_option_are_refused(tmp_path: Path, nodes: Path, cli: Cli) -> None:
    path = sheet(tmp_path / "one.xlsx", [("P1", "1.2.1", "", "A")])
    refused = cli("pacs", "batch", path, "--from", "WARD", "--to", "RESEARCH")
    assert refused.code == 2 and "would keep their names" in refused.err
    same = cli("pacs", "batch", path, "--from", "WARD", "--to", "WARD", "--pseudonymise")
    assert same.code == 2 and "where it comes from" in same.err


def test_the_command_line(filled: Orthanc, target: Scp, tmp_path: Path, cli: Cli) -> None:
    path = sheet(tmp_path / "two.xlsx", [("P1", "1.5.1", "", ""), ("P2", "1.5.2", "1.5.2.1", "")])
    made = cli("pacs", "batch", path, "--from", "WARD", "--to", "TARGET", "--name", "trial 7")
    assert made.code == 0 and "Transfer job 1: 2 tasks" in made.out
    early = cli("pacs", "jobs", "resume", 9)
    assert early.code == 2 and "no transfer job 9" in early.err
    assert "is PENDING" in cli("pacs", "jobs", "start", 1).out
    assert cli("pacs", "jobs", "priority", 1, 7).code == 0
    assert cli("pacs", "jobs", "verify", 1).code == 0
    done = cli("pacs", "jobs", "run")
    assert done.code == 0 and done.err.count("SUCCESS") == 2
    listed = cli("pacs", "jobs", "list", "--format", "json").json
    assert [(each["state"], each["name"], each["priority"]) for each in listed] == [("SUCCESS", "trial 7", 7)]
    assert listed[0]["verified_by"]
    shown = cli("pacs", "jobs", "show", 1, "--format", "json").json
    assert [each["done"] for each in shown] == [EACH, EACH]
    instances = cli("pacs", "jobs", "show", 1, "--task", shown[0]["id"], "--format", "json").json
    assert len(instances) == EACH
    log = cli("pacs", "jobs", "log", "--format", "json").json
    assert [each["verb"] for each in log] == ["verify", "prioritise", "start", "create"]
    added = cli("pacs", "jobs", "add", "--from", "WARD", "--to", "TARGET", "--patient-id", "P3", "--start")
    assert added.code == 0 and "Transfer job 2: 1 task" in added.out
    lacking = sheet(tmp_path / "none.xlsx", [("P1", "1.5.777", "", "")])
    assert cli("pacs", "batch", lacking, "--from", "WARD", "--to", "TARGET", "--start").code == 0
    failed = cli("pacs", "jobs", "run")
    assert failed.code == 3 and "pacs jobs retry" in failed.err
    assert cli("pacs", "jobs", "delete", 3).code == 0
    secret = cli("pacs", "jobs", "list", "--queue", "postgresql://u:geheim@h/db")
    assert secret.code == 2 and "geheim" not in secret.err


def test_a_database_that_is_away_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("postgresql://u:geheim@127.0.0.1:1/db")
    with pytest.raises(StorageError) as caught:
        store.jobs()
    assert "geheim" not in str(caught.value)


def test_two_machines_make_the_tables_at_once(queue: str) -> None:
    stores = [Store(queue) for _ in range(4)]
    threads = [threading.Thread(target=each.jobs) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.create("selective", wanted(1), owner="a").id for each in stores] == [1, 2, 3, 4]
    for each in stores:
        each.close()


def test_what_the_attacker_found_about_states(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose last task ended while it was to be paused has ended; nothing starts unverified."""
    steering, work = Steering(store, "ada"), Work(store, "one")
    job = store.create("selective", wanted(1), owner="ada")
    steering.act(job.id, "start")
    taken = work.claim()
    assert taken is not None
    steering.act(job.id, "pause")
    work.end(taken[0], "SUCCESS", "", Sums())
    assert store.job(job.id).state == "SUCCESS"
    monkeypatch.setenv("DATASET_DL_MUST_VERIFY", "1")
    other = store.create("selective", wanted(1), owner="ada")
    steering = Steering(store, "ada")
    steering.act(other.id, "cancel")
    for action in ("restart", "retry"):
        with pytest.raises(SelectionError, match="was not verified"):
            steering.act(other.id, action)
    steering.act(other.id, "verify")
    assert (steering.act(other.id, "restart") or job).state == "PENDING"


def test_a_restart_after_a_partial_failure_sends_all(store: Store, filled: Orthanc, target: Scp) -> None:
    target.answer = lambda number, association: 0xC000 if number == 3 else 0
    job = store.create("selective", wanted(1), owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    Worker(store).run(until_idle=True)
    assert store.job(job.id).state == "FAILURE" or store.job(job.id).state == "WARNING"
    target.answer = lambda number, association: 0
    target.counts.clear()
    steering.act(job.id, "restart")
    Worker(store).run(until_idle=True)
    assert store.job(job.id).state == "SUCCESS" and len(target.counts) == EACH


def test_a_series_that_is_not_there_is_said(store: Store, filled: Orthanc, target: Scp) -> None:
    task = Wanted("WARD", "TARGET", "P1", "1.5.1", ("1.5.1.1", "1.5.1.777"))
    job = store.create("batch", [task], owner="ada")
    Steering(store, "ada").act(job.id, "start")
    Worker(store).run(until_idle=True)
    (ended,) = store.tasks(job.id)
    assert ended.state == "WARNING" and "WARD has no series 1.5.1.777" in ended.message


def test_a_node_that_is_down_is_asked_again(store: Store, filled: Orthanc, target: Scp, nodes: Path) -> None:
    known = json.loads(nodes.read_text())
    kept = nodes.read_text()
    nodes.write_text(
        json.dumps(
            [
                {**each, "dimse": "dimse://A@127.0.0.1:1"} if each["name"] == "TARGET" else each
                for each in known
            ]
        )
    )
    job = store.create("selective", wanted(1), owner="ada")
    Steering(store, "ada").act(job.id, "start")
    worker = Worker(store, running=Running(store, pause_seconds=0.5))
    thread = threading.Thread(target=worker.run, kwargs={"until_idle": True})
    thread.start()
    until(lambda: "It is tried again at" in store.tasks(job.id)[0].message)
    nodes.write_text("not JSON")
    time.sleep(0.7)
    nodes.write_text(kept)
    thread.join(60)
    assert not thread.is_alive() and store.job(job.id).state == "SUCCESS"


@pytest.mark.parametrize("patience_seconds", [20.0, 0.0])
def test_a_database_that_is_away_for_a_moment_fails_no_task(
    cluster: str, filled: Orthanc, target: Scp, monkeypatch: pytest.MonkeyPatch, patience_seconds: float
) -> None:
    import psycopg

    monkeypatch.setattr(recording, "_PATIENCE_SECONDS", patience_seconds)
    monkeypatch.setattr("dataset_dl.pacs.transfers.running._QUEUE_SECONDS", 0.5)
    name = f"away_{os.urandom(4).hex()}"
    store = Store(f"{cluster.rpartition('/')[0]}/{name}")
    target.answer = lambda number, association: time.sleep(0.05) or 0
    with psycopg.connect(cluster, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        job = store.create("selective", wanted(4), owner="ada")
        Steering(store, "ada").act(job.id, "start")
        said: list[str] = []
        worker = Worker(store, say=said.append)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            until(lambda: target.counts.total() >= 3)
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            time.sleep(2)
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            until(lambda: store.job(job.id).state in ENDED)
        finally:
            worker.stop()
            thread.join()
    ended = store.tasks(job.id)
    store.close()
    assert [(each.state, each.done) for each in ended] == [("SUCCESS", EACH)] * 4, said
    assert not any("bug" in words for words in said)
    assert len(target.counts) == 4 * EACH
    # What was on its way has no answer: one instance an association.
    assert sum(count - 1 for count in target.counts.values()) <= 4


def test_another_key_leaves_a_job_to_others(
    store: Store, filled: Orthanc, target: Scp, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create("selective", wanted(2), owner="ada", options={"pseudonymise": {}})
    Steering(store, "ada").act(job.id, "start")
    pinned_key(store, job.id, "of another worker")
    monkeypatch.setenv("DATASET_DL_PSEUDONYM_KEY", "a key for these tests, long enough")
    worker = Worker(store, at_once=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: "begun with another key" in store.tasks(job.id)[0].message)
    worker.stop()
    thread.join()
    assert not target.counts and store.job(job.id).counts == {"PENDING": 2}


def test_what_a_deleted_job_has_left_goes(store: Store, filled: Orthanc, target: Scp, tmp_path: Path) -> None:
    target.answer = lambda number, association: 0xC000
    job = store.create("selective", wanted(1), owner="ada")
    steering = Steering(store, "ada")
    steering.act(job.id, "start")
    running = Running(store, tmp_path / "way")
    Worker(store, running=running).run(until_idle=True)
    assert list((tmp_path / "way").rglob("*.dcm"))
    steering.act(job.id, "delete")
    Worker(store, running=running).run(until_idle=True)
    assert not list((tmp_path / "way").rglob("*.dcm"))


def test_large_numbers_and_instances_are_kept(store: Store) -> None:
    from dataset_dl.pacs.ledger import Entry
    from dataset_dl.pacs.transfers.recording import TaskLedger

    job = store.create("selective", wanted(1), owner="ada")
    ledger = TaskLedger(store, store.tasks(job.id)[0].id)
    ledger.record([Entry("sent", "TARGET", "a", "1.2", "1.2", "1.2", 0, "", b"", 5_000_000_000, 0.0)])
    assert ledger.sums(1).done == 1
    with pytest.raises(SelectionError, match="no transfer job"):
        store.job(1 << 40)


def test_columns_that_are_nearly_known_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "german.csv"
    path.write_text("StudyInstanceUID,Serien-UID,Pseudonyme,Bemerkung\n1.2.1,1.2.1.1,A,x\n")
    with pytest.raises(ManifestError, match="Serien-UID"):
        batch.read(path, path.read_bytes(), "WARD", "TARGET")
    path.write_text("StudyInstanceUID,Bemerkung\n1.2.1,x\n")
    assert len(batch.read(path, path.read_bytes(), "WARD", "TARGET")) == 1


@pytest.mark.parametrize("area", ["C3:ZZ500000", "C3:XFD9"])
def test_a_sheet_that_is_larger_than_any_list_is_refused(tmp_path: Path, area: str) -> None:
    path = sheet(tmp_path / "small.xlsx", [("P1", "1.2.1", "", "")])
    unpacked = tmp_path / "large.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(unpacked, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.startswith("xl/worksheets/"):
                merged = f'</sheetData><mergeCells count="1"><mergeCell ref="{area}"/></mergeCells>'
                data = data.replace(b"</sheetData>", merged.encode())
            new.writestr(name, data)
    with pytest.raises(ManifestError, match="larger than any list"):
        batch.read(unpacked, unpacked.read_bytes(), "WARD", "TARGET")
