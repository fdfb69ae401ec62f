"""Series that another destination of this machine has are copied, not fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from support.cli import Cli

NOWHERE = "http://127.0.0.1:9"


def uuids(bucket: LocalBucket) -> list[str]:
    return [each.crdc_series_uuid for each in bucket.series]


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.dcm")}


@pytest.fixture
def first(bucket: LocalBucket, tmp_path: Path) -> Path:
    assert dd.download(uuids(bucket), tmp_path / "first", endpoint_url=bucket.endpoint_url).ok
    return tmp_path / "first"


def test_what_is_complete_elsewhere_needs_no_network(
    first: Path, bucket: LocalBucket, tmp_path: Path
) -> None:
    report = dd.download(
        uuids(bucket)[:2], tmp_path / "to", layout="%SeriesInstanceUID", reuse=first, endpoint_url=NOWHERE
    )
    assert (report.ok, report.complete_series, report.fetched_bytes) == (True, 2, 0)
    there = files(first)
    assert all(there[name] == data for name, data in files(tmp_path / "to").items())
    assert dd.verify(tmp_path / "to", deep=True).ok
    # It is a copy: whoever changes one does not change the other.
    path = next((tmp_path / "to").rglob("*.dcm"))
    path.write_bytes(b"changed")
    assert dd.verify(first).ok


def test_what_is_not_whole_there_is_fetched(first: Path, bucket: LocalBucket, tmp_path: Path) -> None:
    cut = min(first.rglob("*.dcm"))
    cut.write_bytes(cut.read_bytes()[:-2])
    report = dd.download(uuids(bucket), tmp_path / "to", reuse=[first], endpoint_url=bucket.endpoint_url)
    assert (report.ok, report.complete_series, report.fetched_series) == (True, 4, 1)
    assert dd.verify(tmp_path / "to", md5=True, endpoint_url=bucket.endpoint_url).ok


def test_files_that_were_renamed_get_the_names_of_their_objects(bucket: LocalBucket, tmp_path: Path) -> None:
    named = tmp_path / "named"
    layout = "%SeriesInstanceUID/%InstanceNumber.dcm"
    assert dd.download(uuids(bucket)[:1], named, layout=layout, endpoint_url=bucket.endpoint_url).ok
    report = dd.download(uuids(bucket)[:1], tmp_path / "to", reuse=named, endpoint_url=NOWHERE)
    assert (report.ok, report.fetched_bytes) == (True, 0)
    assert files(tmp_path / "to").keys() == {
        path.name for path in bucket.series_directory(bucket.series[0]).iterdir()
    }


def test_the_command_line_reuses_and_resumes(first: Path, bucket: LocalBucket, cli: Cli) -> None:
    arguments = ["idc", "download", *uuids(bucket), "--to", "to", "--reuse", first, "--endpoint-url", NOWHERE]
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert "nothing was fetched" in done.out
    assert cli(*arguments).code == 0
    wrong = cli("idc", "download", uuids(bucket)[0], "--to", "x", "--reuse", cli.directory / "none")
    assert wrong.code == 2
    assert "holds no plan of a download" in wrong.err
    assert not (cli.directory / "x").exists()


def test_a_destination_does_not_reuse_itself(first: Path, bucket: LocalBucket) -> None:
    next(first.rglob("*.dcm")).unlink()
    report = dd.download(uuids(bucket), first, reuse=first, endpoint_url=bucket.endpoint_url)
    assert (report.ok, report.fetched_series) == (True, 1)
