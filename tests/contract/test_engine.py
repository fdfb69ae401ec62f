"""What every engine keeps to, and what a transfer makes of it: run on the fake and on real s5cmd."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.cluster import DaskEngine
from dataset_dl.engines.curl.engine import CurlEngine
from dataset_dl.engines.protocol import Engine
from dataset_dl.engines.s5cmd.binary import require
from dataset_dl.engines.s5cmd.engine import S5cmdEngine
from dataset_dl.errors import NetworkError
from dataset_dl.model.events import CommandFailed, Event, FileCompleted, Finished, SeriesCompleted, Waiting
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Fetch, Pause
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.testing import LocalBucket
from dataset_dl.transfer import transfer
from support.engines import ScriptedEngine
from support.settings import settings

NOWHERE = "http://127.0.0.1:9"
MakeEngine = Callable[..., Engine]


@pytest.fixture(params=["scripted", "s5cmd", "curl", "dask"])
def make(request: pytest.FixtureRequest, own: LocalBucket) -> MakeEngine:
    def scripted(*, reachable: bool = True) -> Engine:
        return ScriptedEngine(own, reachable=reachable)

    def s5cmd(*, reachable: bool = True) -> Engine:
        network = NetworkSettings(endpoint_url=own.endpoint_url if reachable else NOWHERE)
        return S5cmdEngine(require(), network, workers=8)

    def curl(*, reachable: bool = True) -> Engine:
        return CurlEngine(NetworkSettings(endpoint_url=own.endpoint_url if reachable else NOWHERE))

    def dask(*, reachable: bool = True) -> Engine:
        network = NetworkSettings.gather(endpoint_url=own.endpoint_url if reachable else NOWHERE)
        engine = DaskEngine(request.getfixturevalue("dask_client"))
        return engine.configured(DownloadSettings(), network)

    if request.param == "scripted":
        return scripted
    own.serve()
    return {"s5cmd": s5cmd, "curl": curl, "dask": dask}[request.param]


def children() -> list[psutil.Process]:
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "s5cmd" in each.name() or "dataset_dl.engines" in " ".join(each.cmdline()):
                found.append(each)
    return found


def plan_of(bucket: LocalBucket, layout: str | None = None) -> Plan:
    return planned(tuple(each.crdc_series_uuid for each in bucket.series), layout)


@functools.cache
def planned(uuids: tuple[str, ...], layout: str | None) -> Plan:
    return dd.plan(uuids, layout=layout)


def put(path: Path, data: bytes) -> None:
    """Write a new file; the old one is a link to that of all tests."""
    path.unlink()
    path.write_bytes(data)


def run(plan: Plan, target: Path, engine: Engine) -> tuple[list[Event], Report]:
    events = list(transfer(plan, target, lambda scheme: engine, pause_seconds=0))
    assert isinstance(events[-1], Finished)
    return events, events[-1].report


def test_a_series_is_begun_only_when_there_is_room(
    make: MakeEngine, own: LocalBucket, tmp_path: Path
) -> None:
    """Each series is given when the one before it is complete, and some time after that."""
    rows = list(plan_of(own))
    seen: Counter[str] = Counter()
    begun: list[str] = []

    def fetches() -> Iterator[Fetch | Pause]:
        for number, row in enumerate(rows):
            for earlier in rows[:number]:
                while seen[earlier.key] < earlier.expected_instances:
                    yield Pause(is_idle=False)
            for _ in range(5):
                yield Pause(is_idle=True)
            begun.append(row.key)
            yield Fetch(row)

    waited = 0
    with closing(make().run(fetches(), tmp_path)) as events:  # type: ignore[type-var]
        for event in events:
            waited += isinstance(event, Waiting)
            if isinstance(event, FileCompleted):
                assert event.key == begun[-1]
                seen[event.key] += 1
    assert seen == Counter({row.key: row.expected_instances for row in rows})
    assert waited


def same_files(bucket: LocalBucket, plan: Plan, target: Path) -> bool:
    return all(
        (target / row.directory / file.name).read_bytes() == file.read_bytes()
        for row in plan
        for file in bucket.series_directory(row).iterdir()
    )


def test_every_file_is_told_once_and_is_there(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    plan = plan_of(own, "%PatientID/-it's $(%SeriesInstanceUID)")
    (tmp_path / "to").mkdir()
    told = [
        event for event in make().run(map(Fetch, plan), tmp_path / "to") if isinstance(event, FileCompleted)
    ]
    assert len(told) == len({event.path for event in told}) == plan.instance_count
    for event in told:
        assert (tmp_path / "to" / event.path).stat().st_size == event.size_bytes
    assert sum(event.size_bytes for event in told) == plan.size_bytes
    assert same_files(own, plan, tmp_path / "to")


def test_a_series_that_is_not_there_is_told(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    plan = plan_of(own)
    gone = own.series[1]
    shutil.rmtree(own.series_directory(gone))
    (tmp_path / "to").mkdir()
    events = list(make().run(map(Fetch, plan), tmp_path / "to"))
    failed = [event for event in events if isinstance(event, CommandFailed)]
    assert [(event.key, event.cause) for event in failed] == [(gone.crdc_series_uuid, "not_found")]


def test_closing_it_stops_it(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with closing(make().run(map(Fetch, plan_of(own)), tmp_path / "to")) as events:  # type: ignore[type-var]
        next(event for event in events if isinstance(event, FileCompleted))
    assert not children()
    assert not [path for path in (tmp_path / "to").rglob("*") if path.is_file() and path.suffix != ".dcm"]


def test_an_endpoint_that_is_not_there_is_told_by_the_probe(own: LocalBucket, make: MakeEngine) -> None:
    make().probe(own.series[0].series_aws_url)
    with pytest.raises(NetworkError):
        make(reachable=False).probe(own.series[0].series_aws_url)


def test_a_transfer_ends_in_verified_files(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    plan = plan_of(own)
    events, report = run(plan, tmp_path / "to", make())
    assert report.ok
    assert (report.complete_series, report.fetched_bytes) == (3, plan.size_bytes)
    assert sum(isinstance(event, SeriesCompleted) for event in events) == 3
    assert same_files(own, plan, tmp_path / "to")


def test_a_transfer_tells_what_failed(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    gone, cut = own.series[0], own.series[2]
    shutil.rmtree(own.series_directory(gone))
    object_path = min(own.series_directory(cut).iterdir())
    put(object_path, object_path.read_bytes()[:-2])
    _, report = run(plan_of(own), tmp_path / "to", make())
    assert not report.ok
    assert {each.planned.crdc_series_uuid: each.cause for each in report.failures} == {
        gone.crdc_series_uuid: "not_found",
        cut.crdc_series_uuid: "truncated",
    }
    assert report.complete_series == 1
    again = dd.plan(tmp_path / "to" / ".dataset-dl" / "failed.csv")
    assert {row.crdc_series_uuid for row in again} == {gone.crdc_series_uuid, cut.crdc_series_uuid}


def test_a_second_run_fetches_only_what_is_missing(
    own: LocalBucket, make: MakeEngine, tmp_path: Path
) -> None:
    plan = plan_of(own)
    run(plan, tmp_path / "to", make())
    file = min((tmp_path / "to").rglob("*.dcm"))
    file.write_bytes(file.read_bytes()[:-2])
    (file.parent / (file.name + "1234")).write_bytes(b"left behind")
    _, report = run(plan, tmp_path / "to", make())
    assert report.ok
    assert report.fetched_series == 1
    assert same_files(own, plan, tmp_path / "to")
    assert not list((tmp_path / "to").rglob("*.dcm?*"))


def test_only_what_is_missing_of_a_series_is_fetched(
    own: LocalBucket, make: MakeEngine, tmp_path: Path
) -> None:
    plan = plan_of(own)
    run(plan, tmp_path / "to", make())
    gone = sorted((tmp_path / "to").rglob("*.dcm"))[5:7]
    for file in gone:
        file.unlink()
    events, report = run(plan, tmp_path / "to", make())
    assert report.ok
    told = [event.path.removeprefix("./") for event in events if isinstance(event, FileCompleted)]
    assert sorted(told) == [file.relative_to(tmp_path / "to").as_posix() for file in gone]
    assert same_files(own, plan, tmp_path / "to")


def test_a_link_in_place_of_a_file_is_replaced_not_followed(
    own: LocalBucket, make: MakeEngine, tmp_path: Path
) -> None:
    plan = plan_of(own)
    run(plan, tmp_path / "to", make())
    file = min((tmp_path / "to").rglob("*.dcm"))
    outside = tmp_path / "outside"
    outside.write_text("mine")
    file.unlink()
    file.symlink_to(outside)
    assert run(plan, tmp_path / "to", make())[1].ok
    assert outside.read_text() == "mine"
    assert not file.is_symlink()
    assert same_files(own, plan, tmp_path / "to")


def test_it_says_what_the_store_holds(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    gone, *rest = own.series
    shutil.rmtree(own.series_directory(gone))
    answer = make().objects(own.series)
    assert set(answer) == {each.crdc_series_uuid for each in rest}
    for each in rest:
        assert {tuple(found) for found in answer[each.crdc_series_uuid]} == {
            (file.name, file.stat().st_size, hashlib.md5(file.read_bytes()).hexdigest())
            for file in own.series_directory(each).iterdir()
        }


def test_checksums_are_compared(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    plan = plan_of(own)
    run(plan, tmp_path / "to", make())
    file = min((tmp_path / "to").rglob("*.dcm"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert run(plan, tmp_path / "to", make())[1].fetched_series == 0
    events = list(transfer(plan, tmp_path / "to", lambda scheme: make(), settings(md5=True), pause_seconds=0))
    assert sum(isinstance(event, FileCompleted) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].report.ok
    assert same_files(own, plan, tmp_path / "to")


def test_nothing_is_asked_when_nothing_is_missing(own: LocalBucket, make: MakeEngine, tmp_path: Path) -> None:
    plan = plan_of(own)
    run(plan, tmp_path / "to", make())

    def never(scheme: str) -> Engine:
        raise AssertionError("an engine was made")

    *_, last = transfer(plan, tmp_path / "to", never)
    assert isinstance(last, Finished)
    assert last.report.ok
    assert last.report.fetched_series == 0


@pytest.mark.parametrize("layout", [".", "%PatientID"])
def test_series_that_share_a_directory(
    own: LocalBucket, make: MakeEngine, tmp_path: Path, layout: str
) -> None:
    plan = plan_of(own, layout)
    cut = own.series[1]
    object_path = min(own.series_directory(cut).iterdir())
    whole = object_path.read_bytes()
    put(object_path, whole[:-2])
    _, report = run(plan, tmp_path / "to", make())
    assert [each.planned.crdc_series_uuid for each in report.failures] == [cut.crdc_series_uuid]
    put(object_path, whole)
    _, report = run(plan, tmp_path / "to", make())
    assert report.ok
    assert same_files(own, plan, tmp_path / "to")
    assert run(plan, tmp_path / "to", make())[1].fetched_series == 0
