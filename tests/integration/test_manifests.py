"""Manifests and tables of others, from the file to what is on disk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from support.cli import Cli

UNKNOWN = [f"1.3.6.1.4.1.14519.5.2.1.9999.{number}" for number in range(1, 31)]


@pytest.fixture
def manifest(bucket: LocalBucket, tmp_path: Path) -> Path:
    """A .tcia file of which IDC lacks some."""
    uids = [str(each.SeriesInstanceUID) for each in bucket.series]
    text = "manifestVersion=3.0\r\nListOfSeriesToDownload=\r\n" + "".join(
        f"{uid} \r\n" for uid in [*uids, *UNKNOWN]
    )
    path = tmp_path / "m.tcia"
    path.write_bytes(text.encode())
    return path


def test_what_idc_lacks_of_a_tcia_manifest_is_told_and_the_rest_is_fetched(
    cli: Cli, bucket: LocalBucket, manifest: Path
) -> None:
    outcome = cli("idc", "download", manifest, "--to", "data", "--endpoint-url", bucket.endpoint_url)
    assert outcome.code == 3
    assert "IDC v25 does not have 30 of what was asked for:" in outcome.err
    assert f"{UNKNOWN[19]}  TCIA may have it: https://services.cancerimagingarchive.net" in outcome.err
    assert "and 10 more" in outcome.err
    assert "IDC does not have 30 of the 34 series" in outcome.err
    assert len(list((cli.directory / "data").rglob("*.dcm"))) == sum(s.instanceCount for s in bucket.series)
    left = cli.directory / "data" / ".dataset-dl" / "missing.tcia"
    assert dd.plan(left).series_count == 0
    assert len(dd.plan(left).missing) == 30
    again = cli("idc", "download", manifest, "--to", "data", "--endpoint-url", "http://127.0.0.1:9")
    assert again.code == 3
    accepted = cli("idc", "download", manifest, "--to", "data", "--skip-missing")
    assert accepted.code == 0
    assert "nothing was fetched" in accepted.out


def test_a_large_tcia_manifest_of_which_one_in_twenty_is_unknown(tmp_path: Path) -> None:
    uids = list(dd.query("SELECT SeriesInstanceUID AS uid FROM idc_index ORDER BY hash(uid) LIMIT 1900").uid)
    unknown = [f"1.3.6.1.4.1.14519.5.2.1.9999.{number}" for number in range(100)]
    mixed = sorted([*uids, *unknown], key=hash)
    path = tmp_path / "m.tcia"
    path.write_text("manifestVersion=3.0\nListOfSeriesToDownload=\n" + "\n".join(mixed))
    plan = dd.plan(path)
    assert {row.SeriesInstanceUID for row in plan} == set(uids)
    assert sorted(plan.missing) == sorted(unknown)


def test_a_manifest_of_it_is_written_and_says_so(cli: Cli, manifest: Path) -> None:
    outcome = cli("idc", "manifest", manifest, "-o", "p.parquet")
    assert (outcome.code, dd.plan(cli.directory / "p.parquet").series_count) == (3, 4)
    again = cli("idc", "manifest", manifest, "-o", "p.parquet", "--skip-missing")
    assert (again.code, dd.plan(cli.directory / "p.parquet").skip_missing) == (2, False)
    assert "--force" in again.err
    assert cli("idc", "manifest", manifest, "-o", "p.parquet", "--skip-missing", "--force").code == 0
    dry = cli("idc", "download", manifest, "--to", "d", "--dry-run", "--json")
    assert dry.json["missing"] == UNKNOWN


def test_an_unknown_identifier_stops_everything_unless_it_may_be_skipped(
    bucket: LocalBucket, tmp_path: Path
) -> None:
    uids = [str(each.SeriesInstanceUID) for each in bucket.series]
    with pytest.raises(dd.SelectionError, match="25 more match nothing"):
        dd.plan([*uids, *UNKNOWN])
    plan = dd.plan([*uids, *UNKNOWN], skip_missing=True, into=tmp_path)
    assert (plan.series_count, plan.missing) == (4, tuple(UNKNOWN))
    report = dd.download(plan, endpoint_url=bucket.endpoint_url)
    assert report.ok


def test_a_report_of_what_idc_lacks(bucket: LocalBucket, manifest: Path, tmp_path: Path) -> None:
    plan = dd.plan(manifest, into=tmp_path / "data")
    with pytest.raises(dd.TransferIncomplete, match="30 of the 34 series") as caught:
        dd.download(plan, endpoint_url=bucket.endpoint_url)
    report = caught.value.report
    assert (report.complete_series, report.missing, report.ok) == (4, tuple(UNKNOWN), False)
    assert report.to_dict()["missing"] == UNKNOWN


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_tables_in_memory(make: object, bucket: LocalBucket) -> None:
    uids: list[str | None] = [each.SeriesInstanceUID for each in bucket.series]
    table = make({"n": range(4), "Series Instance UID": uids})  # type: ignore[operator]
    assert {each.SeriesInstanceUID for each in dd.plan(table)} == set(uids)
    gap = make({"PatientID": ["R0259", "R0263"], "SeriesInstanceUID": [uids[0], None]})  # type: ignore[operator]
    assert {each.PatientID for each in dd.plan(gap)} == {bucket.series[0].PatientID, "R0263"}
    with pytest.raises(dd.ManifestError, match="Row 2 of table names nothing"):
        dd.plan(make({"SeriesInstanceUID": [uids[0], None]}))  # type: ignore[operator]
    with pytest.raises(dd.ManifestError, match="No column of the table names series; it has n, x"):
        dd.plan(make({"n": [1], "x": [2]}))  # type: ignore[operator]


def test_a_series_with_two_directories_is_refused(bucket: LocalBucket, tmp_path: Path) -> None:
    url = bucket.series[0].series_aws_url
    (tmp_path / "m.s5cmd").write_text(f"cp {url} a/\n# twice is no harm\ncp {url} a/\ncp {url} b/\n")
    with pytest.raises(dd.ManifestError, match=r"Line 4 .* to “b”, and line 1 .* to “a”"):
        dd.plan(tmp_path / "m.s5cmd")


def test_a_parquet_table_and_a_tree(cli: Cli, bucket: LocalBucket, tmp_path: Path) -> None:
    uids: list[str | None] = [each.SeriesInstanceUID for each in bucket.series]
    pd.DataFrame({"Series UID": uids, "n": range(4)}).to_parquet(tmp_path / "t.parquet")
    plan = dd.plan(tmp_path / "t.parquet", into=tmp_path / "data")
    assert {each.SeriesInstanceUID for each in plan} == set(uids)
    pd.DataFrame({"n": [1]}).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(dd.ManifestError, match="lacks columns that a plan has"):
        dd.plan(tmp_path / "n.parquet")
    dd.download(plan, endpoint_url=bucket.endpoint_url)
    assert set(dd.plan(tmp_path / "data")) == set(plan)
    assert "10.7937" in cli("idc", "cite", tmp_path / "data", "--offline").out
    (tmp_path / "other").mkdir()
    with pytest.raises(dd.ManifestError, match="is a directory that no download went to"):
        dd.plan(tmp_path / "other")


def test_a_tree_called_like_a_collection_is_not_taken_for_it(
    bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dd.download(dd.plan(bucket.series[0].crdc_series_uuid), "rider_pilot", endpoint_url=bucket.endpoint_url)
    assert dd.plan("rider_pilot").series_count > 1
    assert dd.plan("rider_pilot/").series_count == 1
    assert dd.plan(Path("rider_pilot")).series_count == 1


def test_an_address_is_a_source(bucket: LocalBucket) -> None:
    assert [row.crdc_series_uuid for row in dd.plan(bucket.series[0].series_aws_url)] == [
        bucket.series[0].crdc_series_uuid
    ]


def test_a_patient_whose_name_pandas_made_a_float(bucket: LocalBucket) -> None:
    patient = dd.query("SELECT PatientID AS id FROM idc_index WHERE regexp_full_match(PatientID, '[1-9][0-9]{5}')"
                       " ORDER BY 1 LIMIT 1").id[0]  # fmt: skip
    assert {row.PatientID for row in dd.plan(pd.DataFrame({"PatientID": [float(patient)]}))} == {patient}


def test_a_spreadsheet_and_a_table_on_standard_input(cli: Cli, bucket: LocalBucket) -> None:
    frame = pd.DataFrame({"SeriesInstanceUID": [each.SeriesInstanceUID for each in bucket.series]})
    frame.to_excel(cli.directory / "cohort.xlsx", index=False)
    assert dd.plan(cli.directory / "cohort.xlsx").series_count == 4
    outcome = cli("idc", "manifest", "-", "-o", "p.csv", stdin=frame.to_csv(sep="\t"))
    assert (outcome.code, dd.plan(cli.directory / "p.csv").series_count) == (0, 4)
