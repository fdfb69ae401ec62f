from __future__ import annotations

from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.errors import ManifestError, SelectionError


def earlier(where: str = "true") -> dict[str, object]:
    """A series of which an earlier version is in the tables."""
    sql = f"SELECT * FROM prior_versions_index WHERE {where} ORDER BY crdc_series_uuid LIMIT 1"
    return dict(dd.query(sql).iloc[0])


WITHDRAWN = "SeriesInstanceUID NOT IN (SELECT SeriesInstanceUID FROM idc_index)"
REVISED = "SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM idc_index)"


@pytest.mark.parametrize("kind", [WITHDRAWN, REVISED])
def test_a_uuid_of_any_version_can_be_planned(kind: str) -> None:
    row = earlier(kind)
    plan = dd.plan(str(row["crdc_series_uuid"]).upper())
    (planned,) = plan
    assert planned.SeriesInstanceUID == row["SeriesInstanceUID"]
    assert planned.series_aws_url == row["series_aws_url"]
    assert (planned.instanceCount, plan.unsized_series) == (None, 1)
    expected = round(float(row["series_size_MB"]) * 1e6)  # type: ignore[arg-type]
    assert (planned.size_bytes, planned.estimated_bytes, plan.size_bytes) == (None, expected, expected)


def test_uuids_of_today_and_of_before_go_together(tmp_path: Path) -> None:
    row = earlier(REVISED)
    today = dd.query(
        f"SELECT crdc_series_uuid AS uuid FROM idc_index WHERE SeriesInstanceUID = '{row['SeriesInstanceUID']}'"
    )
    both = [row["crdc_series_uuid"], today.uuid[0], "qin_pet_phantom"]
    plan = dd.plan(both)  # type: ignore[arg-type]
    assert (plan.series_count, plan.unsized_series) == (46, 1)
    manifest = tmp_path / "m.s5cmd"
    manifest.write_text("".join(f"cp s3://idc-open-data/{uuid}/* .\n" for uuid in both[:2]))
    assert {each.crdc_series_uuid for each in dd.plan(manifest)} == set(both[:2])
    assert dd.plan([manifest, "qin_pet_phantom", earlier(WITHDRAWN)["crdc_series_uuid"]]).series_count == 47  # type: ignore[list-item]


def test_a_series_that_moved_between_buckets_is_planned_once() -> None:
    moved = dd.query(
        "SELECT crdc_series_uuid AS uuid, max_by(series_aws_url, max_idc_version) AS url FROM prior_versions_index"
        " GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    )
    (planned,) = dd.plan(moved.uuid[0])
    assert planned.series_aws_url == moved.url[0]


@pytest.mark.parametrize("version", [2, 11, 24, 25])
def test_as_of_a_version(version: int) -> None:
    expected = dd.query(
        f"""SELECT (SELECT count(*) FROM idc_index WHERE collection_id = 'nlst'
                    AND series_revised_idc_version <= {version})
                 + (SELECT count(DISTINCT crdc_series_uuid) FROM prior_versions_index WHERE collection_id = 'nlst'
                    AND {version} BETWEEN min_idc_version AND max_idc_version) AS n"""
    ).n[0]
    if expected == 0:
        with pytest.raises(SelectionError):
            dd.plan("nlst", idc_version=version)
        return
    plan = dd.plan("nlst", idc_version=version)
    assert (plan.series_count, plan.idc_version) == (expected, version)


def test_a_withdrawn_series_is_there_as_of_its_version() -> None:
    row = earlier(WITHDRAWN)
    uid, last = str(row["SeriesInstanceUID"]), int(row["max_idc_version"])  # type: ignore[call-overload]
    with pytest.raises(SelectionError, match=f"--idc-version {last}"):
        dd.plan(uid)
    (planned,) = dd.plan(uid, idc_version=last)
    assert planned.crdc_series_uuid == row["crdc_series_uuid"]
    with pytest.raises(SelectionError, match=f"and not in v{row['min_idc_version'] - 1}"):  # type: ignore[operator]
        dd.plan(uid, idc_version=int(row["min_idc_version"]) - 1)  # type: ignore[call-overload]


def test_a_collection_that_is_gone_can_be_named_as_of_then() -> None:
    row = earlier("collection_id NOT IN (SELECT collection_id FROM idc_index)")
    plan = dd.plan(str(row["collection_id"]), idc_version=int(row["max_idc_version"]))  # type: ignore[call-overload]
    assert plan.series_count == plan.unsized_series > 0


@pytest.mark.parametrize("version", [1, 26])
def test_a_version_that_the_tables_do_not_tell_of_is_refused(version: int) -> None:
    with pytest.raises(SelectionError, match=r"cover IDC v2 to v25"):
        dd.plan("nlst", idc_version=version)


def test_what_the_tables_do_not_tell_is_no_condition() -> None:
    row = earlier(WITHDRAWN)
    uuid, modality = str(row["crdc_series_uuid"]), str(row["Modality"])
    assert dd.plan(uuid, where={"modality": modality}).series_count == 1
    with pytest.raises(SelectionError, match="do not contain their license_short_name"):
        dd.plan(uuid, where={"license_short_name": "CC BY 4.0"})


def test_a_manifest_names_its_version_itself(tmp_path: Path) -> None:
    manifest = dd.plan("qin_pet_phantom").save(tmp_path / "m.s5cmd")
    with pytest.raises(SelectionError, match="another version cannot be chosen"):
        dd.plan(manifest, idc_version=11)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "s5cmd"])
def test_a_plan_with_earlier_series_is_saved_and_read(tmp_path: Path, suffix: str) -> None:
    plan = dd.plan([str(earlier()["crdc_series_uuid"]), "qin_pet_phantom"])
    again = dd.plan(plan.save(tmp_path / f"plan.{suffix}"))
    assert list(again) == list(plan)
    assert again.unsized_series == 1


def test_a_uuid_of_no_version_is_an_error(tmp_path: Path) -> None:
    manifest = tmp_path / "m.s5cmd"
    manifest.write_text(f"cp s3://idc-open-data/{'0' * 8}-0000-0000-0000-{'0' * 12}/* .\n")
    with pytest.raises(ManifestError, match="no IDC version up to v25"):
        dd.plan(manifest)


def test_the_page_of_an_earlier_version_is_refused() -> None:
    with pytest.raises(SelectionError, match="earlier IDC version"):
        dd.page_url(str(earlier(WITHDRAWN)["crdc_series_uuid"]))
