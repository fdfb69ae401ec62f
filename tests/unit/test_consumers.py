"""How consumers are named, amounts of bytes, and what a journal remembers of series that were removed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.destination.consumers import ConsumerRequest, digest_of
from dataset_dl.destination.journal import Journal
from dataset_dl.model.settings import DownloadSettings, bytes_of
from support.plans import row

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
PLACES = st.text(st.characters(exclude_characters="?", exclude_categories=["Cs"]), max_size=30)
OPTIONS = st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=10), max_size=4)


@given(NAMES, PLACES, OPTIONS)
def test_a_consumer_is_what_was_written(name: str, where: str, options: dict[str, str]) -> None:
    text = f"{name}:{where}" + (f"?{urlencode(options)}" if options else "")
    found = ConsumerRequest.of(text, Path("/data"))
    assert found == ConsumerRequest(name, where, Path("/data"), options)


@given(st.text(max_size=30))
def test_any_text_is_a_consumer_or_an_error_in_words(text: str) -> None:
    try:
        found = ConsumerRequest.of(text, Path("/data"))
    except dd.SelectionError as error:
        assert "is no consumer" in str(error)
    else:
        assert text.startswith(found.name)


def test_equal_options_have_one_digest() -> None:
    assert digest_of({"a": 1, "b": "x"}) == digest_of({"b": "x", "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500GB", 500 * 10**9), ("1.5 tb", 1500 * 10**9), ("2GiB", 2 << 30), ("10k", 10_000), ("7", 7), (7, 7)],
)
def test_amounts_of_bytes(text: str | int, expected: int) -> None:
    assert bytes_of(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-5", "0", "5 XB", "1e9", 0, -1])
def test_other_amounts_are_refused(text: str | int) -> None:
    with pytest.raises(dd.PlanError, match="no number of bytes"):
        DownloadSettings(then=(print,), evict=True, disk_budget=text)


def test_a_removed_series_is_remembered_until_it_is_back(tmp_path: Path) -> None:
    series = row(1)
    with Journal(tmp_path / "j", "first") as journal:
        assert not journal.is_evicted(series)
        journal.record(series)
        journal.evict(series)
        journal.forget(series)
    with Journal(tmp_path / "j", "second") as journal:
        assert journal.is_evicted(series)
        assert not journal.holds(series)
        assert not journal.is_evicted(series._replace(size_bytes=1))
        journal.record(series)
        assert not journal.is_evicted(series)


def test_a_journal_of_the_second_form_keeps_its_entries(tmp_path: Path) -> None:
    series = row(1)
    with Journal(tmp_path / "j", "first") as journal:
        journal.record(series)
    with closing(sqlite3.connect(tmp_path / "j")) as connection:
        connection.executescript("DROP TABLE evicted; PRAGMA user_version = 2;")
    with Journal(tmp_path / "j", "second") as journal:
        assert journal.set_aside is None
        assert journal.holds(series)
        journal.evict(series)
        assert journal.is_evicted(series)
