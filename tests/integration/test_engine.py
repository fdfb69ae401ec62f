"""s5cmd itself, where it answers oddly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import dataset_dl as dd
from benchmarks.stores import Store, far
from dataset_dl.engines.descriptors import descriptor_limit
from dataset_dl.engines.s5cmd.binary import Binary, require
from dataset_dl.engines.s5cmd.command import choose_workers
from dataset_dl.engines.s5cmd.engine import S5cmdEngine
from dataset_dl.errors import CertificateError, NetworkError, PlanError
from dataset_dl.network import NetworkSettings
from dataset_dl.testing import LocalBucket


def test_a_bundle_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, bucket: LocalBucket) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file.pem")
    engine = S5cmdEngine(require(), NetworkSettings.gather(endpoint_url="https://127.0.0.1:9"))
    with pytest.raises(CertificateError, match="AWS_CA_BUNDLE"):
        engine.probe(bucket.series[0].series_aws_url)


def test_buckets_that_are_not_there_are_told(bucket: LocalBucket) -> None:
    engine = S5cmdEngine(require(), NetworkSettings(endpoint_url=bucket.endpoint_url))
    with pytest.raises(NetworkError, match="does not hold the buckets of IDC"):
        engine.probe("s3://nowhere/u/*")


def test_words_that_no_one_knows_are_passed_on(tmp_path: Path) -> None:
    program = tmp_path / "s5cmd"
    program.write_text("#!/bin/sh\necho something new http://me:secret@proxy >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(NetworkError, match="something new") as caught:
        S5cmdEngine(Binary(program, "2.3.0"), NetworkSettings()).probe("s3://idc-open-data/u/*")
    assert "secret" not in str(caught.value)


def test_workers_given_are_workers_used() -> None:
    assert S5cmdEngine(require(), NetworkSettings(), workers=3).workers == 3


def test_a_store_far_away_gets_more_workers(bucket: LocalBucket) -> None:
    near = Store(bucket.endpoint_url, {}, Path())
    with far(near, 0.04) as store:
        engine = S5cmdEngine(require(), NetworkSettings(endpoint_url=store.endpoint_url))
        engine.probe(bucket.series[0].series_aws_url)
    # What comes through the relay may be a little early.
    assert engine.workers >= choose_workers(os.cpu_count() or 1, descriptor_limit(), 0.035)


def test_a_rate_is_not_exceeded(bucket: LocalBucket, tmp_path: Path, engine: str) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series[:4]])
    report = dd.download(
        plan, tmp_path / "to", endpoint_url=bucket.endpoint_url, progress="none",
        max_rate_mbps=plan.size_bytes / 1e6 / 3, stall_timeout_seconds=1,
    )  # fmt: skip
    assert report.ok
    assert report.elapsed_seconds > 2.5


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(bucket: LocalBucket, tmp_path: Path, rate: float) -> None:
    plan = dd.plan([bucket.series[0].crdc_series_uuid])
    with pytest.raises(PlanError, match="MB/s is no rate"):
        dd.download(plan, tmp_path / "to", max_rate_mbps=rate)
    assert not (tmp_path / "to").exists()
