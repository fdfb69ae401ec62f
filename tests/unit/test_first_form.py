"""What the first version wrote, plans and journals, is taken over."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import pytest

import dataset_dl as dd
from dataset_dl.destination.journal import Journal
from dataset_dl.model.events import Finished
from dataset_dl.transfer import transfer
from support.plans import plan_of
from support.stores import Store

_SCHEMA = """
    PRAGMA application_id = 1684302954;
    PRAGMA user_version = 1;
    CREATE TABLE series (crdc_series_uuid TEXT PRIMARY KEY, digest INTEGER NOT NULL,
        instanceCount INTEGER NOT NULL, shared_directory INTEGER, names TEXT) WITHOUT ROWID;
    CREATE INDEX sharing ON series (shared_directory) WHERE shared_directory IS NOT NULL;
"""
_RENAMED = """
    CREATE TABLE renamed (crdc_series_uuid TEXT PRIMARY KEY, files TEXT NOT NULL, template TEXT NOT NULL)
    WITHOUT ROWID;
"""


def as_first_journal(path: Path, *, renamed: bool) -> None:
    """Write a journal again as the first version had it."""
    with sqlite3.connect(path) as connection:
        series = connection.execute(
            "SELECT key, digest, instanceCount, shared_directory, names FROM series"
        ).fetchall()
    connection.close()
    path.unlink()
    connection = sqlite3.connect(path)
    connection.executescript(_SCHEMA + (_RENAMED if renamed else ""))
    connection.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?)", series)
    if renamed:
        connection.execute("INSERT INTO renamed VALUES ('x', 'a.dcm:0001.dcm', '%InstanceNumber.dcm')")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("renamed", [True, False])
def test_a_journal_knows_what_it_knew(tmp_path: Path, renamed: bool) -> None:
    store = Store()
    rows = [store.put() for _ in range(5)]
    plan = plan_of(rows)
    *_, last = transfer(plan, tmp_path, lambda scheme: store, pause_seconds=0)
    assert isinstance(last, Finished)
    path = tmp_path / ".dataset-dl" / "journal.sqlite"
    as_first_journal(path, renamed=renamed)
    with Journal(path, "run") as journal:
        assert journal.set_aside is None
        assert all(journal.holds(row) for row in rows)
        assert journal.renamed("x") == ({"a.dcm": "0001.dcm"} if renamed else {})
        assert journal.receipt("shelf", "x") is None
        journal.record(rows[0])
    with Journal(path) as journal:
        assert all(journal.holds(row) for row in rows)


def as_first_plan(path: Path, *, unknown: str = "", files: bool = True) -> Path:
    """A plan that was saved today as the first version had it: a series of unknown size had 0 files."""
    target = path.with_name(f"first{path.suffix}")
    count = f"CASE WHEN SeriesInstanceUID = '{unknown}' THEN 0 ELSE instanceCount::BIGINT END"
    table = f"read_csv('{path}', all_varchar = true)" if path.suffix == ".csv" else f"'{path}'"
    select = f"""
        SELECT * EXCLUDE (key, address, estimated_bytes{"" if files else ", files"}, instanceCount, size_bytes),
               key AS crdc_series_uuid, address AS series_aws_url, {count} AS instanceCount,
               coalesce(size_bytes, estimated_bytes) AS size_bytes FROM {table}
    """
    duckdb.sql(f"COPY ({select}) TO '{target}'" + (" (HEADER)" if path.suffix == ".csv" else ""))
    return target


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_plan_reads_as_today(tmp_path: Path, suffix: str, files: bool) -> None:
    plan = dd.plan("rider_pilot", where={"Modality": "CT"}, layout="%PatientID/%SeriesInstanceUID")
    first = as_first_plan(plan.save(tmp_path / f"plan{suffix}"), files=files)
    assert set(dd.plan(first)) == set(plan)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_was_0_is_unknown(tmp_path: Path, suffix: str) -> None:
    uuid = dd.query("SELECT crdc_series_uuid AS uuid FROM prior_versions_index ORDER BY 1 LIMIT 1").uuid[0]
    plan = dd.plan(str(uuid))
    (series,) = plan
    assert (series.instanceCount, series.size_bytes) == (None, None)
    first = as_first_plan(plan.save(tmp_path / f"plan{suffix}"), unknown=str(series.SeriesInstanceUID))
    assert list(dd.plan(first)) == [series]


def test_a_destination_of_the_first_version_goes_on(tmp_path: Path) -> None:
    store = Store()
    rows = [store.put() for _ in range(3)]
    list(transfer(plan_of(rows[:2]), tmp_path, lambda scheme: store, pause_seconds=0))
    records = tmp_path / ".dataset-dl"
    as_first_plan(records / "plan.parquet").replace(records / "plan.parquet")
    as_first_journal(records / "journal.sqlite", renamed=True)
    *_, last = transfer(plan_of(rows), tmp_path, lambda scheme: store, pause_seconds=0)
    assert isinstance(last, Finished)
    assert (last.report.ok, last.report.fetched_series) == (True, 1)
    assert dd.verify(tmp_path).series_count == 3
