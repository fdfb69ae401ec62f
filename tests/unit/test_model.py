from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.errors import SelectionError
from dataset_dl.model.selection import Condition, conditions
from dataset_dl.sources.named import as_identifiers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Modality=CT", ("Modality", "=", ("CT",))),
        ("Modality = CT, MR", ("Modality", "=", ("CT", "MR"))),
        ("Modality!=CT", ("Modality", "!=", ("CT",))),
        ("instanceCount>=100", ("instanceCount", ">=", ("100",))),
        ("SeriesDescription~chest", ("SeriesDescription", "~", ("chest",))),
        ('Manufacturer="Varian, Inc"', ("Manufacturer", "=", ("Varian, Inc",))),
        ("SeriesDescription=a=b", ("SeriesDescription", "=", ("a=b",))),
        ("Modality='; DROP TABLE", ("Modality", "=", ("'; DROP TABLE",))),
        ("Modality==CT", ("Modality", "=", ("CT",))),
        ("PatientID<>1", ("PatientID", "!=", ("1",))),
        ("instanceCount=>5", ("instanceCount", ">=", ("5",))),
        ("Modality='CT', 'MR'", ("Modality", "=", ("CT", "MR"))),
        ("Manufacturer='Varian, Inc',GE", ("Manufacturer", "=", ("Varian, Inc", "GE"))),
        ("PatientID=O'Brien,'tis", ("PatientID", "=", ("O'Brien", "'tis"))),
        ('SeriesDescription="say ""a"""', ("SeriesDescription", "=", ('say "a"',))),
        ("BodyPartExamined=", ("BodyPartExamined", "=", ("",))),
        ("BodyPartExamined!=", ("BodyPartExamined", "!=", ("",))),
        ('BodyPartExamined=""', ("BodyPartExamined", "=", ("",))),
        ("BodyPartExamined=(empty), LUNG", ("BodyPartExamined", "=", ("", "LUNG"))),
    ],
)
def test_conditions_are_read(text: str, expected: tuple[str, str, tuple[str, ...]]) -> None:
    condition = Condition.parse(text)
    assert (condition.column, condition.operator, condition.values) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Modality",
        "=CT",
        "Modality~",
        "1a=2",
        "instanceCount>1,2",
        "a b=c",
        "a=1,,2",
        "a=1,",
        'a="b',
        "a<",
    ],
)
def test_what_is_no_condition_says_so(text: str) -> None:
    with pytest.raises(SelectionError) as caught:
        Condition.parse(text)
    assert caught.value.exit_code == 2


@given(st.text())
def test_any_text_parses_or_says_why(text: str) -> None:
    try:
        condition = Condition.parse(text)
    except SelectionError:
        return
    assert condition.values


def test_where_takes_mappings_and_texts() -> None:
    assert conditions({"Modality": "CT"}) == conditions(["Modality=CT"]) == conditions("Modality=CT")
    assert conditions({"Modality": ["CT", "MR"]})[0].values == ("CT", "MR")
    assert conditions({"instanceCount": 5})[0].values == ("5",)
    assert conditions(None) == ()
    assert conditions({"Modality": None})[0].values == ("",)
    assert conditions({"Modality": ["CT", None, float("nan")]})[0].values == ("CT", "", "")


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_quoted_values_read_back(values: list[str]) -> None:
    quoted = ",".join('"' + value.replace('"', '""') + '"' for value in values)
    assert Condition.parse(f"PatientID={quoted}").values == tuple(values)


def test_identifiers_are_split_and_kept_once() -> None:
    assert as_identifiers(["a, b", "b", "", "c,"]) == ("a", "b", "c")
