"""`IDCClient` beside the client of idc-index that it stands in for: what it answers, and what it leaves on disk."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import idc_index
import idc_index.index
import pandas as pd
import pytest

import dataset_dl as dd
from dataset_dl import IDCClient
from dataset_dl.testing import LocalBucket

Theirs = idc_index.index.IDCClient


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[IDCClient, Any]]:
    """Ours and theirs over the same few collections; over all of IDC each answer takes theirs a quarter of a minute."""
    theirs = Theirs()
    ours = IDCClient()
    loaded = ours.index
    assert loaded.dtypes.to_dict() == theirs.index.dtypes.to_dict()
    pd.testing.assert_frame_equal(
        loaded.sample(1000, random_state=1), theirs.index.sample(1000, random_state=1)
    )
    kept = theirs.index.collection_id.isin(["rider_pilot", "qin_pet_phantom", "tcga_luad", "nlst"])
    ours.index = theirs.index = theirs.index[kept].groupby("collection_id").head(2000)
    del loaded
    yield ours, theirs


def public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(cls, callable) if not name.startswith("_")}


def test_it_is_one_and_has_all_of_it() -> None:
    assert issubclass(IDCClient, Theirs)
    theirs = public(Theirs)
    assert len(theirs) >= 25
    for name, method in theirs.items():
        mine = inspect.signature(public(IDCClient)[name]).parameters
        for parameter in inspect.signature(method).parameters.values():
            assert parameter.name in mine, f"{name}({parameter.name})"
            assert mine[parameter.name].default == parameter.default, f"{name}({parameter.name})"
        assert list(mine)[: len(inspect.signature(method).parameters)] == list(
            inspect.signature(method).parameters
        )


def test_every_attribute_of_theirs_is_there(pair: tuple[IDCClient, Any]) -> None:
    ours, theirs = pair
    for name in vars(theirs):
        if not name.startswith("_"):
            assert type(getattr(ours, name)) is type(getattr(theirs, name)) or name == "s5cmdPath", name
    assert ours.idc_version == theirs.idc_version == ours.get_idc_version()
    assert ours.indices_overview.keys() == theirs.indices_overview.keys()
    assert ours.get_index_schema("sm_index") == theirs.get_index_schema("sm_index")
    assert ours.get_index_schema("none") is None


def test_answers_are_theirs(pair: tuple[IDCClient, Any]) -> None:
    ours, theirs = pair
    assert sorted(ours.get_collections()) == sorted(
        dd.query("SELECT DISTINCT collection_id AS id FROM idc_index").id
    )
    for form in ("dict", "df", "list"):
        for method, argument in (
            ("get_patients", "rider_pilot"),
            ("get_dicom_studies", ours.get_patients("rider_pilot", "list")[:3]),
            ("get_dicom_series", ours.index.StudyInstanceUID.iloc[0]),
        ):
            mine, other = getattr(ours, method)(argument, form), getattr(theirs, method)(argument, form)
            assert type(mine) is type(other)
            if form == "df":
                assert len(mine) == len(other)
                assert list(mine.columns) == list(other.columns)
            else:
                assert len(mine) == len(other)
    uid = ours.index.SeriesInstanceUID.iloc[0]
    assert ours.get_series_size(uid) == theirs.get_series_size(uid)
    assert ours.get_viewer_URL(seriesInstanceUID=uid) == theirs.get_viewer_URL(seriesInstanceUID=uid)
    for error, call in ((ValueError, ("get_series_size", "1.2.3")), (TypeError, ("get_patients", 5))):
        with pytest.raises(error):
            getattr(ours, call[0])(call[1])


def test_the_summary_is_theirs(pair: tuple[IDCClient, Any]) -> None:
    mine, other = IDCClient().collection_summary, pair[1].collection_summary
    assert mine.index.equals(other.index)
    assert list(mine.columns) == list(other.columns)
    assert mine.series_size_MB.round(3).equals(other.series_size_MB.round(3))
    for one, two in zip(mine.Modality, other.Modality, strict=True):
        assert list(one) == list(two)


SQL = [
    "SELECT DISTINCT(collection_id), COUNT(DISTINCT(PatientID)) AS n FROM index GROUP BY 1 ORDER BY 2 DESC, 1",
    "SELECT BodyPartExamined FROM index WHERE Modality = 'MR' GROUP BY 1 ORDER BY 1 LIMIT 5",
    "SELECT i.SeriesInstanceUID, p.max_idc_version FROM index i JOIN prior_versions_index p"
    " USING (SeriesInstanceUID) ORDER BY 1, 2 LIMIT 5",
    "SELECT StudyDate, instanceCount, series_size_MB, crdc_series_uuid FROM index ORDER BY SeriesInstanceUID LIMIT 5",
]


@pytest.mark.parametrize("sql", SQL)
def test_sql_is_answered_as_theirs(pair: tuple[IDCClient, Any], sql: str) -> None:
    theirs, fresh = pair[1], IDCClient()
    narrowed = re.sub(
        r"FROM index( i)?\b", r"FROM (FROM index WHERE crdc_series_uuid IN (FROM kept)) AS i", sql
    )
    fresh._duckdb_conn.register("kept", theirs.index[["crdc_series_uuid"]])
    pd.testing.assert_frame_equal(fresh.sql_query(narrowed), theirs.sql_query(sql))
    assert "index" not in fresh.__dict__, "no frame was loaded for it"


def test_sql_sees_a_frame_that_was_changed() -> None:
    client = IDCClient()
    client.index = pd.DataFrame({"a": [1, 2]})
    assert client.sql_query("SELECT sum(a) AS s FROM index").s[0] == 3
    del client.index
    assert client.sql_query("SELECT count(*) AS n FROM index").n[0] > 1e6


@pytest.fixture
def client(bucket: LocalBucket) -> IDCClient:
    return IDCClient(endpoint_url=bucket.endpoint_url)


def files(root: Path) -> list[Path]:
    return [path.relative_to(root) for path in sorted(root.rglob("*.dcm"))]


def test_series_are_downloaded_and_resumed(client: IDCClient, bucket: LocalBucket, tmp_path: Path) -> None:
    uids = [str(each.SeriesInstanceUID) for each in bucket.series]
    assert client.download_dicom_series(uids[0], tmp_path, quiet=False) is None
    client.download_from_selection(seriesInstanceUID=uids, downloadDir=str(tmp_path), use_s5cmd_sync=True)
    assert {path.parent.as_posix() for path in files(tmp_path)} == {each.directory for each in bucket.series}
    assert dd.verify(tmp_path).ok
    flat = tmp_path / "flat"
    client.download_from_selection(flat, seriesInstanceUID=uids[1], dirTemplate=None)
    assert all(len(path.parts) == 1 for path in files(flat))
    client.download_from_selection(
        tmp_path / "own", seriesInstanceUID=uids[1], dirTemplate="%Modality-%PatientID/%SeriesInstanceUID"
    )
    assert files(tmp_path / "own")[0].parts[0] == f"PT-{bucket.series[1].PatientID}"


def test_the_most_exact_identifier_decides(client: IDCClient, bucket: LocalBucket, tmp_path: Path) -> None:
    client.download_from_selection(
        tmp_path, collection_id="nlst", seriesInstanceUID=[bucket.series[0].SeriesInstanceUID, "1.2.3"]
    )
    assert len(files(tmp_path)) == bucket.series[0].instanceCount
    client.download_from_selection(tmp_path / "u", crdc_series_uuid=bucket.series[2].crdc_series_uuid)
    assert len(files(tmp_path / "u")) == bucket.series[2].instanceCount


def test_a_dry_run_leaves_nothing(client: IDCClient, tmp_path: Path) -> None:
    client.download_collection("qin_pet_phantom", tmp_path, dry_run=True)
    client.download_from_selection(
        tmp_path, dry_run=True, collection_id="rider_pilot", analysis_results="exclude"
    )
    assert files(tmp_path) == []


def test_a_manifest_is_downloaded_with_a_callback_of_four(
    client: IDCClient, bucket: LocalBucket, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.s5cmd"
    manifest.write_text("# portal\n" + "".join(f"cp {each.series_aws_url} .\n" for each in bucket.series))
    seen: list[tuple[float, float, str, str]] = []
    client.download_from_manifest(
        str(manifest), str(tmp_path / "data"), progress_callback=lambda *told: seen.append(told)
    )
    total = sum(each.size_bytes for each in bucket.series)
    assert seen[-1] == (total, total, "B", "Downloading data")
    assert len(files(tmp_path / "data")) == sum(each.instanceCount for each in bucket.series)


def test_failures_raise(client: IDCClient, tmp_path: Path) -> None:
    with pytest.raises(dd.TransferIncomplete):
        client.download_collection("qin_pet_phantom", tmp_path)
    with pytest.raises(dd.NetworkError):
        IDCClient(endpoint_url="http://127.0.0.1:9").download_collection("qin_pet_phantom", tmp_path)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"collection_id": "none"}),
        (ValueError, {"collection_id": "nlst", "dirTemplate": "%Nothing"}),
        (ValueError, {"collection_id": "nlst", "source_bucket_location": "azure"}),
        (ValueError, {"collection_id": "nlst", "analysis_results": "some"}),
        (ValueError, {"collection_id": "nlst", "analysis_result_id": "x", "analysis_results": "exclude"}),
        (ValueError, {"collection_id": "nlst", "analysis_result_id": "none"}),
        (ValueError, {"crdc_series_uuid": "none"}),
        (ValueError, {"sopInstanceUID": "1.2.3"}),
        (TypeError, {"collection_id": 5}),
        (TypeError, {"seriesInstanceUID": ("1.2",)}),
    ],
)
def test_errors_are_of_their_kinds(
    client: IDCClient, tmp_path: Path, error: type, arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        client.download_from_selection(tmp_path, **arguments)
    with pytest.raises(FileNotFoundError, match="No such file"):
        client.download_from_manifest(str(tmp_path / "none.s5cmd"), str(tmp_path))


def test_too_little_space_is_their_error(
    client: IDCClient, bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset_dl.destination.disk.free_bytes", lambda path: 1000)
    with pytest.raises(idc_index.index.IDCClientInsufficientDiskSpaceError, match="free"):
        client.download_dicom_series(str(bucket.series[0].SeriesInstanceUID), tmp_path)


def test_addresses_of_files(client: IDCClient, bucket: LocalBucket) -> None:
    series = bucket.series[0]
    urls = client.get_series_file_URLs(series.SeriesInstanceUID)
    assert len(urls) == series.instanceCount
    assert all(url.startswith(f"s3://idc-open-data/{series.crdc_series_uuid}/") for url in urls)
    with pytest.raises(ValueError, match="SeriesInstanceUID"):
        client.get_series_file_URLs("1.2.3")


def test_one_client_a_class() -> None:
    assert IDCClient.client() is IDCClient.client()
    assert type(IDCClient.client()) is IDCClient


@pytest.mark.parametrize(
    "order", ["from dataset_dl import IDCClient", "import idc_index; from dataset_dl import IDCClient"]
)
def test_importing_configures_no_logging_and_costs_little(order: str) -> None:
    first = "import idc_index" in order
    code = f"""
import logging, sys
{order}
assert bool(logging.getLogger().handlers) is {first}
client = IDCClient()
import idc_index
assert issubclass(IDCClient, idc_index.index.IDCClient)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
assert int(peak) < 400_000, f"no table was loaded, {{peak}} kB"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
