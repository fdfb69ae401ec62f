"""The viewer of volumes: fetched once, checked, and then served by this machine only."""

from __future__ import annotations

import functools
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from dataset_dl.web import viewer
from support.cli import Cli
from support.dicoms import encoded, slice_of
from support.pages import served
from support.window import Window


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real viewer, from its package, on this machine."""
    folder = tmp_path_factory.mktemp("niivue")
    name = f"@niivue/niivue@{viewer.VERSION}"
    done = subprocess.run(
        ["npm", "pack", "--silent", name], cwd=folder, capture_output=True, text=True, check=True
    )
    with tarfile.open(folder / done.stdout.strip()) as package:
        content = package.extractfile("package/dist/niivue.umd.js")
        assert content is not None
        (folder / "niivue.umd.js").write_bytes(content.read())
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetched(published: str, tmp_path: Path, cli: Cli) -> dict[str, str]:
    """An environment in which the viewer was fetched."""
    own = {"DATASET_DL_CACHE": str(tmp_path / "cache"), "DATASET_DL_VIEWER_URL": published}
    done = cli("web", "--fetch-viewer", env=own)
    assert (done.code, f"niivue {viewer.VERSION}" in done.out) == (0, True), done.err
    return own


def test_another_file_is_not_taken_for_the_viewer(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "niivue.umd.js").write_text("alert()")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = {
            "DATASET_DL_VIEWER_URL": f"http://127.0.0.1:{server.server_port}",
            "DATASET_DL_CACHE": str(tmp_path / "c"),
        }
        done = cli("web", "--fetch-viewer", env=own)
        server.shutdown()
    assert (done.code, "it is not niivue" in done.err) == (4, True), done.err
    assert not list((tmp_path / "c").rglob("*.js"))


def test_a_volume_is_shown_in_three_planes(
    browser: Browser,
    bucket: LocalBucket,
    environment: dict[str, str],
    fetched: dict[str, str],
    tmp_path: Path,
) -> None:
    root = tmp_path / "root"
    series = bucket.series[0]
    dd.download(
        series.SeriesInstanceUID, into=root / "data", progress="none", endpoint_url=bucket.endpoint_url
    )
    grid = np.arange(24)
    for number, path in enumerate(sorted((root / "data").rglob("*.dcm"))):
        # The files of the bucket have no place in space.
        sphere = (grid[:, None] - 12) ** 2 + (grid[None, :] - 12) ** 2 + ((number - 40) / 3) ** 2 < 100
        made = slice_of((0, 0, 2.0 * number), values=(1000 * sphere).astype(np.int16), PixelSpacing=[1, 1])
        # As many bytes as the plan says: a series that is not complete has no volume.
        made.DataSetTrailingPadding = b""
        made.DataSetTrailingPadding = bytes(path.stat().st_size - len(encoded(made)))
        path.write_bytes(encoded(made))
    own = environment | fetched | {"DATASET_DL_STATE": str(tmp_path / "state")}
    with served(root, environment=own) as running:
        window = Window(browser, running)
        page = window.enter(f"/volume/{series.SeriesInstanceUID}")
        expect(page.locator("canvas")).to_have_attribute("data-ready", "24 × 24 × 81", timeout=60_000)
        page.get_by_label("Show").select_option("axial")
        picture = page.locator("canvas").screenshot()
        assert len(picture) > 2000
        window.look("volume")
        window.check()
        window.may_refuse = True
        page.goto(f"{running.address}/volume/{bucket.series[1].SeriesInstanceUID}")
        expect(page.locator(".problem")).to_contain_text("This series has no directory on this disk")
        window.context.close()


def test_without_the_viewer_the_page_says_how_to_get_it(
    browser: Browser, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    with served(tmp_path / "root", environment=environment | {"DATASET_DL_CACHE": str(tmp_path)}) as running:
        window = Window(browser, running)
        page = window.enter("/volume/1.2.3")
        expect(page.locator(".problem")).to_contain_text("`dataset-dl web --fetch-viewer` fetches it")
        window.check()
        window.context.close()
