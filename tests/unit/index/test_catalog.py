from __future__ import annotations

import pytest

import dataset_dl as dd
from dataset_dl.errors import QueryError, SelectionError
from dataset_dl.sources.idc import catalog, tables


def test_collections_agree_with_the_index() -> None:
    frame = dd.collections()
    assert list(frame.columns) == [
        "id", "name", "subjects", "series", "instances", "size_bytes", "modalities", "cancer_types", "licenses", "DOI",
        "description",
    ]  # fmt: skip
    totals = dd.query(
        "SELECT count(*) AS n, sum(instanceCount) AS i, count(DISTINCT collection_id) AS c FROM idc_index"
    )
    assert len(frame) == totals.c[0]
    assert frame.series.sum() == totals.n[0]
    assert frame.instances.sum() == totals.i[0]
    nlst = frame.set_index("id").loc["nlst"]
    assert nlst["name"] == "NLST"
    assert (
        nlst.subjects
        == dd.query("SELECT count(DISTINCT PatientID) AS n FROM idc_index WHERE collection_id = 'nlst'").n[0]
    )
    assert "CT" in nlst.modalities.split(",")
    assert nlst.DOI.startswith("10.")


def test_collections_can_be_searched() -> None:
    found = dd.collections("Prostate")
    assert 0 < len(found) < len(dd.collections())
    assert "prostatex" in set(found.id)
    assert len(dd.collections("'; DROP TABLE x")) == 0
    assert list(dd.collections("QIN-PET-Phantom").id) == ["qin_pet_phantom"]
    assert len(dd.collections("§§")) == 0


def test_every_published_table_is_listed() -> None:
    here = {name: present for name, present, description in catalog.indices() if description}
    assert here["idc_index"] and here["collections_index"]
    assert here["sm_instance_index"] is False
    assert list(dd.indices().columns) == ["name", "here", "description"]


def test_columns_have_types_and_descriptions() -> None:
    rows = catalog.columns("idc_index")
    assert [name for name, _, _ in rows] == list(tables.main_columns())
    assert all(kind and text for _, kind, text in rows)
    assert ("ImageType", "STRING[]") in [row[:2] for row in catalog.columns("ct_index")]
    assert list(dd.columns("sm_index").columns) == ["name", "type", "description"]


def test_an_unknown_table_offers_the_nearest() -> None:
    with pytest.raises(SelectionError, match="idc_index"):
        catalog.columns("idc_indx")


def test_query_answers() -> None:
    frame = dd.query("WITH a AS (SELECT * FROM collections_index) SELECT count(*) AS n FROM a")
    assert frame.n[0] == 179 if tables.idc_version() == 25 else frame.n[0] > 100


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW idc_index",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO idc_index SELECT * FROM idc_index",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "PRAGMA enable_profiling",
        "PRAGMA memory_limit='1GB'",
        "PRAGMA import_database('/tmp')",
        "CALL pragma_version()",
        "EXPORT DATABASE '/tmp/x'",
        "SELECT 1; DROP VIEW idc_index",
        "",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "SELECT * FROM query('DROP VIEW idc_index')",
        "SELECT * FROM nothing_of_that_name",
        "SELEC 1",
        "SELECT nope FROM idc_index",
    ],
)
def test_query_refuses_all_but_reading(sql: str) -> None:
    with pytest.raises(QueryError) as caught:
        list(tables.query(sql))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_query_sees_no_python_variable() -> None:
    import pandas as pd

    secret = pd.DataFrame({"a": [1]})
    with pytest.raises(QueryError):
        dd.query("SELECT * FROM secret")
    assert len(secret) == 1


def test_pages() -> None:
    assert dd.page_url("TCGA-LUAD").endswith("/explore/filters/?collection_id=tcga_luad")
    radiology = dd.query("SELECT * FROM idc_index WHERE Modality = 'CT' LIMIT 1").iloc[0]
    assert dd.page_url(radiology.SeriesInstanceUID).endswith(
        f"/v3/viewer/?StudyInstanceUIDs={radiology.StudyInstanceUID}&initialSeriesInstanceUID={radiology.SeriesInstanceUID}"
    )
    assert dd.page_url(radiology.crdc_series_uuid) == dd.page_url(radiology.SeriesInstanceUID)
    slide = dd.query("SELECT * FROM idc_index WHERE Modality = 'SM' LIMIT 1").iloc[0]
    assert dd.page_url(slide.StudyInstanceUID).endswith(f"/slim/studies/{slide.StudyInstanceUID}")
    assert dd.page_url("bamf_aimi_annotations").startswith("https://doi.org/")
    with pytest.raises(SelectionError):
        dd.page_url("nothing-of-that-name")


def test_a_table_that_is_not_here_is_told_from_none() -> None:
    with pytest.raises(QueryError, match="published by IDC but is not on this machine"):
        dd.query("SELECT * FROM sm_index")
