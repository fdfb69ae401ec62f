"""Real archives in a network namespace of each test file: two Orthancs, and dcmtk's programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hosted import adit_client
from support.namespace import namespace
from support.orthanc import Orthanc, free_port


@pytest.fixture(scope="session")
def adit() -> Path:
    """ADIT's client; it is fetched from where the registry can be reached."""
    return adit_client()


@pytest.fixture(scope="module", autouse=True)
def _namespace(adit: Path) -> Iterator[None]:
    """What is started in these tests is reachable from nowhere else."""
    with namespace():
        yield


@pytest.fixture(scope="module")
def receiver_port(_namespace: None) -> int:
    """Where this machine receives what archives send to DATASET_DL."""
    return free_port()


@pytest.fixture(scope="module")
def ward(_namespace: None, receiver_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive with two patients, three studies and five series."""
    place = tmp_path_factory.mktemp("ward")
    with Orthanc(place, "WARD", peers={"DATASET_DL": receiver_port}) as running:
        yield running


@pytest.fixture(scope="module")
def research(_namespace: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An empty archive."""
    with Orthanc(tmp_path_factory.mktemp("research"), "RESEARCH") as running:
        yield running


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver_port: int) -> None:
    monkeypatch.setenv("DATASET_DL_NODES", str(tmp_path / "nodes.json"))
    monkeypatch.setenv("DATASET_DL_RECEIVER_PORT", str(receiver_port))
    monkeypatch.setenv("DATASET_DL_RECEIVER_HOST", "127.0.0.1")
    monkeypatch.setenv("DATASET_DL_STATE", str(tmp_path / "state"))
    # No keyring of this machine.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def nodes(tmp_path: Path, ward: Orthanc, research: Orthanc) -> Path:
    """Both archives by each of their services."""
    path = tmp_path / "nodes.json"
    several = [
        {"name": "WARD", "dimse": ward.dimse},
        {"name": "WARDWEB", "dicomweb": ward.web},
        {"name": "RESEARCH", "dimse": research.dimse},
        {"name": "RESEARCHWEB", "dicomweb": research.web},
    ]
    path.write_text(json.dumps(several))
    return path
