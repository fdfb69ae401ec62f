from __future__ import annotations

import itertools
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.errors import LayoutError
from dataset_dl.model.plan import DEFAULT_LAYOUT
from dataset_dl.plans.layout import Layout
from dataset_dl.plans.names import check_directory, shorten

COLUMNS = ["PatientID", "Patient", "SeriesInstanceUID", "collection_id", "Modality", "StudyInstanceUID"]

# Everything a value of a later index might hold, the nasty parts more often than chance has them.
nasty = st.sampled_from(
    ["..", ".", "/", "\\", "\0", "\n", "CON", "nul.txt", "~", " ", "a" * 300, "é", "e\u0301", "*", ":"]
)
values = st.one_of(
    st.none(), st.text(max_size=20), st.lists(nasty | st.text(max_size=3), max_size=4).map("".join)
)


def layout(template: str) -> Layout:
    return Layout.parse(template, COLUMNS)


def test_default_layout_keeps_plain_values() -> None:
    row = {
        "collection_id": "nlst",
        "PatientID": "ZZ RIDER MR8 1",
        "StudyInstanceUID": "1.2",
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3",
    }
    assert layout(DEFAULT_LAYOUT).directory(row) == "nlst/ZZ RIDER MR8 1/1.2/CT_1.2.3"


def test_longest_name_wins() -> None:
    assert layout("%PatientID").columns == ("PatientID",)
    assert layout("%PatientIDs").directory({"PatientID": "a"}) == "as"
    assert layout("%Patient_x").directory({"Patient": "a"}) == "a_x"


def test_flat_layout_has_no_directory() -> None:
    assert layout(".").directory({}) == ""


@pytest.mark.parametrize(
    "template",
    ["", "/x", "../%PatientID", "%PatientID/..", "a//b", "./a/.", "C:/x", "C:\\x", "a\\b", "con/%PatientID",
     ".dataset-dl", "~/%PatientID", "a\n", "%", "100%", "%Nope", "%patientid", "a*", "x ", "x.", "a\u202eb"],
)  # fmt: skip
def test_refused_templates(template: str) -> None:
    with pytest.raises(LayoutError) as caught:
        layout(template)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_unknown_column_offers_the_nearest() -> None:
    with pytest.raises(LayoutError, match="Did you mean %PatientID"):
        layout("%PatienID/x")


@given(st.lists(values, min_size=5, max_size=5))
def test_every_directory_is_inside_and_portable(row: list[str | None]) -> None:
    template = layout(DEFAULT_LAYOUT)
    directory = template.directory(dict(zip(template.columns, row, strict=True)))
    parts = directory.split("/")
    assert len(parts) == 4
    assert check_directory(directory) is None
    for part in parts:
        assert len(part.encode()) <= 240
        assert PurePosixPath(part).name == part == PureWindowsPath(part).name
        assert not part.endswith((".", " "))
    assert os.path.normpath(Path("/root-of-it") / directory).startswith("/root-of-it/")


@given(values, values)
def test_two_values_never_share_a_directory(one: str | None, other: str | None) -> None:
    template = layout("%PatientID")
    twins = (
        {"PatientID": {one, other} - {None}}
        if one != other and (one or "").lower() == (other or "").lower()
        else {}
    )
    first = template.directory({"PatientID": one}, twins)  # type: ignore[arg-type]
    second = template.directory({"PatientID": other}, twins)  # type: ignore[arg-type]
    assert (first.casefold() == second.casefold()) == (one == other)


@given(st.text(max_size=400))
def test_same_value_same_directory(value: str) -> None:
    assert layout("x%PatientID").directory({"PatientID": value}) == layout("x%PatientID").directory(
        {"PatientID": value}
    )


@given(st.text(max_size=60))
def test_templates_parse_or_say_why(template: str) -> None:
    try:
        parsed = layout(template)
    except LayoutError:
        return
    directory = parsed.directory(dict.fromkeys(parsed.columns, "value"))
    assert check_directory(directory) is None


@given(
    st.lists(st.text("ab.", min_size=1, max_size=60).filter(lambda t: t.strip(".")), min_size=1, max_size=4)
)
def test_shortened_directories_fit_and_differ(parts: list[str]) -> None:
    parts = [part.strip(".") for part in parts]
    directory = "/".join(parts)
    limit = 16 * len(parts)
    short = shorten(directory, limit)
    assert (len(short) <= max(limit, len(directory)) and len(short) <= max(limit, 0)) or short == directory
    assert short.count("/") == directory.count("/")
    if short != directory:
        assert short != shorten(directory[:-1] + "c", limit)


def test_a_directory_that_cannot_be_shortened_is_an_error() -> None:
    with pytest.raises(LayoutError):
        shorten("a/b/c/d/e", 3)


@pytest.mark.parametrize(
    "directory", ["..", "a/../b", "/a", "a//b", "a/./b", "a\\b", "a:b", "a*", "a?", "x.", "x ", "con", ".dataset-dl/x",
                  ".DATASET-DL", "a\0", "a\nb", "x" * 250],
)  # fmt: skip
def test_check_directory_refuses(directory: str) -> None:
    assert check_directory(directory)


@given(st.text())
def test_check_directory_never_lets_one_out(directory: str) -> None:
    if check_directory(directory) is None and directory:
        joined = os.path.normpath(Path("/root-of-it") / directory)
        assert joined.startswith("/root-of-it/")
        assert not PureWindowsPath(directory).is_absolute()
        assert ".." not in PureWindowsPath(directory).parts


def test_the_pattern_for_sql_keeps_what_begins_like_no_reserved_name() -> None:
    pattern = re.compile(Layout.parse("%PatientID", ["PatientID"]).plain_pattern)
    for length in range(1, 5):
        for characters in itertools.product("acoNulPrmtx1. $", repeat=length):
            name = "".join(characters)
            is_plain = name.strip(". ") == name and not name.lower().startswith(
                ("aux", "com", "con", "lpt", "nul", "prn")
            )
            assert bool(pattern.fullmatch(name)) == is_plain, name
