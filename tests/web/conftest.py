from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from dataset_dl.testing import LocalBucket
from support.pages import Served, served
from support.web import chromium


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def environment(bucket: LocalBucket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "DATASET_DL_ENDPOINT_URL": bucket.endpoint_url,
        "DATASET_DL_STATE": str(tmp_path_factory.mktemp("state")),
        "DATASET_DL_CONFIG": "/nonexistent/config.toml",
        "DATASET_DL_ENGINE": "s5cmd",
    }


@pytest.fixture(scope="module")
def page(root: Path, environment: dict[str, str]) -> Iterator[Served]:
    """The page, for a person who has followed its link."""
    with served(root, environment=environment) as running:
        running.enter()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = chromium(playwright)
        yield found
        found.close()
