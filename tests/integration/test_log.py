"""What a program that listens to the logger is told; nobody else is."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket


def test_records_tell_by_attributes(
    bucket: LocalBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "dataset_dl"):
        plan = dd.plan([each.crdc_series_uuid for each in bucket.series], into=tmp_path)
        dd.download(plan, endpoint_url=bucket.endpoint_url)
    planned, *_, finished = caplog.records
    for record in caplog.records:
        assert record.name == "dataset_dl"
        assert record.collection_id == "qin_pet_phantom"  # type: ignore[attr-defined]
        assert record.estimated_size_gb == round(plan.size_bytes / 1e9, 3)  # type: ignore[attr-defined]
    assert planned.duration_seconds > 0  # type: ignore[attr-defined]
    assert (finished.levelname, finished.complete_series) == ("INFO", 4)  # type: ignore[attr-defined]
    complete = [record for record in caplog.records if hasattr(record, "crdc_series_uuid")]
    assert {record.crdc_series_uuid for record in complete} == {  # type: ignore[attr-defined]
        each.crdc_series_uuid for each in bucket.series
    }


def test_what_fails_is_a_warning(
    bucket: LocalBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = dd.plan("rider_pilot", where={"Modality": "CT"}, into=tmp_path)
    with caplog.at_level(logging.WARNING, "dataset_dl"):
        report = dd.download(lacking, endpoint_url=bucket.endpoint_url, check=False, retries=0)
    failed = [record for record in caplog.records if hasattr(record, "cause")]
    assert [record.cause for record in failed] == ["not_found"] * len(report.failures)  # type: ignore[attr-defined]
    assert (caplog.records[-1].levelname, caplog.records[-1].failed_series) == (  # type: ignore[attr-defined]
        "WARNING",
        len(report.failures),
    )


def test_it_is_silent_unless_asked(tmp_path: Path) -> None:
    program = (
        "import dataset_dl as dd\n"
        "plan = dd.plan('rider_pilot', into='d')\n"
        "try: dd.download(plan, progress='none', retries=0, endpoint_url='http://127.0.0.1:9')\n"
        "except dd.NetworkError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
