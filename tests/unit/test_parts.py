"""A plan is cut alike everywhere: every series is in exactly one part, and no part costs much more than another."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.errors import PlanError
from dataset_dl.model.part import Cut, Part
from dataset_dl.model.plan import Origin
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import origin_of
from dataset_dl.plans.parts import costs, cut, dealt, digest, part_of, sizes
from support.plans import plan_of, row


@given(number=st.integers(1, 100_000), more=st.integers(0, 100_000))
def test_a_part_is_read_as_it_is_written(number: int, more: int) -> None:
    if number + more <= 100_000:
        part = Part(number, number + more)
        assert Part.of(str(part)) == Part.of(f" {part} ") == part
        assert part.name == f"{number}-of-{number + more}"


@given(st.text(max_size=12) | st.from_regex(r"-?[0-9]{0,3}/-?[0-9]{0,3}", fullmatch=True))
def test_anything_else_is_no_part(text: str) -> None:
    try:
        part = Part.of(text)
    except PlanError as error:
        assert "nothing was started" in str(error)
    else:
        assert 1 <= part.number <= part.total


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "1/4/2", "१/4", "1/200000", "a/b", "1/4 x"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(PlanError, match="is no part of a plan"):
        Part.of(text)


@given(st.lists(st.integers(0, 10**13), max_size=200), st.integers(1, 40))
def test_no_part_costs_more_than_the_average_and_one_row(several: list[int], count: int) -> None:
    parts = dealt(several, count)
    assert len(parts) == len(several)
    loads = [0] * count
    for cost, number in zip(several, parts, strict=True):
        loads[number - 1] += cost
    assert sum(loads) == sum(several)
    if several:
        assert max(loads) <= sum(several) / count + max(several)
        assert max(loads) <= max(sum(several) / count * 4 / 3 + 1, *several) + max(several) / 3


def made_up(count: int, seed: int = 0) -> list[dd.PlannedSeries]:
    chance = random.Random(seed)
    return [
        row(number, count=chance.randint(1, 500), size=chance.randint(1, 10**9)) for number in range(count)
    ]


@given(count=st.integers(1, 60), parts=st.integers(1, 12), seed=st.integers(0, 3))
def test_every_series_is_in_exactly_one_part(count: int, parts: int, seed: int) -> None:
    rows = made_up(count, seed)
    whole = cut(plan_of(rows), parts)
    several = [list(part_of(whole, Part(number, parts))) for number in range(1, parts + 1)]
    assert sorted(each.key for part in several for each in part) == sorted(each.key for each in rows)
    assert [each.series for each in sizes(whole)] == [len(part) for part in several]
    assert [each.size_bytes for each in sizes(whole)] == [
        sum(r.expected_bytes for r in part) for part in several
    ]
    again = plan_of(rows)
    for number, part in enumerate(several, 1):
        assert [each.key for each in part_of(again, Part(number, parts))] == [each.key for each in part]


def test_the_digest_is_that_of_a_set(tmp_path: Path) -> None:
    rows = made_up(30)
    assert digest(plan_of(rows).rows) == digest(plan_of(rows[::-1]).rows)
    assert digest(plan_of(rows).rows) != digest(plan_of(rows[:-1]).rows)
    moved = [rows[0]._replace(directory="elsewhere"), *rows[1:]]
    assert digest(plan_of(rows).rows) != digest(plan_of(moved).rows)
    # Sizes that become known later do not make another plan of it.
    sized = [rows[0]._replace(instanceCount=None, size_bytes=None), *rows[1:]]
    assert digest(plan_of(rows).rows) == digest(plan_of(sized).rows)


def test_an_object_has_its_price() -> None:
    rows = [
        row(0, count=1, size=1000),
        row(1, count=10, size=0),
        row(2)._replace(instanceCount=None, size_bytes=None),
    ]
    assert costs(plan_of(rows).rows, 100) == [1100, 1000, 10_000]
    assert costs(plan_of(rows).rows, 0) == [1000, 0, 0]


def test_a_plan_remembers_how_it_was_cut(tmp_path: Path) -> None:
    whole = cut(plan_of(made_up(20)), 4, object_bytes=7)
    whole.save(tmp_path / "cut.parquet")
    again = dd.plan(tmp_path / "cut.parquet")
    assert again.origin.cut == Cut(4, 7, 0, 20, digest(whole.rows))
    third = part_of(again, Part(3, 4))
    assert third.origin.cut is not None
    assert (third.origin.cut.number, third.origin.cut.whole) == (3, again.origin.cut)
    third.save(tmp_path / "third.parquet")
    saved = dd.plan(tmp_path / "third.parquet")
    assert part_of(saved, Part(3, 4)) is saved
    with pytest.raises(PlanError, match="cut into 4 parts, so it has no part 1/5"):
        part_of(again, Part(1, 5))
    with pytest.raises(PlanError, match="is part 3/4, so it has no part 2/4"):
        part_of(saved, Part(2, 4))
    with pytest.raises(PlanError, match="part 3/4 of another one"):
        cut(saved, 2)


@pytest.mark.parametrize("name", ["plan", "a [1]*?", "é", os.fsdecode(b"\xff")])
def test_the_origin_is_read_without_the_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.parquet"
    whole = cut(plan_of(made_up(5)), 2)
    whole.save(path)
    assert origin_of(path) == whole.origin
    path.write_bytes(b"damaged")
    with pytest.raises(dd.ManifestError):
        origin_of(path)


def test_what_idc_lacks_is_reported_by_the_first_part_alone() -> None:
    whole = PlanFile.of(made_up(5), Origin(missing=("1.2.3",))).plan(None)
    parts = [part_of(whole, Part(number, 2)) for number in (1, 2)]
    assert [each.missing for each in parts] == [("1.2.3",), ()]


def test_more_parts_than_series() -> None:
    plan = plan_of(made_up(2))
    assert sorted(part_of(plan, Part(number, 5)).series_count for number in range(1, 6)) == [0, 0, 0, 1, 1]
