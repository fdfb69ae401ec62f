"""The site of the documents, as it is built, in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request, Response, sync_playwright

from support import web

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (1280, 400)
# Of these pages pictures are left to be looked at.
SEEN = ("index.html", "tutorial.html", "architecture.html", "performance.html", "cli.html")


class Anchors(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.names.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [ROOT / "bin" / "docs", "--site-dir", target], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return target


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Anchors]:
    return {
        path.relative_to(site).as_posix(): Anchors(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Site(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(site))

    with web.serving(Site) as served:
        yield f"{served}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = web.chromium(playwright)
        yield running
        running.close()


def test_every_document_is_a_page(pages: dict[str, Anchors]) -> None:
    documents = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        for path in (ROOT / "docs").rglob("*.md")
    }
    assert documents <= pages.keys()
    assert {"index.html", "reference/python.html", "reference/commands.html"} <= pages.keys()


def test_no_link_is_broken(site: Path, pages: dict[str, Anchors]) -> None:
    broken = []
    for page, anchors in pages.items():
        for link in anchors.links:
            parts = urlsplit(urljoin(f"http://site/{page}", link))
            if parts.netloc != "site" or parts.scheme != "http":
                continue
            path = unquote(parts.path).lstrip("/") or "index.html"
            if not (site / path).is_file() or (
                parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].names
            ):
                broken.append((page, link))
    assert broken == []


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    house = tmp_path / "house"
    shutil.copytree(ROOT, house, ignore=shutil.ignore_patterns(".*", "demo-data", "tests"))
    (house / "docs" / "scale.md").write_text("# Scale\n\n[nowhere](none.md) [no heading](cli.md#none)\n")
    (house / ".venv").symlink_to(ROOT / ".venv")
    done = subprocess.run(
        [house / "bin" / "docs", "--site-dir", tmp_path / "s"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "none.md" in done.stderr
    assert "#none" in done.stderr


def test_it_reads_well(browser: Browser, address: str, pages: dict[str, Anchors], tmp_path: Path) -> None:
    """No error, nothing from elsewhere, nothing wider than the screen, be it a telephone's."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{page.url}: {message.text}")

    def on_response(response: Response) -> None:
        if not response.ok and response.status != 304:
            complaints.append(f"{page.url}: {response.status} {response.url}")

    def on_request(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            complaints.append(f"{page.url}: asks {request.url}")

    page = browser.new_page(reduced_motion="reduce")
    page.on("console", on_console)
    page.on("response", on_response)
    page.on("request", on_request)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    for name in sorted(pages):
        page.goto(address + name)
        blank = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        complaints += [f"{name}: no picture {source}" for source in blank]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                complaints.append(f"{name}: {wide} pixels wide")
            if name in SEEN:
                page.screenshot(path=tmp_path / f"{Path(name).stem}-{width}.png", full_page=True)
    page.close()
    assert complaints == []
    assert len(list(tmp_path.glob("*.png"))) == len(SEEN) * len(WIDTHS)


def test_the_search_finds_an_option(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    page.keyboard.press("/")
    page.keyboard.type("trust-journal")
    found = page.locator(".md-search-result__item").first
    found.wait_for(timeout=20_000)
    assert "journal" in found.inner_text()
    page.close()
