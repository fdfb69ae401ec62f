from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from support import quick_index
from support.cli import Cli
from support.faults import FaultServer, serve

# A shell may export any of these; they would lead s5cmd or Python elsewhere.
_INHERITED = ("PROXY", "CA_BUNDLE", "SSL_CERT", "AWS_", "S3_", "DATASET_DL_", "RCLONE_")
COLLECTION = "qin_pet_phantom"
NOWHERE = "http://127.0.0.1:9"


# How long an example takes is the machine's matter: speed lives in bin/bench.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


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
def files_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of four PET series of 81 instances each (19 MB); read-only to tests."""
    root = tmp_path_factory.mktemp("store")
    LocalBucket(COLLECTION, max_series=4, directory=root).fill()
    before = state_of(root)
    yield root
    assert state_of(root) == before, "a test has written into the files that all tests share"


def state_of(root: Path) -> dict[Path, tuple[int, int]]:
    found = {path: path.stat() for path in root.rglob("*.dcm")}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


@pytest.fixture(scope="session")
def bucket(files_of_all: Path) -> Iterator[LocalBucket]:
    """The four series, served by rclone; read-only to tests."""
    with LocalBucket(COLLECTION, max_series=4, directory=files_of_all) as served:
        yield served


@pytest.fixture(scope="session")
def filled(files_of_all: Path) -> LocalBucket:
    """Three of them, served by nobody; read-only to tests."""
    return LocalBucket(COLLECTION, max_series=3, directory=files_of_all)


@pytest.fixture(scope="session")
def saved(filled: LocalBucket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of these, saved: to open it takes less time than to ask the tables again."""
    plan = dd.plan([each.crdc_series_uuid for each in filled.series])
    return plan.save(tmp_path_factory.mktemp("saved") / "plan.parquet")


@pytest.fixture
def server(filled: LocalBucket) -> Iterator[FaultServer]:
    """A server of these that misbehaves as a test tells it."""
    with serve(filled.root) as running:
        yield running


@pytest.fixture
def own(filled: LocalBucket, tmp_path: Path) -> Iterator[LocalBucket]:
    """A bucket of the three, served by nobody yet, that a test may spoil: by new files, as these are links."""
    root = tmp_path / "bucket"
    shutil.copytree(filled.root, root, copy_function=os.link)
    bucket = copy.copy(filled)
    bucket.root = root
    yield bucket
    bucket.close()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)
