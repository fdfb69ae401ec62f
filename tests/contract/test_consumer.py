"""What every consumer keeps to: of this package, of a stranger's package, and a plain object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dataset_dl as dd
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.doors import CONSUMERS
from dataset_dl.plans.file import PlanFile
from dataset_dl.transfer.hands import hands_of
from support import plugin
from support.dicoms import encoded, slice_of
from support.plans import row

SERIES = 4


class Plain:
    """Adds to a list."""

    name = "plain"

    def __init__(self, target: Path) -> None:
        self.options: dict[str, str] = {}
        self._target = target

    def take(self, series: dd.Series) -> dict[str, int]:
        self._target.mkdir(exist_ok=True)
        (self._target / series.planned.key).write_text(str(len(series.paths)))
        return {"files": len(series.paths)}


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Four series of five slices each, as a download leaves them."""
    target = tmp_path / "data"
    rows = []
    for number in range(SERIES):
        each = row(number)
        directory = target / each.key
        directory.mkdir(parents=True)
        for place in range(5):
            made = slice_of(
                (0, 0, 2.0 * place), values=np.full((8, 8), place, np.int16), PixelSpacing=[1, 1],
                SeriesInstanceUID=f"1.2.{number}.1", StudyInstanceUID=f"1.2.{number}", InstanceNumber=place,
            )  # fmt: skip
            (directory / f"{place}.dcm").write_bytes(encoded(made))
        size = sum(path.stat().st_size for path in directory.iterdir())
        rows.append(row(number, directory=each.key, count=5, size=size))
    plan = PlanFile.of(rows).plan(target)
    from dataset_dl.destination import paths
    from dataset_dl.destination.records import Records

    paths.prepare(target)
    with Records(target) as records:
        records.keep(plan)
    return target


@pytest.fixture(params=["plain", "copies", "thumbnails", "nifti", "zips"])
def wanted(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """Names a consumer anew, as another run does."""
    if request.param == "plain":
        return lambda: Plain(tmp_path / "made")
    plugin.install(tmp_path / "site", monkeypatch)
    return lambda: f"{request.param}:{tmp_path / 'made'}"


def made(directory: Path) -> dict[str, bytes]:
    """What a consumer has made, without what changes with time."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.suffix not in (".sqlite", ".parquet", ".json") and path.is_file()
    }


def test_it_takes_each_series_once(destination: Path, wanted: Callable[[], object], tmp_path: Path) -> None:
    first = dd.deliver(destination, to=wanted())
    assert (first.delivered, first.failures) == (SERIES, ())
    before = made(tmp_path / "made")
    assert before
    again = dd.deliver(destination, to=wanted())
    assert (again.delivered, again.delivered_before) == (0, SERIES)
    assert made(tmp_path / "made") == before


def test_what_it_makes_depends_on_the_series_alone(
    destination: Path, wanted: Callable[[], object], tmp_path: Path
) -> None:
    dd.deliver(destination, to=wanted(), consumer_processes=1)
    before = made(tmp_path / "made")
    for path in sorted((tmp_path / "made").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for path in (destination / ".dataset-dl").glob("journal*"):
        path.unlink()
    dd.deliver(destination, to=wanted(), consumer_processes=3)
    assert made(tmp_path / "made") == before


def test_it_leaves_the_series_as_they_are(destination: Path, wanted: Callable[[], object]) -> None:
    before = made(destination)
    dd.deliver(destination, to=wanted())
    assert made(destination) == before


def test_a_series_may_go_when_it_has_been_taken(
    destination: Path, wanted: Callable[[], object], tmp_path: Path
) -> None:
    delivery = dd.deliver(destination, to=wanted(), evict=True)
    assert delivery.evicted_series == SERIES
    assert [path.name for path in destination.iterdir()] == [".dataset-dl"]
    assert made(tmp_path / "made")


def test_its_name_and_options_are_the_same_in_every_run(wanted: Callable[[], object], tmp_path: Path) -> None:
    one, other = (hands_of([wanted()], tmp_path)[0] for _ in range(2))
    assert one.consumer.name == other.consumer.name
    assert one.digest == other.digest
    json.dumps(dict(one.consumer.options))


@pytest.mark.parametrize("name", ["thumbnails", "nifti", "zips"])
def test_an_unknown_option_is_refused(name: str, tmp_path: Path) -> None:
    make = CONSUMERS.find(name)
    assert make is not None
    with pytest.raises(dd.SelectionError, match="has no option “colour”"):
        make(ConsumerRequest(name, "", tmp_path, {"colour": "red"}))
