from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataset_dl.testing import LocalBucket
from support import quick_index
from support.cli import Cli

# A shell may export any of these; they would lead s5cmd or Python elsewhere.
_INHERITED = ("PROXY", "CA_BUNDLE", "SSL_CERT", "AWS_", "S3_", "DATASET_DL_", "RCLONE_")
NOWHERE = "http://127.0.0.1:9"


def pytest_configure() -> None:
    # Before test files are imported, some of which ask already.
    quick_index.install()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in os.environ:
        if any(part in name.upper() for part in _INHERITED):
            monkeypatch.delenv(name)
    # What forgets to name an endpoint must not reach for the real one.
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", NOWHERE)
    # Nor may what somebody has configured.
    monkeypatch.setenv("DATASET_DL_CONFIG", "/nonexistent/config.toml")
    # Nor may records be left in somebody's home.
    monkeypatch.setenv("DATASET_DL_STATE", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    """Four PET series of 81 instances each (19 MB), served by rclone; read-only to tests."""
    with LocalBucket("qin_pet_phantom", max_series=4, directory=tmp_path_factory.mktemp("bucket")) as served:
        yield served


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)
