"""What tutorials, SlicerIDCBrowser and the IDC API do with idc-index, done with the client that stands in for it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest

import dataset_dl as dd
from dataset_dl import IDCClient
from dataset_dl.destination import paths
from dataset_dl.errors import ManifestError
from dataset_dl.manifest.commands import Places
from dataset_dl.manifest.contents import parse
from dataset_dl.testing import LocalBucket
from support.cli import Cli

UUID = "085e85b3-3780-47f6-8538-585bcca95336"


@pytest.fixture
def client(bucket: LocalBucket) -> IDCClient:
    return IDCClient(endpoint_url=bucket.endpoint_url)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_everything_in_the_directory_is_data(client: IDCClient, bucket: LocalBucket, tmp_path: Path) -> None:
    target = tmp_path / "to"
    target.mkdir()
    client.download_dicom_series(str(bucket.series[0].SeriesInstanceUID), str(target))
    assert {path.suffix for path in files(target)} == {".dcm"}
    assert len(files(target)) == bucket.series[0].instanceCount
    records = paths.state(target)
    assert target not in records.parents
    assert {"LICENSES.md", "CITATIONS.bib", "journal.sqlite", "plan.parquet"} <= {
        path.name for path in files(records)
    }


def test_records_outside_are_found_again(
    client: IDCClient, bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "to"
    target.mkdir()
    uid = str(bucket.series[0].SeriesInstanceUID)
    client.download_dicom_series(uid, str(target), dirTemplate=None)
    assert dd.verify(target).series_count == 1
    nowhere = IDCClient(endpoint_url="http://127.0.0.1:9")
    nowhere.download_dicom_series(uid, str(target), dirTemplate=None)
    assert dd.download(uid, target, layout=".", endpoint_url="http://127.0.0.1:9").ok
    # Another directory at the same path has nothing to do with them.
    shutil.rmtree(target)
    (tmp_path / "other").mkdir()
    (tmp_path / "other").rename(target)
    assert paths.state(target) == target / ".dataset-dl"
    # And one that has records of its own keeps them.
    dd.download(uid, target, endpoint_url=bucket.endpoint_url)
    client.download_dicom_series(uid, str(target))
    assert paths.state(target) == target / ".dataset-dl"


LINES = {
    "with blanks": "cp {url} /home/me/my data/here",
    "absolute": "cp {url} /data/x",
    "with an apostrophe": "cp {url} /home/o'brien/x",
    "of Windows": "cp {url} C:\\data\\x",
    "above": "cp {url} ../x",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_directories_of_others_do_not_matter_where_a_layout_decides(
    client: IDCClient, bucket: LocalBucket, cli: Cli, line: str
) -> None:
    manifest = cli.directory / "m.s5cmd"
    url = bucket.series[0].series_aws_url
    manifest.write_text(f"name of the column\n{line.format(url=url)}\n")
    (cli.directory / "a").mkdir()
    client.download_from_manifest(str(manifest), str(cli.directory / "a"))
    assert len(files(cli.directory / "a")) == bucket.series[0].instanceCount
    words = ["idc", "download", "m.s5cmd", "--to", "b", "--endpoint-url", bucket.endpoint_url]
    refused = cli(*words)
    assert refused.code == 2
    assert "--layout" in refused.err
    assert cli(*words, "--layout", "%PatientID").code == 0


def test_a_directory_that_is_the_destination_is_accepted(cli: Cli, bucket: LocalBucket) -> None:
    target = cli.directory / "my data"
    url = bucket.series[0].series_aws_url
    for number, line in enumerate(
        [f"cp {url} {target}", f"cp {url} '{target}/'", f"cp {url} {target}/ # all"]
    ):
        (cli.directory / "m.s5cmd").write_text(line)
        assert dd.plan(cli.directory / "m.s5cmd", into=target).series_count == 1, number
    with pytest.raises(ManifestError, match="leaves the destination"):
        dd.plan(cli.directory / "m.s5cmd", into=cli.directory / "other")


@pytest.mark.parametrize(
    ("line", "directory"),
    [
        (f"cp s3://idc-open-data/{UUID}/one.dcm sub/one.dcm", "sub"),
        (f"cp s3://idc-open-data/{UUID}/one.dcm one.dcm", None),
        (f"cp s3://idc-open-data/{UUID}/* . # first", None),
        (f"cp s3://idc-open-data/{UUID}/* 'a #b' # x", "a #b"),
        (f"cp s3://idc-open-data/{UUID}/* a#b", "a#b"),
        (f"cp s3://idc-open-data/{UUID}/* .   # don't", None),
    ],
)
def test_lines_as_others_write_them(line: str, directory: str | None) -> None:
    (entry,) = parse(line.encode(), "m").entries
    assert entry.directory == directory


def test_ignored_directories_are_not_even_read() -> None:
    line = f"cp s3://idc-open-data/{UUID}/* /it's/open".encode()
    (entry,) = parse(line, "m", Places(ignored=True)).entries
    assert entry.directory is None


def test_an_unknown_series_does_not_stop_the_others(client: IDCClient, bucket: LocalBucket, cli: Cli) -> None:
    manifest = cli.directory / "m.s5cmd"
    good = [each.series_aws_url for each in bucket.series[:2]]
    strange = bucket.series[2].series_aws_url.replace("idc-open-data", "invalid-bucket")
    manifest.write_text(
        "".join(f"cp {url} .\n" for url in [f"s3://idc-open-data/{UUID[:-3]}000/*", *good, strange])
    )
    (cli.directory / "a").mkdir()
    with pytest.raises(ValueError, match=r"2 series of .* are in no IDC version"):
        client.download_from_manifest(str(manifest), str(cli.directory / "a"))
    assert len(files(cli.directory / "a")) == 2 * bucket.series[0].instanceCount
    words = ["idc", "download", "m.s5cmd", "--to", "b", "--endpoint-url", bucket.endpoint_url]
    refused = cli(*words)
    assert refused.code == 2
    assert "--skip-missing" in refused.err
    accepted = cli(*words, "--skip-missing")
    assert accepted.code == 0
    assert "The bucket invalid-bucket is not one of IDC's" in accepted.err
    assert f"{UUID[:-3]}000" in accepted.err


def test_what_is_not_there_is_what_it_is_upstream(
    client: IDCClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert client.fetch_index("nope") is None
    assert "nope is not available" in caplog.text
    with pytest.raises(FileNotFoundError):
        client.download_from_manifest(str(tmp_path / "none.s5cmd"), str(tmp_path))
    with pytest.raises(
        ValueError, match="None of the series in the selection belong to analysis results"
    ) as caught:
        client.download_from_selection(
            str(tmp_path), collection_id="qin_prostate_repeatability", analysis_results="only"
        )
    assert len(str(caught.value)) < 200


def test_sql_asks_the_file_until_the_frame_is_another(client: IDCClient) -> None:
    def kind() -> str:
        client.sql_query("SELECT 1")
        sql = "SELECT sql FROM duckdb_views() WHERE view_name = 'index' ORDER BY internal"
        found = client._duckdb_conn.execute(sql).fetchall()
        return "file" if found and "read_parquet" in (found[0][0] or "") else "frame"

    assert len(client.index) > 1_000_000
    assert kind() == "file"
    client.index = client.index[client.index.collection_id == "nlst"]
    assert kind() == "frame"
    assert set(client.sql_query("SELECT DISTINCT collection_id FROM index").collection_id) == {"nlst"}
    client.index["mine"] = 1
    assert client.sql_query("SELECT sum(mine) AS n FROM index").n[0] == len(client.index)
    client.index = pd.DataFrame({"a": [1, "x"]})  # a column of mixed types
    assert client.sql_query("SELECT count(*) AS n FROM index").n[0] == 2


def test_a_dry_run_of_an_earlier_version_counts_its_bytes(cli: Cli) -> None:
    done = cli("idc", "download", "nlst", "--idc-version", "10", "--to", "d", "--dry-run")
    assert done.code == 5
    assert "\n0 B needed" not in done.out


@pytest.fixture
def missing(cli: Cli) -> Path:
    path = cli.directory / "m.tcia"
    path.write_text("manifestVersion=3.0\nListOfSeriesToDownload=\n1.2.3.4\n1.2.3.5\n")
    return path


def test_a_tcia_manifest_of_which_idc_has_nothing(cli: Cli, missing: Path) -> None:
    done = cli("idc", "download", missing, "--to", "d")
    assert done.code == 3
    assert "1.2.3.4  TCIA may have it: https://" in done.err
    assert (cli.directory / "d/.dataset-dl/missing.tcia").read_text().endswith("1.2.3.4\n1.2.3.5\n")
    assert cli("idc", "download", missing, "--to", "d", "--dry-run").code == 3
    accepted = cli("idc", "download", missing, "--to", "d", "--skip-missing")
    assert accepted.code == 0
    assert "Traceback" not in accepted.err
    assert cli("idc", "manifest", missing, "-o", "p.parquet").code == 3


def test_a_dry_run_with_series_missing_ends_as_the_manifest_does(
    cli: Cli, bucket: LocalBucket, missing: Path
) -> None:
    with missing.open("a") as file:
        file.write(f"{bucket.series[0].SeriesInstanceUID}\n")
    assert cli("idc", "download", missing, "--to", "d", "--dry-run").code == 3
    assert cli("idc", "download", missing, "--to", "d", "--dry-run", "--skip-missing").code == 0
    done = cli("idc", "download", missing, "--to", "d", "--endpoint-url", bucket.endpoint_url)
    assert done.code == 3
    assert "Every series that IDC has is on disk" in done.out
    assert "Every series is on disk" not in done.out


def test_a_study_in_a_tcia_manifest_is_no_series(cli: Cli, bucket: LocalBucket, missing: Path) -> None:
    study = str(bucket.series[0].StudyInstanceUID)
    missing.write_text(
        f"manifestVersion=3.0\nListOfSeriesToDownload=\n{study}\n{bucket.series[0].SeriesInstanceUID}\n"
    )
    with pytest.warns(dd.SelectionWarning, match="is a StudyInstanceUID"):
        plan = dd.plan(missing)
    assert (plan.series_count, plan.missing) == (1, (study,))


def test_a_bundle_of_paths_is_not_left_anywhere(
    client: IDCClient, bucket: LocalBucket, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    (tmp_path / "to").mkdir()
    client.download_from_selection(
        str(tmp_path / "to"), seriesInstanceUID=str(bucket.series[0].SeriesInstanceUID), dry_run=True
    )
    assert files(tmp_path / "to") == []
    assert set(tmp_path.iterdir()) - before == {tmp_path / "to"}
