"""The contact sheet in a real browser, from the disk, without a network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from dataset_dl.thumbnails import sheet
from support.cli import Cli
from support.dicoms import slice_of, write_series
from support.web import chromium


@pytest.fixture
def made(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The thumbnails of seven slices, three on a page, with text that could break a page."""
    monkeypatch.setattr(sheet, "_PICTURES_A_PAGE", 5)
    write_series(
        tmp_path / "tree",
        [
            slice_of(
                (0, 0, number), values=np.full((32, 32), 10 * number, np.int16), InstanceNumber=number,
                PatientID='</script><b>"P"', SeriesInstanceUID="1.2.3",
            )
            for number in range(7)
        ],
    )  # fmt: skip
    assert cli("thumbnails", tmp_path / "tree", "-o", tmp_path / "made", "--size", 32).code == 0
    return tmp_path / "made"


def test_pictures_are_looked_through_and_labelled(cli: Cli, made: Path, tmp_path: Path) -> None:
    problems: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        page = browser.new_page(viewport={"width": 700, "height": 500}, accept_downloads=True)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((made / "index.html").as_uri())
        assert page.locator("figure").count() == 5
        assert (
            page.locator("figure img").first.evaluate("image => image.complete && image.naturalWidth") == 32
        )
        assert '</script><b>"P"' in (page.locator("figure").first.get_attribute("title") or "")
        # Keys set labels, and go on to the next picture.
        page.locator("figure").first.focus()
        page.keyboard.press("1")
        page.get_by_label("label of key 2").fill("good")
        page.locator("figure").nth(1).focus()
        for key in ("2", "2", "ArrowLeft", "0"):
            page.keyboard.press(key)
        assert page.locator("figure .label").all_inner_texts()[:3] == ["1", "good", ""]
        page.get_by_role("link", name="next").click()
        assert page.locator("figure").count() == 2
        page.locator("figure").first.press("9")
        page.get_by_role("link", name="previous").click()
        assert page.locator("figure .label").all_inner_texts()[:2] == ["1", "good"]
        page.get_by_label("find").fill("InstanceNumber: 0")
        assert page.locator("figure:visible").count() <= 1
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Export labels").click()
        downloading.value.save_as(tmp_path / "labels.csv")
        browser.close()
    assert not problems
    assert {url.partition(":")[0] for url in asked} <= {"file", "blob"}
    with (tmp_path / "labels.csv").open() as file:
        labels = {row["id"]: row["label"] for row in csv.DictReader(file)}
    assert sorted(labels.values()) == ["", "1", "9", "good"]
    assert cli("label", "import", made, tmp_path / "labels.csv").code == 0
    exported = cli("label", "export", made, "--format", "json").json
    assert {row["id"]: row["label"] for row in exported} == {
        key: value for key, value in labels.items() if value
    }


def test_pages_that_are_no_longer_needed_go(cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(path.name for path in made.glob("*.html")) == ["index-2.html", "index.html"]
    monkeypatch.setattr(sheet, "_PICTURES_A_PAGE", 50)
    assert cli("label", "set", made, "1.2.3", "x").code == 0
    assert [path.name for path in made.glob("*.html")] == ["index.html"]
