"""A stand-in for XNAT with one project, and the account for it in the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataset_dl.testing.xnat import LocalXnat


@pytest.fixture
def xnat(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalXnat]:
    """An XNAT with the project WARD."""
    with LocalXnat("WARD", password="s3cret-Xnat") as server:
        monkeypatch.setenv("XNAT_HOST", server.url)
        monkeypatch.setenv("XNAT_USER", server.user)
        monkeypatch.setenv("XNAT_PASS", server.password)
        yield server
