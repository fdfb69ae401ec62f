"""A hospital's network on loopback; nothing here is made up but the names."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataset_dl.testing import LocalBucket
from support.corporate import SQUID, Authority, Squid, squid, tls_store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.corporate)


@pytest.fixture(scope="session", autouse=True)
def _squid_is_here() -> None:
    if not SQUID.exists():  # bin/test installs it
        pytest.fail("squid is not installed: apt-get install squid-openssl")


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that squid, which gives up its rights, can enter."""
    path = Path(tempfile.mkdtemp(prefix="dataset-dl-corporate-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def private(place: Path) -> Authority:
    """The authority of the hospital, which signs for its store."""
    return Authority.make(place / "private", "Hospital")


@pytest.fixture(scope="session")
def inspecting(place: Path) -> Authority:
    """The authority of the proxy that breaks TLS open."""
    return Authority.make(place / "inspecting", "Hospital Inspection")


@pytest.fixture(scope="session")
def held(place: Path) -> LocalBucket:
    bucket = LocalBucket("qin_pet_phantom", max_series=1, directory=place / "buckets")
    bucket.fill()
    return bucket


@pytest.fixture(scope="session")
def store_port(held: LocalBucket, private: Authority) -> Iterator[int]:
    with tls_store(held.root, private) as port:
        yield port


@pytest.fixture(scope="session")
def plain_proxy(place: Path) -> Iterator[Squid]:
    with squid(place / "plain") as running:
        yield running


@pytest.fixture(scope="session")
def password_proxy(place: Path) -> Iterator[Squid]:
    with squid(place / "password", password=True) as running:
        yield running


@pytest.fixture(scope="session")
def inspecting_proxy(place: Path, inspecting: Authority, private: Authority) -> Iterator[Squid]:
    with squid(place / "inspect", authority=inspecting, upstream=private.path) as running:
        yield running


@pytest.fixture(scope="session")
def system_store(place: Path) -> Path:
    """The system's own list of authorities, as a copy to add to."""
    path = place / "system.pem"
    found = subprocess.run(
        ["readlink", "-f", "/etc/ssl/certs/ca-certificates.crt"], capture_output=True, text=True, check=True
    ).stdout.strip()
    shutil.copy(found, path)
    return path
