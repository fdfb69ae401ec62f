"""Pictures of the page, taken in a browser, with a local bucket behind it."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PROGRAM = Path(sysconfig.get_path("scripts")) / "dataset-dl"
_COLLECTION, _SERIES = "qin_pet_phantom", 12
_BROWSER = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run")  # fmt: skip
_WAIT_SECONDS = 60


@cache
def pictures() -> Mapping[str, bytes]:
    """Return the pictures by name, as WebP; none if there is no Chromium on this machine."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    with _page() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_BROWSER)
        window = browser.new_page(viewport={"width": 1200, "height": 760}, color_scheme="light")
        window.goto(link)
        found = dict(_taken(window, link.partition("/?")[0]))
        browser.close()
    return found


def _taken(window: Page, address: str) -> Iterator[tuple[str, bytes]]:
    window.locator("tbody tr").first.wait_for()
    window.goto(f"{address}/explore?Modality=CT&cancer_types=Lung+Cancer")
    window.locator("h1:has-text('Your choice')").wait_for()
    yield "explore", _webp(window)
    window.goto(f"{address}/cohort?collection_id={_COLLECTION}")
    window.locator("figure.code").first.wait_for()
    window.locator("#to").fill("pet")
    window.get_by_text("Options").click()
    window.locator("#rate").fill("1")
    yield "cohort", _webp(window)
    window.locator("button[type=submit]").last.click()
    window.locator("li.job").wait_for()
    window.locator("li.job .numbers:has-text('MB/s')").wait_for(timeout=1000 * _WAIT_SECONDS)
    yield "downloads", _webp(window)
    window.goto(f"{address}/explore?collection_id={_COLLECTION}")
    window.get_by_role("button", name="Series", exact=True).click()
    window.locator("tbody a").first.click()
    window.locator("img.picture[src]").nth(1).wait_for()
    yield "series", _webp(window)


def _webp(window: Page) -> bytes:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.open(BytesIO(window.screenshot())).save(out, "WEBP", quality=80)
    return out.getvalue()


@contextmanager
def _page() -> Iterator[str]:
    """Serve the page, and a bucket for it; give the link."""
    from dataset_dl.testing import LocalBucket

    with tempfile.TemporaryDirectory() as name, LocalBucket(_COLLECTION, max_series=_SERIES) as bucket:
        root = Path(name) / "data"
        root.mkdir()
        own = {"DATASET_DL_ENDPOINT_URL": bucket.endpoint_url, "DATASET_DL_STATE": str(Path(name) / "state")}
        words = [_PROGRAM, "web", "--no-open", "--root", root]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **own}) as child:
            try:
                yield _link(child)
            finally:
                child.terminate()


def _link(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], _WAIT_SECONDS)
    match = re.search(r"http\S+", child.stdout.readline()) if ready else None
    assert match is not None, "the page does not start"
    return match[0]
