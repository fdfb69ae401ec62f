"""What a second run makes of what is there: the disk first, the journal where it may, the store for the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.destination.journal import Journal
from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import StorageError
from dataset_dl.model.events import (
    CommandFailed,
    EngineEnded,
    Event,
    FileCompleted,
    Finished,
    Noticed,
    SeriesCompleted,
)
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Fetch, PlannedSeries, StoredObject
from dataset_dl.testing import LocalBucket
from dataset_dl.transfer import transfer
from support.engines import ScriptedEngine
from support.plans import plan_of, row
from support.settings import settings
from support.stores import Store


@pytest.fixture(scope="module")
def plan(bucket: LocalBucket) -> Plan:
    return dd.plan([each.crdc_series_uuid for each in bucket.series])


def events_of(plan: Plan, target: Path, engine: Engine, **options: object) -> list[Event]:
    return list(transfer(plan, target, lambda scheme: engine, settings(**options), pause_seconds=0))


def run(plan: Plan, target: Path, engine: Engine, **options: object) -> Report:
    last = events_of(plan, target, engine, **options)[-1]
    assert isinstance(last, Finished)
    return last.report


def no_engine(scheme: str) -> Engine:
    raise AssertionError("an engine was made")


def files(target: Path, plan: Plan, number: int) -> list[Path]:
    return sorted((target / list(plan)[number].directory).glob("*.dcm"))


def same(bucket: LocalBucket, plan: Plan, target: Path) -> bool:
    return all(
        (target / each.directory / file.name).read_bytes() == file.read_bytes()
        for each in plan
        for file in bucket.series_directory(each).iterdir()
    )


@pytest.mark.parametrize("layout", [None, "%PatientID"])
def test_only_the_missing_files_of_a_series_are_fetched(
    bucket: LocalBucket, tmp_path: Path, layout: str | None
) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], layout=layout)
    run(plan, tmp_path, ScriptedEngine(bucket))
    gone = files(tmp_path, plan, 1)[3:5]
    for file in gone:
        file.unlink()
    engine = ScriptedEngine(bucket)
    assert run(plan, tmp_path, engine).ok
    assert sorted(engine.files) == [file.name for file in gone]
    report = run(plan, tmp_path, engine)
    assert (report.fetched_series, report.fetched_bytes) == (0, 0)
    assert same(bucket, plan, tmp_path)


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"xx")


def replace(file: Path) -> None:
    file.unlink()
    file.write_text("by hand")


def remove(file: Path) -> None:
    file.unlink()


def link(file: Path) -> None:
    other = file.with_suffix(".elsewhere")
    file.rename(other)
    file.symlink_to(other)


@pytest.mark.parametrize("spoil", [shorten, lengthen, replace, remove, link])
def test_the_journal_loses_against_the_disk(
    bucket: LocalBucket, plan: Plan, tmp_path: Path, spoil: object
) -> None:
    run(plan, tmp_path, ScriptedEngine(bucket))
    file = files(tmp_path, plan, 2)[7]
    spoil(file)  # type: ignore[operator]
    engine = ScriptedEngine(bucket)
    assert run(plan, tmp_path, engine).ok
    assert engine.files == [file.name]
    assert same(bucket, plan, tmp_path)
    assert not file.is_symlink()


def test_two_wrong_files_that_cancel_out_are_beyond_a_look_but_not_beyond_md5(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    run(plan, tmp_path, ScriptedEngine(bucket))
    shorten(files(tmp_path, plan, 0)[0])
    lengthen(files(tmp_path, plan, 0)[1])
    engine = ScriptedEngine(bucket)
    assert run(plan, tmp_path, engine).ok
    assert engine.files == []
    assert run(plan, tmp_path, engine, md5=True).ok
    assert len(engine.files) == 2
    assert same(bucket, plan, tmp_path)


def test_a_damaged_journal_is_set_aside_and_said(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, ScriptedEngine(bucket))
    (tmp_path / ".dataset-dl" / "journal.sqlite").write_bytes(b"damaged" * 1000)
    events = list(transfer(plan, tmp_path, no_engine))
    (noticed,) = [event.text for event in events if isinstance(event, Noticed)]
    assert "journal.damaged" in noticed
    assert isinstance(events[-1], Finished)
    assert events[-1].report.ok
    with Journal(tmp_path / ".dataset-dl" / "journal.sqlite") as journal:
        assert all(journal.holds(each) for each in plan)


def test_a_trusted_journal_is_believed_and_the_report_says_so(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    run(plan, tmp_path, ScriptedEngine(bucket))
    remove(files(tmp_path, plan, 0)[0])
    *_, last = transfer(plan, tmp_path, no_engine, settings(trust_journal=True))
    assert isinstance(last, Finished)
    assert last.report.trusted_series == last.report.series_count == 4
    report = run(plan, tmp_path, ScriptedEngine(bucket))
    assert (report.trusted_series, report.fetched_series) == (0, 1)


def test_what_a_look_found_wrong_is_not_trusted_later(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    run(plan, tmp_path, ScriptedEngine(bucket))
    remove(files(tmp_path, plan, 0)[0])

    def broken(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        yield CommandFailed(series.crdc_series_uuid, "access_denied", "403")

    failing = ScriptedEngine(bucket, {next(iter(plan)).crdc_series_uuid: broken})
    assert len(run(plan, tmp_path, failing).failures) == 1
    report = run(plan, tmp_path, ScriptedEngine(bucket), trust_journal=True)
    assert (report.trusted_series, report.fetched_series) == (3, 1)


def test_an_adopted_tree_has_a_journal(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket)
    for each in plan:
        list(engine.fetch(each, tmp_path / each.directory))
    list(transfer(plan, tmp_path, no_engine))
    *_, last = transfer(plan, tmp_path, no_engine, settings(trust_journal=True))
    assert isinstance(last, Finished)
    assert last.report.trusted_series == 4


@pytest.mark.parametrize("layout", [".", "%PatientID"])
def test_a_second_selection_into_a_shared_directory_disturbs_nothing(
    bucket: LocalBucket, tmp_path: Path, layout: str
) -> None:
    first, second, both = (
        dd.plan([each.crdc_series_uuid for each in some], layout=layout)
        for some in (bucket.series[:2], bucket.series[2:], bucket.series)
    )
    run(first, tmp_path, ScriptedEngine(bucket))
    engine = ScriptedEngine(bucket)
    assert run(second, tmp_path, engine).fetched_series == 2
    assert engine.asked == [each.crdc_series_uuid for each in bucket.series[2:]]
    for plan in (first, second, both):
        *_, last = transfer(plan, tmp_path, no_engine)
        assert isinstance(last, Finished)
        assert last.report.ok
    assert dd.verify(tmp_path).ok


def test_a_shared_tree_without_its_journal_is_told_by_the_store(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], layout=".")
    run(plan, tmp_path, ScriptedEngine(bucket))
    shutil.rmtree(tmp_path / ".dataset-dl")
    gone = min(tmp_path.glob("*.dcm"))
    gone.unlink()
    engine = ScriptedEngine(bucket)
    assert run(plan, tmp_path, engine).ok
    assert engine.files == [gone.name]


def test_a_wrong_file_does_not_stay_under_its_name(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket)

    def page(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        told = list(engine.fetch(series, directory))
        shorten(min(directory.glob("*.dcm")))
        yield from told

    engine.script[next(iter(plan)).crdc_series_uuid] = page
    report = run(plan, tmp_path, engine, retries=1)
    (failure,) = report.failures
    assert failure.cause == "truncated"
    assert failure.may_pass
    assert failure.present_instances == 80
    assert len(files(tmp_path, plan, 0)) == 80


def test_a_page_does_not_stay_even_where_the_store_cannot_be_asked(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    class Mute(ScriptedEngine):
        def listed(self, series: PlannedSeries) -> list[StoredObject]:
            return []

    engine = Mute(bucket)

    def page(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        told = list(engine.fetch(series, directory))
        min(directory.glob("*.dcm")).write_text("<html>Sign in</html>")
        yield from told

    engine.script[next(iter(plan)).crdc_series_uuid] = page
    assert len(run(plan, tmp_path, engine, retries=0).failures) == 1
    assert len(files(tmp_path, plan, 0)) == 80


def test_a_flipped_bit_is_found_by_md5_and_fetched_again(
    bucket: LocalBucket, plan: Plan, tmp_path: Path
) -> None:
    engine = ScriptedEngine(bucket)
    tries = []

    def flips_once(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        tries.append(series)
        told = list(engine.fetch(series, directory, None if len(tries) == 1 else [flipped]))
        if len(tries) == 1:
            path = directory / flipped
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
        yield from told

    first = next(iter(plan))
    flipped = min(bucket.series_directory(first).iterdir()).name
    engine.script[first.crdc_series_uuid] = flips_once
    events = events_of(plan, tmp_path, engine, md5=True)
    assert isinstance(events[-1], Finished)
    assert events[-1].report.ok
    assert sum(isinstance(event, SeriesCompleted) for event in events) == 4
    assert len(tries) == 2
    assert same(bucket, plan, tmp_path)
    shutil.rmtree(tmp_path / ".dataset-dl")
    report = run(plan, tmp_path, engine, md5=True)
    assert (report.complete_series, report.fetched_series, report.fetched_bytes) == (4, 0, 0)


def test_a_bit_that_stays_flipped_is_a_failure(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    engine = ScriptedEngine(bucket)

    def flips(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        told = list(engine.fetch(series, directory))
        path = min(directory.glob("*.dcm"))
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        yield from told

    engine.script[next(iter(plan)).crdc_series_uuid] = flips
    report = run(plan, tmp_path, engine, md5=True, retries=1)
    assert [failure.cause for failure in report.failures] == ["altered"]
    assert report.complete_series == 3


def test_a_store_without_md5_sums_is_said(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    class Composite(ScriptedEngine):
        def listed(self, series: PlannedSeries) -> list[StoredObject]:
            return [each._replace(etag="CJ3v+aTn3ooDEAE=") for each in super().listed(series)]

    events = events_of(plan, tmp_path, Composite(bucket), md5=True)
    (noticed,) = [event.text for event in events if isinstance(event, Noticed)]
    assert f"no MD5 sum for {plan.instance_count:,} files" in noticed


def many(count: int) -> Plan:
    return plan_of([row(number, count=1, size=1) for number in range(count)])


@pytest.mark.parametrize("cause", ["not_found", "network", "access_denied"])
def test_a_few_hundred_that_fail_alike_are_enough(bucket: LocalBucket, tmp_path: Path, cause: str) -> None:
    class Failing(ScriptedEngine):
        def fetch(self, series: PlannedSeries, directory: Path, names: object = None) -> Iterator[Event]:
            yield CommandFailed(series.crdc_series_uuid, cause, "says the store")  # type: ignore[arg-type]

    engine = Failing(bucket)
    report = run(many(2_000), tmp_path, engine)
    assert len(engine.asked) == len(report.failures) == 300
    assert report.untried_series == 1_700
    assert "300 series in a row failed for one reason" in report.stopped
    assert not report.ok
    kind = dd.TransferIncomplete if cause == "not_found" else dd.NetworkError
    with pytest.raises(kind, match="the others were not tried"):
        from dataset_dl.verbs.complaints import raise_for_report

        raise_for_report(report)


def test_a_gap_in_the_store_does_not_end_a_download_that_works(bucket: LocalBucket, tmp_path: Path) -> None:
    class Gaps(ScriptedEngine):
        def fetch(self, series: PlannedSeries, directory: Path, names: object = None) -> Iterator[Event]:
            if 10 <= len(self.asked) < 500:
                yield CommandFailed(series.crdc_series_uuid, "not_found", "no object found")
                return
            directory.mkdir(parents=True)
            (directory / "a.dcm").write_bytes(b"x")
            yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/a.dcm", 1)

    report = run(many(600), tmp_path, Gaps(bucket))
    assert not report.stopped
    assert len(report.failures) == 490


@pytest.mark.parametrize("how", ["moved", "emptied"])
def test_a_destination_that_vanishes_is_told(
    bucket: LocalBucket, plan: Plan, tmp_path: Path, how: str
) -> None:
    target = tmp_path / "to"
    engine = ScriptedEngine(bucket)

    def vanishes(series: PlannedSeries, directory: Path) -> Iterator[Event]:
        target.rename(tmp_path / "elsewhere")
        if how == "emptied":
            target.mkdir()
        for number in range(series.instanceCount):
            yield FileCompleted(series.crdc_series_uuid, f"{series.directory}/{number}.dcm", 1)

    engine.script[list(plan)[1].crdc_series_uuid] = vanishes
    with pytest.raises(StorageError, match="no longer there") as caught:
        run(plan, target, engine)
    assert caught.value.exit_code == 5
    if how == "emptied":
        target.rmdir() if not any(target.iterdir()) else shutil.rmtree(target)
    (tmp_path / "elsewhere").rename(target)
    assert run(plan, target, ScriptedEngine(bucket)).ok


def test_a_link_in_place_of_the_records_is_refused(bucket: LocalBucket, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    target = tmp_path / "to"
    target.mkdir()
    (target / ".dataset-dl").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="symbolic link"):
        run(plan, target, ScriptedEngine(bucket))
    assert not any((tmp_path / "outside").iterdir())


def test_a_complete_tree_on_a_read_only_disk_is_complete(
    bucket: LocalBucket, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.destination import lock

    run(plan, tmp_path, ScriptedEngine(bucket))

    def refused(destination: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(lock, "hold", refused)
    *_, last = transfer(plan, tmp_path, no_engine)
    assert isinstance(last, Finished)
    assert last.report.ok


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_twin_in_the_same_directory_is_not_taken_for_it(store: Store, tmp_path: Path) -> None:
    first, twin = store.put(directory="c/p"), store.put(directory="c/p")
    assert run(plan_of([first]), tmp_path, store).fetched_series == 1
    report = run(plan_of([twin]), tmp_path, store)
    assert (report.ok, report.fetched_series) == (True, 1)
    for each in (first, twin):
        assert store.is_right(each, tmp_path)
    shutil.rmtree(tmp_path / ".dataset-dl")
    for name in store.content[twin.crdc_series_uuid]:
        (tmp_path / "c/p" / name).unlink()
    assert run(plan_of([twin]), tmp_path, store).fetched_series == 1


def test_a_part_of_what_shares_a_directory_can_be_asked_for_alone(store: Store, tmp_path: Path) -> None:
    a, b, c = (store.put(directory="c/p", count=count) for count in (1, 2, 3))
    assert run(plan_of([a, b]), tmp_path, store).ok
    for alone in (a, b):
        report = run(plan_of([alone]), tmp_path, store)
        assert (report.ok, report.fetched_series) == (True, 0)
    assert run(plan_of([c]), tmp_path, store).fetched_series == 1
    *_, last = transfer(plan_of([a, b, c]), tmp_path, no_engine)
    assert isinstance(last, Finished)
    assert last.report.ok


def test_a_new_version_of_a_series_is_not_taken_for_the_old_one(store: Store, tmp_path: Path) -> None:
    old = store.put(directory="c/1.2.3.4.5", uid="1.2.3.4.5")
    new = store.put(directory="c/1.2.3.4.5", uid="1.2.3.4.5")
    assert run(plan_of([old]), tmp_path, store).ok
    with pytest.raises(StorageError, match=r"another version of the series 1\.2\.3\.4\.5"):
        run(plan_of([new]), tmp_path, store)
    assert dd.verify(tmp_path).ok
    for name in store.content[old.crdc_series_uuid]:
        (tmp_path / old.directory / name).unlink()
    assert run(plan_of([new]), tmp_path, store).ok
    assert store.is_right(new, tmp_path)
    found = dd.verify(tmp_path)
    assert (found.ok, found.series_count) == (True, 1)


def test_three_early_ends_are_the_end_though_a_series_fails_for_good(store: Store, tmp_path: Path) -> None:
    lacking, silent = row(900), store.put()
    runs = []

    class Stalling(Store):
        def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
            runs.append([fetch.series for fetch in fetches])
            if lacking in runs[-1]:
                yield CommandFailed(lacking.crdc_series_uuid, "not_found", "no object found")
            yield EngineEnded("s5cmd moved no byte", True, "")

    with pytest.raises(dd.ConnectionTimeout):
        run(plan_of([lacking, silent]), tmp_path, Stalling())
    assert runs == [[lacking, silent], [silent], [silent], [silent]]


def test_one_large_series_that_fails_is_one_series(store: Store, tmp_path: Path) -> None:
    large, good = store.put(count=400), store.put()

    class Failing(Store):
        def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
            for fetch in fetches:
                if fetch.series == large:
                    for _ in range(400):
                        yield CommandFailed(large.crdc_series_uuid, "server_error", "503")
                else:
                    yield from store.run([fetch], destination)

    report = run(plan_of([large, good]), tmp_path, Failing())
    assert report.stopped == ""
    assert [failure.planned for failure in report.failures] == [large]


@pytest.mark.parametrize("name", ["holder.json", "journal.sqlite", "lock", "failed.csv", "plan.parquet"])
def test_records_that_are_links_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "to" / ".dataset-dl").mkdir(parents=True)
    (tmp_path / "to" / ".dataset-dl" / name).symlink_to(precious)
    with pytest.raises(StorageError, match="symbolic link"):
        run(plan_of([store.put()]), tmp_path / "to", store)
    assert precious.read_text() == "mine"


def test_a_fork_that_ends_in_the_loop_leaves_its_parent_alone(store: Store, tmp_path: Path) -> None:
    rows = [store.put() for _ in range(3)]
    temporary = tmp_path / rows[2].directory / "00000000-0000-0000-0000-000000000000.dcm77"
    temporary.parent.mkdir(parents=True)
    events = transfer(plan_of(rows), tmp_path, lambda scheme: store, pause_seconds=0)
    next(event for event in events if isinstance(event, SeriesCompleted))
    temporary.touch()
    child = os.fork()
    if child == 0:
        events.close()  # type: ignore[attr-defined]
        os._exit(0)
    os.waitpid(child, 0)
    assert temporary.exists()
    assert (tmp_path / ".dataset-dl" / "holder.json").exists()
    temporary.unlink()
    *_, last = events
    assert isinstance(last, Finished)
    assert last.report.ok


def test_series_of_a_shared_directory_are_handed_over_with_their_own_files(
    bucket: LocalBucket, tmp_path: Path
) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], layout=".", into=tmp_path)
    for _ in range(2):
        for series in dd.stream(plan, endpoint_url=bucket.endpoint_url):
            assert {path.name for path in series.paths} == {
                path.name for path in bucket.series_directory(series.planned).iterdir()
            }
