"""Annotations and the images that they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.sources.idc import tables
from support import indices
from support.cli import Cli

COLLECTION = "rider_lung_ct"


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """The three tables over a collection: SEGs 0 and 1 are of CT 0, SEG 2 is of none, RTSTRUCT 0 of CT 1."""
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    rows = dd.query(
        "SELECT Modality, SeriesInstanceUID AS uid FROM idc_index"
        f" WHERE collection_id = '{COLLECTION}' AND Modality IN ('CT', 'SEG', 'RTSTRUCT', 'SR') ORDER BY uid"
    )
    found = {kind: list(rows[rows.Modality == kind].uid) for kind in ("CT", "SEG", "RTSTRUCT", "SR")}
    ct, seg = found["CT"], found["SEG"]
    made = {
        "seg_index": {"SeriesInstanceUID": seg[:3], "segmented_SeriesInstanceUID": [ct[0], ct[0], None]},
        "rtstruct_index": {
            "SeriesInstanceUID": found["RTSTRUCT"][:1],
            "referenced_SeriesInstanceUID": ct[1:2],
        },
        "ann_index": {"SeriesInstanceUID": ["1.2.3"], "referenced_SeriesInstanceUID": ["1.2.4"]},
    }
    for name, values in made.items():
        dd.fetch_index(name, from_file=indices.make(name, tmp_path / f"{name}.parquet", values))
    yield found
    tables.look_again()


def uids(plan: dd.Plan) -> set[str | None]:
    return {row.SeriesInstanceUID for row in plan}


def test_the_images_of_annotations_are_added(series: dict[str, list[str]]) -> None:
    seg, ct = series["SEG"], series["CT"]
    plan = dd.plan(seg[0], with_references=True)
    assert uids(plan) == {seg[0], ct[0]}
    assert plan.unreferenced == {}
    plan = dd.plan([seg[1], seg[2]], where={"Modality": "SEG"}, with_references=True)
    assert (uids(plan), plan.unreferenced) == ({seg[1], seg[2], ct[0]}, {"SEG": 1})
    plan = dd.plan(series["RTSTRUCT"][0], with_references=True, layout="%Modality/%SeriesInstanceUID")
    assert {row.directory.split("/")[0] for row in plan} == {"CT", "RTSTRUCT"}


def test_the_annotations_of_images_are_added(series: dict[str, list[str]], cli: Cli) -> None:
    seg, ct = series["SEG"], series["CT"]
    assert uids(dd.plan(ct[0], with_annotations=True)) == {ct[0], seg[0], seg[1]}
    both = dd.plan(ct[:2], with_annotations=True, with_references=True)
    assert uids(both) == {*ct[:2], *seg[:2], series["RTSTRUCT"][0]}
    saved = both.save(cli.directory / "p.parquet")
    assert uids(dd.plan([saved, seg[2]], with_references=True)) == uids(both) | {seg[2]}
    outcome = cli("idc", "manifest", seg[2], "--with-references", "-o", "m.csv")
    assert outcome.code == 0
    assert "No table lists the images in IDC that these were drawn on: 1 SEG series." in outcome.err


def test_a_licence_holds_for_what_is_added(series: dict[str, list[str]]) -> None:
    licences = {row.license_short_name for row in dd.plan(series["CT"][0], with_annotations=True)}
    assert licences == {"CC BY 4.0", "CC BY 3.0"}
    only = dd.plan(series["CT"][0], where=["License_Short_Name=CC BY 4.0"], with_annotations=True)
    assert {row.license_short_name for row in only} == {"CC BY 4.0"}


def test_a_table_that_is_missing_is_named(series: dict[str, list[str]], tmp_path: Path) -> None:
    next((tmp_path / "cache").rglob("seg_index.parquet")).unlink()
    tables.look_again()
    with pytest.raises(dd.SelectionError, match="idc indices fetch seg_index"):
        dd.plan(series["SEG"][0], with_references=True)
    with pytest.raises(dd.SelectionError, match="idc indices fetch seg_index"):
        dd.plan(series["CT"][0], with_annotations=True)
    assert uids(dd.plan(series["CT"][0], with_references=True)) == {series["CT"][0]}


def test_an_update_asks_the_same_again(series: dict[str, list[str]]) -> None:
    plan = dd.plan(COLLECTION, where={"Modality": "SEG"}, with_references=True)
    (request,) = plan.requests
    assert (request.with_references, request.with_annotations) == (True, False)
