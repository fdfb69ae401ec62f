"""Optional tables of IDC: put in by hand, asked, and used as conditions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.sources.idc import tables
from support import indices
from support.cli import Cli


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    yield tmp_path / "cache"
    tables.look_again()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """sm_index over three slides of TCGA-LUAD."""
    uids = dd.query(
        "SELECT SeriesInstanceUID AS uid FROM idc_index WHERE collection_id = 'tcga_luad' AND Modality = 'SM'"
        " ORDER BY 1 LIMIT 3"
    ).uid
    return indices.make(
        "sm_index",
        tmp_path / "made.parquet",
        {"SeriesInstanceUID": list(uids), "ObjectiveLensPower": [20, 40, 40]},
    )


def test_a_table_is_put_in_by_hand(cache: Path, table: Path, cli: Cli) -> None:
    outcome = cli("idc", "indices", "fetch", "sm_index", "--from", table)
    assert outcome.code == 0, outcome.err
    assert str(cache) in outcome.err
    joined = cli("idc", "query", "SELECT collection_id, count(*) AS n FROM sm_index JOIN idc_index"
                 " USING (SeriesInstanceUID) GROUP BY 1", "--format", "json")  # fmt: skip
    assert joined.json == [{"collection_id": "tcga_luad", "n": 3}]
    assert cli("idc", "indices", "fetch", "sm_index", "ct_index", "--from", table).code == 2
    wrong = cli("idc", "indices", "fetch", "ct_index", "--from", table)
    assert wrong.code == 2
    assert "is not the table ct_index of this version: it lacks the columns" in wrong.err
    assert cli("idc", "indices", "fetch", "sm_index", "--from", "none.parquet").code == 2
    (cli.directory / "page.parquet").write_text("<html>")
    assert cli("idc", "indices", "fetch", "sm_index", "--from", "page.parquet").code == 2


def test_its_columns_are_conditions(cache: Path, table: Path) -> None:
    with pytest.raises(dd.SelectionError, match="is not on this machine"):
        dd.plan("tcga_luad", where=["sm_index.ObjectiveLensPower=40"])
    dd.fetch_index("sm_index", from_file=table)
    assert dd.plan("tcga_luad", where=["sm_index.ObjectiveLensPower=40"]).series_count == 2
    assert dd.plan("tcga_luad", where={"SM_Index.objectivelenspower": [20, 40]}).series_count == 3
    assert dd.plan(where=["sm_index.ObjectiveLensPower>20", "Modality=SM"]).series_count == 2
    with pytest.raises(
        dd.SelectionError, match=r"has sm_index.ObjectiveLensPower=10.*The values there: 20, 40"
    ):
        dd.plan("tcga_luad", where=["sm_index.ObjectiveLensPower=10"])
    with pytest.raises(dd.SelectionError, match="The table sm_index has no column “x”"):
        dd.plan("tcga_luad", where=["sm_index.x=10"])
    with pytest.raises(dd.SelectionError, match="publishes no table “none”"):
        dd.plan("tcga_luad", where=["none.x=10"])


def test_a_column_of_another_table_is_named(cache: Path) -> None:
    with pytest.raises(dd.SelectionError, match=r"Did you mean sm_index\.ObjectiveLensPower"):
        dd.plan("tcga_luad", where=["ObjectiveLensPower=40"])


def test_collections_can_be_conditions_too() -> None:
    plan = dd.plan(where=["collections_index.cancer_types~mesothelioma", "Modality=SM"])
    expected = dd.query(
        "SELECT count(*) AS n FROM idc_index JOIN collections_index USING (collection_id)"
        " WHERE cancer_types ILIKE '%mesothelioma%' AND Modality = 'SM'"
    ).n[0]
    assert plan.series_count == expected > 0


def test_tables_that_are_here_have_the_columns_of_their_schemas() -> None:
    for name, known in tables.tables().items():
        if known.parquet_path is not None:
            assert tables.not_the_table(known.parquet_path, name) is None
