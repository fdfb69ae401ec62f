"""The engine keeps to what every engine does (tests/contract/test_engine.py), for rows of its own scheme."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aignostics.conftest import BUCKET, CONTENT
from dataset_dl.aignostics.account import find_account
from dataset_dl.aignostics.engine import GcsEngine
from dataset_dl.aignostics.requesting import Requests
from dataset_dl.aignostics.source import rows_of
from dataset_dl.errors import NetworkError
from dataset_dl.model.events import CommandFailed, FileCompleted, Waiting
from dataset_dl.model.series import Fetch, Pause, PlannedSeries
from dataset_dl.network import NetworkSettings
from support.gcs import Gate, Key

ADDRESS = f"gs://{BUCKET}/slides/one.tiff"


def engine_at(url: str, key: Key, **options: int) -> GcsEngine:
    return GcsEngine(NetworkSettings(gcs_endpoint_url=url), find_account(key.path), **options)


@pytest.fixture
def engine(gate: Gate, key: Key) -> GcsEngine:
    return engine_at(gate.url, key)


@pytest.fixture
def rows(gate: Gate, key: Key) -> list[PlannedSeries]:
    with Requests(NetworkSettings(gcs_endpoint_url=gate.url), find_account(key.path)) as asking:
        return rows_of([f"gs://{BUCKET}/"], asking)


def test_every_file_is_told_once_and_is_there(
    engine: GcsEngine, rows: list[PlannedSeries], tmp_path: Path
) -> None:
    told = [each for each in engine.run(map(Fetch.whole, rows), tmp_path) if isinstance(each, FileCompleted)]
    assert len(told) == len({each.path for each in told}) == len(CONTENT)
    for each in told:
        assert each.proven
        assert (tmp_path / each.path).read_bytes() == CONTENT[each.path.removeprefix(f"{BUCKET}/")]


def test_an_object_is_begun_only_when_there_is_room(
    engine: GcsEngine, rows: list[PlannedSeries], tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    begun: list[str] = []

    def fetches() -> Iterator[Fetch | Pause]:
        for number, row in enumerate(rows):
            while any(not seen[earlier.key] for earlier in rows[:number]):
                yield Pause(is_idle=False)
            for _ in range(3):
                yield Pause(is_idle=True)
            begun.append(row.key)
            yield Fetch.whole(row)

    waited = 0
    with closing(engine.run(fetches(), tmp_path)) as events:  # type: ignore[type-var]
        for event in events:
            waited += isinstance(event, Waiting)
            if isinstance(event, FileCompleted):
                assert event.key == begun[-1]
                seen[event.key] += 1
    assert seen == Counter({row.key: 1 for row in rows})
    assert waited


def test_what_is_gone_is_told_and_nothing_else_suffers(
    gate: Gate, engine: GcsEngine, rows: list[PlannedSeries], tmp_path: Path
) -> None:
    gate.emulator.ask("/wipe?keep-buckets=1")
    gate.emulator.put(BUCKET, "notes.csv", CONTENT["notes.csv"])
    failed = [
        each for each in engine.run(map(Fetch.whole, rows), tmp_path) if isinstance(each, CommandFailed)
    ]
    assert Counter(each.cause for each in failed) == {"not_found": 4, "altered": 1}
    assert engine.objects(rows) == {}


def test_it_says_what_the_store_holds(engine: GcsEngine, rows: list[PlannedSeries]) -> None:
    found = engine.objects(rows)
    assert set(found) == {row.key for row in rows}
    (one,) = found[next(row.key for row in rows if row.address == ADDRESS)]
    assert (one.name, one.size_bytes) == ("one.tiff", 700_001)
    assert one.etag.startswith("crc32c-")


def test_the_probe_tells_what_holds_for_all(gate: Gate, engine: GcsEngine, key: Key, tmp_path: Path) -> None:
    engine.probe(ADDRESS)
    engine.probe(f"gs://{BUCKET}/nothing")
    gate.denied = {"one"}
    engine.probe(ADDRESS)  # others may be readable
    other = Key.make(tmp_path / "other.json")
    with pytest.raises(NetworkError, match="does not accept the signature"):
        engine_at(gate.url, other).probe(ADDRESS)
    gate.denied, gate.faults = set(), {"one": "head 500 once"}
    engine.probe(ADDRESS)
    gate.portal = True
    with pytest.raises(NetworkError, match="not as Google Cloud Storage"):
        engine.probe(ADDRESS)


def test_a_bug_in_a_thread_is_not_silence(
    engine: GcsEngine, rows: list[PlannedSeries], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset_dl.aignostics.fetching.Partial", None)
    with pytest.raises(TypeError):
        list(engine.run(map(Fetch.whole, rows), tmp_path))


def test_closing_it_leaves_no_thread(
    gate: Gate, engine: GcsEngine, rows: list[PlannedSeries], tmp_path: Path
) -> None:
    before = threading.active_count()
    gate.faults = {"one": "stop"}
    with closing(engine.run(map(Fetch.whole, rows), tmp_path)) as events:  # type: ignore[type-var]
        next(each for each in events if isinstance(each, FileCompleted))
        assert threading.active_count() > before
    names = {each.name for each in threading.enumerate()}
    assert not [name for name in names if "_work" in name]
