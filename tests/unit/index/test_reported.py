"""Faults that a new user found, each with the case that showed it."""

from __future__ import annotations

from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.duck import Database
from dataset_dl.errors import LayoutError, ManifestError, StorageError
from dataset_dl.plans.layout import Layout
from dataset_dl.plans.names import check_directory
from dataset_dl.sources.idc.directories import plain_sql
from dataset_dl.sources.idc.tables import main_columns
from support.plans import plan_of, row


def test_no_forbidden_character_counts_as_plain() -> None:
    plain = plain_sql(Layout.parse("%PatientID", main_columns()))
    for code in range(128):
        raw = f"a{chr(code)}b"
        ((kept,),) = Database().run(f"SELECT {plain} FROM (SELECT ? AS raw, 'x' AS PatientID)", [raw])
        assert not kept or check_directory(raw) is None, raw


def test_a_star_in_a_description_is_cleaned(tmp_path: Path) -> None:
    plan = dd.plan(where=["SeriesDescription~*"], layout="%SeriesDescription/%SeriesInstanceUID")
    assert plan.series_count > 100
    assert all(check_directory(each.directory) is None for each in plan)
    for suffix in ("csv", "parquet", "s5cmd"):
        assert dd.plan(plan.save(tmp_path / f"p.{suffix}")).series_count == plan.series_count


def test_a_csv_plan_with_late_quotes_reads_back(tmp_path: Path) -> None:
    plan = dd.plan(["acrin_6698", "acrin_contralateral_breast_mr", "nlm_visible_human_project"])
    assert list(dd.plan(plan.save(tmp_path / "plan.csv"))) == list(plan)


def test_a_flat_csv_plan_reads_back(tmp_path: Path) -> None:
    plan = dd.plan("qin_pet_phantom", layout=".")
    assert list(dd.plan(plan.save(tmp_path / "plan.csv"))) == list(plan)


@pytest.mark.parametrize("header", ["SeriesInstanceUID", "crdc_series_uuid"])
def test_a_table_of_one_column(tmp_path: Path, header: str) -> None:
    value = getattr(next(iter(dd.plan("qin_pet_phantom"))), header)
    file = tmp_path / "one.csv"
    file.write_text(f"{header}\r\n{value}\r\n")
    assert dd.plan(file).series_count == 1


def test_a_series_that_stands_twice_in_a_plan_is_named(tmp_path: Path) -> None:
    file = plan_of([row(1), row(2), row(1, directory="e")]).save(tmp_path / "p.csv")
    with pytest.raises(ManifestError, match="occurs more than once"):
        dd.plan(file)


def test_a_plan_without_rows_is_refused(tmp_path: Path) -> None:
    file = plan_of([row(1)]).save(tmp_path / "p.csv")
    file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(ManifestError, match="holds no series"):
        dd.plan(file)


def test_dates_are_compared_as_dates() -> None:
    iso = dd.plan("rider_pilot", where=["StudyDate>=1999-06-01"]).series_count
    assert dd.plan("rider_pilot", where=["StudyDate>=19990601"]).series_count == iso
    with pytest.raises(dd.SelectionError, match="1999-06-01"):
        dd.plan("rider_pilot", where=["StudyDate>=June"])


def test_numbers_in_text_columns_are_compared_as_numbers() -> None:
    expected = dd.query(
        "SELECT count(*) AS n FROM idc_index WHERE collection_id = 'rider_pilot' AND TRY_CAST(SeriesNumber AS INT) > 9"
    ).n[0]
    assert dd.plan("rider_pilot", where=["SeriesNumber>9"]).series_count == expected > 0


def test_layouts_without_columns_and_too_many_levels() -> None:
    assert next(iter(dd.plan("qin_pet_phantom", layout="é%Modality"))).directory.startswith("éPT")
    with pytest.raises(LayoutError, match="levels"):
        dd.plan("qin_pet_phantom", layout="/".join(["%Modality"] * 2000))


def test_a_very_long_source_is_only_unknown() -> None:
    with pytest.raises(dd.SelectionError):
        dd.plan("x" * 5000)


def test_saving_makes_no_directories(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such directory"):
        dd.plan("qin_pet_phantom").save(tmp_path / "none" / "p.csv")
    assert not list(tmp_path.iterdir())


def test_bad_options_are_refused(tmp_path: Path) -> None:
    plan = plan_of([row(1)], tmp_path)
    with pytest.raises(dd.PlanError, match="workers"):
        dd.download(plan, workers=0)
    with pytest.raises(dd.SelectionError, match="azure"):
        dd.download(plan, store="azure")  # type: ignore[arg-type]
