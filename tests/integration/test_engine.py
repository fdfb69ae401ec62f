"""s5cmd itself, where it answers oddly."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset_dl.errors import CertificateError, NetworkError
from dataset_dl.network import NetworkSettings
from dataset_dl.s5cmd.binary import Binary, require
from dataset_dl.s5cmd.engine import S5cmdEngine
from dataset_dl.testing import LocalBucket


def test_a_bundle_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, bucket: LocalBucket) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file.pem")
    engine = S5cmdEngine(require(), NetworkSettings.gather(endpoint_url=bucket.endpoint_url))
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
