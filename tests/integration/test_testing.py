"""The bucket that we and others test on."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

import dataset_dl as dd
from dataset_dl.testing import LocalBucket


@pytest.mark.parametrize("modality", ["CT", "MR", "SEG", "SR", "RTSTRUCT", "SM", "PR", "DX", "ANN"])
def test_every_kind_of_series_has_its_count_and_bytes(modality: str, tmp_path: Path) -> None:
    uuid = dd.query(
        f"SELECT crdc_series_uuid AS u FROM idc_index WHERE Modality = '{modality}' ORDER BY series_size_MB LIMIT 1"
    ).u[0]
    bucket = LocalBucket(uuid, directory=tmp_path)
    bucket.fill()
    (series,) = bucket.series
    files = sorted(bucket.series_directory(series).iterdir())
    assert len(files) == series.instanceCount
    assert sum(file.stat().st_size for file in files) == series.size_bytes
    uids = set()
    for file in files:
        dataset = dcmread(file)
        assert (dataset.Modality, dataset.PatientID) == (series.Modality, series.PatientID)
        assert dataset.SeriesInstanceUID == series.SeriesInstanceUID
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.SOPInstanceUID.is_valid and dataset.SOPClassUID.is_valid
        uids.add(dataset.SOPInstanceUID)
    assert len(uids) == len(files)


def test_the_smallest_instances_of_the_index_fit(tmp_path: Path) -> None:
    uuids = dd.query(
        "SELECT crdc_series_uuid AS u FROM idc_index ORDER BY series_size_MB / instanceCount LIMIT 5"
    ).u
    LocalBucket(list(uuids), directory=tmp_path).fill()


def test_files_are_made_once(tmp_path: Path) -> None:
    bucket = LocalBucket("qin_pet_phantom", max_series=1, directory=tmp_path)
    bucket.fill()
    made = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.dcm")}
    bucket.fill()
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.dcm")} == made


def test_too_much_is_refused() -> None:
    with pytest.raises(dd.PlanError, match="are allowed"):
        LocalBucket("nlst", max_series=1000, max_bytes=1_000_000)


def test_a_bucket_of_its_own_leaves_nothing() -> None:
    with LocalBucket("qin_pet_phantom", max_series=1) as bucket:
        assert bucket.endpoint_url.startswith("http://127.0.0.1:")
        root = bucket.root
    assert not root.exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(dd.EngineMissing, match=r"dataset-dl\[testing\]"):
        LocalBucket("qin_pet_phantom", max_series=1, directory=tmp_path).serve()
