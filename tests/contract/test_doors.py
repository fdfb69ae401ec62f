"""A toy source, engine and consumer, written against the public protocols alone, do what the real ones do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dataset_dl as dd
from dataset_dl.destination.reports import gather
from dataset_dl.doors import ENGINES, SOURCES
from dataset_dl.model.events import (
    DeliveryFailed,
    Event,
    FileCompleted,
    Finished,
    SeriesCompleted,
    SeriesDelivered,
    SeriesSized,
    Waiting,
)
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Rights
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, Series, Size, StoredObject
from dataset_dl.plans.file import PlanFile
from dataset_dl.transfer import transfer
from dataset_dl.transfer.deliver import deliver
from dataset_dl.transfer.hands import hands_of

CONTENT = {
    f"series-{number}": {
        f"{number}.{each}.dcm": hashlib.sha256(f"{number}/{each}".encode()).digest() * 9
        for each in range(number + 1)
    }
    for number in range(4)
}


class MemorySource:
    """Names series that nobody has counted."""

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        for number, key in enumerate(CONTENT):
            yield PlannedSeries(
                "toys", f"P{number}", f"1.2.{number}", f"1.2.{number}.1", "CT", None, None,
                key, f"memory://{key}", "", None, None,
            )  # fmt: skip

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        for number, row in enumerate(rows, 1):
            if row.scheme == "memory" and row.key not in CONTENT:
                yield number, f"there is no toy {row.key}"

    def rights(self, rows: PlanFile) -> Rights:
        return Rights("Toys are free.\n", "@misc{toys}\n")


class MemoryEngine:
    """Cannot list; says how much a series is when it has fetched it."""

    name, workers, lists_objects = "toy", 1, False

    def __init__(self, *, broken_after: int | None = None, fails: frozenset[str] = frozenset()) -> None:
        self.broken_after = broken_after
        self.fails = fails
        self.fetched: list[str] = []

    def probe(self, address: str) -> None:
        pass

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        return {}

    def is_unfinished(self, name: str) -> bool:
        return name.endswith(".dcm.part")

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        for fetch in fetches:
            if isinstance(fetch, Pause):
                yield Waiting()
                continue
            series = fetch.series
            if series.key in self.fails:
                continue
            self.fetched.append(series.key)
            files = CONTENT[series.key]
            directory = destination / series.directory
            directory.mkdir(parents=True, exist_ok=True)
            for number, (name, data) in enumerate(files.items()):
                if self.broken_after is not None and len(self.fetched) > self.broken_after and number:
                    (directory / f"{name}.part").write_bytes(data[:5])
                    raise KeyboardInterrupt
                (directory / name).write_bytes(data)
                yield FileCompleted(series.key, f"{series.directory}/{name}", len(data))
            yield SeriesSized(series.key, Size(len(files), sum(map(len, files.values()))))


class Shelf:
    """Keeps what it is given."""

    name = "shelf"

    def __init__(self, *, refuses: str = "", **options: Any) -> None:
        self.options: Mapping[str, Any] = options
        self.refuses = refuses
        self.taken: list[str] = []

    def take(self, series: Series) -> Mapping[str, Any]:
        if series.planned.key == self.refuses:
            raise RuntimeError("the shelf is full")
        assert [path.read_bytes() for path in series.paths] == list(CONTENT[series.planned.key].values())
        self.taken.append(series.planned.key)
        return {"files": len(series.paths)}


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    removers = [
        SOURCES.register("memory", MemorySource()),
        ENGINES.register("memory.toy", lambda settings, network: MemoryEngine()),
    ]
    yield
    for remove in removers:
        remove()


def run(plan: dd.Plan, target: Path, engine: MemoryEngine, **options: Any) -> tuple[list[Event], Report]:
    events = list(transfer(plan, target, lambda scheme: engine, pause_seconds=0, **options))
    assert isinstance(events[-1], Finished)
    return events, events[-1].report


def test_it_downloads_and_pins_what_arrives(tmp_path: Path) -> None:
    plan = dd.plan("memory://toys")
    assert (plan.series_count, plan.unsized_series, plan.instance_count) == (4, 4, 0)
    assert {row.directory for row in plan} == {f"toys/P{n}/1.2.{n}/CT_1.2.{n}.1" for n in range(4)}
    report = dd.download(plan, tmp_path / "to")
    assert report.ok
    assert (report.complete_series, report.complete_instances, report.instance_count) == (4, 10, 10)
    kept = dd.plan(tmp_path / "to")
    assert (kept.unsized_series, kept.instance_count, kept.size_bytes) == (0, 10, 10 * 288)
    assert dd.verify(tmp_path / "to").ok
    assert (tmp_path / "to" / ".dataset-dl" / "LICENSES.md").read_text() == "Toys are free.\n"
    # What was pinned is as exact as any other: a cut file is found and mended, and nothing else is fetched.
    cut = next((tmp_path / "to").rglob("3.2.dcm"))
    cut.write_bytes(b"short")
    assert not dd.verify(tmp_path / "to").ok
    engine = MemoryEngine()
    _, report = run(plan, tmp_path / "to", engine)
    assert (report.ok, engine.fetched) == (True, ["series-3"])
    assert dd.verify(tmp_path / "to").ok


def test_a_blow_costs_nothing(tmp_path: Path) -> None:
    plan, target = dd.plan("memory://toys"), tmp_path / "to"
    first = MemoryEngine(broken_after=2)
    with pytest.raises(KeyboardInterrupt):
        run(plan, target, first)
    assert not list(target.rglob("*.part"))
    again = MemoryEngine()
    events, report = run(plan, target, again)
    assert (report.ok, again.fetched) == (True, ["series-2", "series-3"])
    assert sum(isinstance(event, SeriesCompleted) and not event.fetched for event in events) == 2


def test_without_numbers_nothing_is_complete(tmp_path: Path) -> None:
    class Silent(MemoryEngine):
        def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
            return (event for event in super().run(fetches, destination) if isinstance(event, FileCompleted))

    _, report = run(dd.plan("memory://toys"), tmp_path / "to", Silent())
    assert (report.complete_series, len(report.failures)) == (0, 4)
    assert "did not say how many" in report.failures[0].message


def test_a_plan_of_its_own_is_saved_and_checked_by_its_source(tmp_path: Path) -> None:
    plan = dd.plan("memory://toys")
    for name in ("a.parquet", "a.csv"):
        plan.save(tmp_path / name)
        assert list(dd.plan(tmp_path / name)) == list(plan)
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "b.csv").write_text(text.replace("series-2", "series-9"))
    with pytest.raises(dd.ManifestError, match=r"Row 3 .* no toy series-9"):
        dd.plan(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text(text.replace("memory://", "nowhere://"))
    with pytest.raises(dd.ManifestError, match="nowhere"):
        dd.plan(tmp_path / "c.csv")
    with pytest.raises(dd.SelectionError, match="No installed source"):
        dd.plan("nowhere://x")


def test_it_goes_beside_idc_in_one_plan() -> None:
    plan = dd.plan(["memory://toys", "rider_pilot"])
    assert plan.series_count == 774 + 4
    assert plan.unsized_series == 4
    with pytest.raises(dd.SelectionError, match="Conditions"):
        dd.plan(["memory://toys"], where={"Modality": "CT"})


def test_an_engine_is_an_object_or_a_name(tmp_path: Path) -> None:
    plan = dd.plan("memory://toys")
    given = MemoryEngine()
    assert dd.download(plan, tmp_path / "a", engine=given).ok
    assert len(given.fetched) == 4
    assert dd.download(plan, tmp_path / "b", engine="toy").ok
    assert [series.planned.key for series in dd.stream(plan, tmp_path / "c", engine=MemoryEngine())]
    with pytest.raises(dd.PlanError, match="no engine “other”"):
        dd.download(plan, tmp_path / "d", engine="other")


def test_observers_get_every_event_with_the_run(tmp_path: Path) -> None:
    seen: list[Event] = []
    report = dd.download(dd.plan("memory://toys"), tmp_path, observers=[seen.append])
    assert {event.run_id for event in seen} == {report.run_id}
    assert isinstance(seen[-1], Finished)
    assert sum(isinstance(event, SeriesSized) for event in seen) == 4

    def broken(event: Event) -> None:
        raise ValueError("an observer of a stranger")

    with pytest.raises(ValueError, match="of a stranger"):
        dd.download(dd.plan("memory://toys"), tmp_path / "x", observers=[broken])


def test_a_consumer_takes_each_series_once(tmp_path: Path) -> None:
    dd.download("memory://toys", tmp_path)
    shelf = Shelf(refuses="series-1")
    events = list(deliver(tmp_path, hands_of([shelf], tmp_path), run_id="first"))
    (failed,) = [event for event in events if isinstance(event, DeliveryFailed)]
    assert (failed.key, failed.message, failed.run_id) == ("series-1", "the shelf is full", "first")
    assert sorted(shelf.taken) == ["series-0", "series-2", "series-3"]
    again = Shelf()
    events = list(deliver(tmp_path, hands_of([again], tmp_path)))
    assert again.taken == ["series-1"]
    assert sum(isinstance(event, SeriesDelivered) and event.is_new for event in events) == 1
    other = Shelf(size="large")
    list(deliver(tmp_path, hands_of([other], tmp_path)))
    assert len(other.taken) == 4


def test_a_series_that_is_not_whole_is_not_delivered(tmp_path: Path) -> None:
    dd.download("memory://toys", tmp_path)
    next(tmp_path.rglob("2.1.dcm")).unlink()
    shelf = Shelf()
    list(deliver(tmp_path, hands_of([shelf], tmp_path)))
    assert sorted(shelf.taken) == ["series-0", "series-1", "series-3"]


def test_the_report_of_all_parts_has_the_deliveries_of_each(tmp_path: Path) -> None:
    rows = list(dd.plan("memory://toys"))
    for number, part in enumerate((rows[:1], rows[1:])):
        shelf = Shelf(refuses="series-3")
        plan = PlanFile.of(part).plan(None)
        run(plan, tmp_path, MemoryEngine(), part=f"{number}-of-2", hands=hands_of([shelf], tmp_path))
    together = gather(tmp_path)
    assert together is not None
    assert together.delivery is not None
    assert (together.delivery.delivered, len(together.delivery.failures)) == (3, 1)
    assert not together.ok


def test_several_writers_with_a_part_each(tmp_path: Path) -> None:
    rows = list(dd.plan("memory://toys"))
    halves = [PlanFile.of(rows[:2]).plan(None), PlanFile.of(rows[2:]).plan(None)]
    first = transfer(halves[0], tmp_path, lambda scheme: MemoryEngine(), part="1-of-2", pause_seconds=0)
    with closing(first):  # type: ignore[type-var]
        next(event for event in first if isinstance(event, FileCompleted))
        _, second = run(halves[1], tmp_path, MemoryEngine(), part="2-of-2")
        assert second.ok
        with pytest.raises(dd.StorageError, match="Another download writes"):
            run(halves[0], tmp_path, MemoryEngine(), part="1-of-2")
        with pytest.raises(dd.StorageError, match="Another download writes"):
            run(halves[0], tmp_path, MemoryEngine())
        *_, last = first
    assert isinstance(last, Finished)
    together = gather(tmp_path)
    assert together is not None
    assert (together.ok, together.series_count, together.complete_instances) == (True, 4, 10)
    assert set(together.run_id.split()) == {last.report.run_id, second.run_id}
    assert dd.verify(tmp_path).series_count == 4
    assert dd.plan(tmp_path).instance_count == 10
    # A later download of the whole finds it complete.
    engine = MemoryEngine()
    assert run(dd.plan(tmp_path), tmp_path, engine)[1].ok
    assert engine.fetched == []


def test_a_report_of_failures_is_read_back(tmp_path: Path) -> None:
    _, report = run(dd.plan("memory://toys"), tmp_path, MemoryEngine(fails=frozenset({"series-0"})))
    assert not report.ok
    assert gather(tmp_path) == report


def test_a_row_may_name_files_of_any_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are checked by their names, in directories that they share with others."""
    files = {"slide.svs": b"s" * 9, "notes 1.csv": b"n" * 5}
    monkeypatch.setitem(CONTENT, "slides", files)
    monkeypatch.setattr(MemoryEngine, "lists_objects", True)
    monkeypatch.setattr(MemoryEngine, "objects", listed)
    first = PlannedSeries(
        "toys", None, None, None, None, None, None, "slides", "memory://slides", "shelf", 2, 14,
        "notes 1.csv:5/slide.svs:9",
    )  # fmt: skip
    plain = CONTENT["series-1"]
    second = first._replace(
        key="series-1", address="memory://series-1", instanceCount=len(plain), size_bytes=288 * len(plain),
        files="/".join(f"{name}:{len(data)}" for name, data in plain.items()),
    )  # fmt: skip
    plan = PlanFile.of([first, second]).plan(None)
    assert run(plan, tmp_path, MemoryEngine())[1].ok
    (tmp_path / "shelf" / "other.txt").write_text("of somebody else")
    assert dd.verify(tmp_path).ok
    assert dd.download(plan, tmp_path).fetched_series == 0
    assert dd.download(
        plan, tmp_path / "copy", reuse=tmp_path, engine=MemoryEngine(fails=frozenset(CONTENT))
    ).ok
    given = {path.name for series in dd.stream(plan, tmp_path) for path in series.paths}
    assert given == {*files, *plain}
    (tmp_path / "shelf" / "slide.svs").write_bytes(b"short")
    (tmp_path / "shelf" / "notes 1.csv").unlink()
    found = dd.verify(tmp_path)
    assert {(each.problem, each.file) for each in found.deviations} == {
        ("short", "slide.svs"),
        ("missing", "notes 1.csv"),
    }
    assert dd.repair(found).ok
    assert dd.verify(tmp_path).ok


def listed(engine: MemoryEngine, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
    return {
        each.key: [StoredObject(name, len(data), "") for name, data in CONTENT[each.key].items()]
        for each in series
    }
