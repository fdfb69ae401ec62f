from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from support import quick_index
from support.cli import Cli
from support.faults import FaultServer, serve

if TYPE_CHECKING:
    from distributed import Client

# Variables that a shell may export and that would redirect s5cmd or Python.
_INHERITED = ("PROXY", "CA_BUNDLE", "SSL_CERT", "AWS_", "S3_", "DATASET_DL_", "RCLONE_")
COLLECTION = "qin_pet_phantom"
NOWHERE = "http://127.0.0.1:9"


# The duration of an example depends on the machine; bin/bench measures speed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    # Before the import of test files, because some query the tables on import.
    quick_index.install()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in os.environ:
        if any(part in name.upper() for part in _INHERITED):
            monkeypatch.delenv(name)
    # A test that forgets to name an endpoint must not reach the real one.
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", NOWHERE)
    # Nor may tests read the user's configuration.
    monkeypatch.setenv("DATASET_DL_CONFIG", "/nonexistent/config.toml")
    # Nor may they leave records in the user's home.
    monkeypatch.setenv("DATASET_DL_STATE", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("COLUMNS", "120")
    # Tests name another engine, or take the fixture `engine`.
    monkeypatch.setenv("DATASET_DL_ENGINE", "s5cmd")


@pytest.fixture(params=["s5cmd", "curl"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an engine for S3; the test runs with each."""
    monkeypatch.setenv("DATASET_DL_ENGINE", request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def files_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of four PET series of 81 instances each (19 MB); read-only for tests."""
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
    """The four series, served by rclone; read-only for tests."""
    with LocalBucket(COLLECTION, max_series=4, directory=files_of_all) as served:
        yield served


@pytest.fixture(scope="session")
def filled(files_of_all: Path) -> LocalBucket:
    """Three of the series, not served; read-only for tests."""
    return LocalBucket(COLLECTION, max_series=3, directory=files_of_all)


@pytest.fixture(scope="session")
def saved(filled: LocalBucket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved plan of these three: opening it is faster than querying the tables again."""
    plan = dd.plan([each.crdc_series_uuid for each in filled.series])
    return plan.save(tmp_path_factory.mktemp("saved") / "plan.parquet")


@pytest.fixture
def server(filled: LocalBucket) -> Iterator[FaultServer]:
    """A server for these three that misbehaves on demand."""
    with serve(filled.root) as running:
        yield running


@pytest.fixture
def own(filled: LocalBucket, tmp_path: Path) -> Iterator[LocalBucket]:
    """A bucket of the three, not served yet; a test may replace its files, but not write to these hard links."""
    root = tmp_path / "bucket"
    shutil.copytree(filled.root, root, copy_function=os.link)
    bucket = copy.copy(filled)
    bucket.root = root
    yield bucket
    bucket.close()


@pytest.fixture(scope="session")
def dask_client() -> Iterator[Client]:
    """Two worker processes of Dask on this machine."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)
