"""The page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import find, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, Route, expect

from dataset_dl.sources.idc.cube import FACETS, cube
from dataset_dl.testing import LocalBucket
from support.pages import Served, served
from support.window import Window

WIDTHS = (1280, 400, 320)
SERIES = "1.3.6.1.4.1.14519.5.2.1.1600.1206.231863293268137350694442264493"


@pytest.fixture
def window(browser: Browser, page: Served) -> Iterator[Window]:
    made = Window(browser, page)
    yield made
    made.check()
    made.context.close()


def ready(page: Page) -> Page:
    expect(page.locator("h1")).to_contain_text("series of")
    return page


def test_from_a_question_to_verified_files(
    browser: Browser, bucket: LocalBucket, environment: dict[str, str], tmp_path: Path
) -> None:
    own = {**environment, "DATASET_DL_STATE": str(tmp_path / "state")}
    root = tmp_path / "root"
    root.mkdir()
    keys = [each.SeriesInstanceUID for each in bucket.series]
    query = "&".join(f"id={key}" for key in keys)
    with served(root, environment=own) as running:
        window = Window(browser, running)
        page = ready(window.enter())
        page.get_by_role("searchbox").fill("qin_pet_phantom")
        page.get_by_role("button", name="Collection: qin_pet_phantom").click()
        expect(page.locator("h1")).to_have_text("Your choice has 44 series of 2 patients, 246.3 MB")
        expect(page).to_have_url(re.compile(r"collection_id=qin_pet_phantom"))
        page.go_back()
        expect(page.locator("h1")).to_contain_text("IDC v25 has 1,044,191 series of 86,451 patients")
        page.goto(f"{running.address}/cohort?{query}")
        expect(page.locator("dl")).to_contain_text("Series4")
        page.get_by_text("Options").click()
        page.get_by_label("At most, in MB/s").fill("3")
        page.get_by_label("To", exact=True).fill(str(root / "data"))
        expect(page.get_by_label("In a shell")).to_contain_text("--max-rate 3")
        page.get_by_role("button", name="Download", exact=True).click()
        card = page.locator("li.job")
        expect(card).to_have_attribute("data-state", "IN_PROGRESS")
        expect(card.locator(".numbers")).to_contain_text("MB/s")
        window.look("running")
        running.kill()
        expect(page.get_by_text("This page has lost its server.")).to_be_visible()
        # The lost connection is what the console tells of.
        window.said.clear()
        window.check()
        window.context.close()
    arrived = {path: path.stat().st_mtime_ns for path in root.rglob("*.dcm")}
    assert arrived
    with served(root, environment=own) as running:
        window = Window(browser, running)
        page = window.enter("/downloads")
        card = page.locator("li.job")
        expect(card).to_have_attribute("data-state", "PAUSED")
        expect(card).to_contain_text("The program that ran it has ended")
        page.get_by_role("button", name="Resume: job 1").click()
        expect(card).to_have_attribute("data-state", "IN_PROGRESS")
        other = window.new_page()
        other.goto(f"{running.address}/downloads")
        page.get_by_role("button", name="Pause: job 1").click()
        expect(card).to_have_attribute("data-state", "PAUSED")
        expect(other.locator("li.job")).to_have_attribute("data-state", "PAUSED")
        other.get_by_role("button", name="Resume: job 1").click()
        expect(card).to_have_attribute("data-state", "SUCCESS", timeout=60_000)
        expect(other.locator("li.job")).to_contain_text("4 series, 19.0 MB, complete and verified.")
        page.get_by_role("button", name="Verify: job 1").click()
        expect(page.locator("li.job").first).to_contain_text("All 4 series are complete.")
        page.get_by_role("link", name="Disk").click()
        expect(page.locator("li.card")).to_contain_text("the last download was complete")
        expect(page.locator("li.card")).to_contain_text("All 4 series are complete.")
        window.look("disk")
        window.check()
        window.context.close()
    assert len(list(root.rglob("*.dcm"))) == 4 * 81


def test_a_press_on_download_counts_when_a_mistake_was_mended(
    window: Window, bucket: LocalBucket, root: Path
) -> None:
    window.may_refuse = True
    page = window.enter(f"/cohort?id={bucket.series[0].SeriesInstanceUID}")
    to = page.get_by_label("To", exact=True)
    to.fill("/nowhere/else")
    to.blur()
    expect(page.locator("p.problem")).to_contain_text("is not below")
    held: list[Route] = []
    page.route("**/api/cohort", lambda route: held.append(route))  # noqa: PLW0108 (playwright marks it)
    to.fill(str(root / "mended"))
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.locator("li.job", has_text="mended")).to_be_visible()
    for each in held:
        each.abort()


def test_a_button_stays_under_the_pointer(window: Window, bucket: LocalBucket, root: Path) -> None:
    """What a changed field moves must not move the button that a person is pressing."""
    page = window.enter(f"/cohort?id={bucket.series[0].SeriesInstanceUID}")
    to = page.get_by_label("To", exact=True)
    to.fill(f"{root}/{'and a longer one ' * 12}")
    to.blur()
    expect(page.locator("ul.paths li").first).to_contain_text("and a longer one")
    to.fill(str(root / "pressed"))
    button = page.get_by_role("button", name="Download", exact=True)
    button.hover()
    page.mouse.down()
    expect(page.locator("ul.paths li").first).to_contain_text("pressed")
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"/downloads"))
    expect(page.locator("li.job", has_text="pressed")).to_be_visible()


FILTER = st.dictionaries(
    st.sampled_from(FACETS), st.lists(st.integers(0, 10**6), min_size=1, max_size=4), max_size=4
)


def filters(count: int) -> list[dict[str, list[str]]]:
    """Random filters, the same on each run."""
    found: list[dict[str, list[str]]] = []

    def take(drawn: dict[str, list[int]]) -> bool:
        chosen = {}
        for name, numbers in drawn.items():
            values = cube().values(name)
            chosen[name] = sorted({values[number % len(values)] for number in numbers})
        found.append(chosen)
        return len(found) >= count

    find(FILTER, take, settings=settings(max_examples=10 * count, database=None, derandomize=True))
    return found[:count]


def test_the_browser_counts_as_python_does(window: Window) -> None:
    page = ready(window.enter())
    asked = filters(200)
    units = ["patients", "studies", "series", "instances", "size_bytes"]
    told = page.evaluate(
        """async (asked) => {
            const { Cube, UNITS } = await import("/static/cube.js");
            const { ask } = await import("/static/dom.js");
            const cube = new Cube(await ask("cube"));
            return asked.map((where) => {
                const answer = cube.answer(where);
                const counts = (name) => UNITS.map((unit) => cube.counts(answer, name, unit));
                const named = Object.fromEntries(["Modality", "cancer_types", "collection_id"].map((name) => [name, counts(name).map((each) => [...each])]));
                return { totals: UNITS.map((unit) => cube.totals(answer)[unit]), named, values: Object.fromEntries(Object.entries(cube.facets).map(([name, facet]) => [name, facet.values])) };
            });
        }""",
        asked,
    )
    for where, each in zip(asked, told, strict=True):
        assert each["totals"] == list(cube().totals(where)), where
    for where, each in list(zip(asked, told, strict=True))[::20]:
        for name, amounts in each["named"].items():
            expected = cube().counts(name, where)
            values = each["values"][name]
            for place, unit in enumerate(units):
                found = {
                    value: amounts[place][number] for number, value in enumerate(values) if amounts[2][number]
                }
                assert found == {value: getattr(totals, unit) for value, totals in expected.items()}, (
                    where,
                    name,
                )


def test_filters_conditions_and_back(window: Window) -> None:
    page = ready(window.enter())
    page.locator("section.facet", has_text="Modality").get_by_text("CT", exact=True).click()
    totals = cube().totals({"Modality": ["CT"]})
    expect(page.locator("h1")).to_contain_text(f"Your choice has {totals.series:,} series")
    page.get_by_label("Count").select_option("patients")
    expect(page.locator("section.facet", has_text="Modality").locator(".amount").first).to_have_text(
        f"{totals.patients:,}"
    )
    page.get_by_role("searchbox").fill("instanceCount>=1000")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("where=instanceCount"))
    expect(page.locator("h1")).not_to_have_text("Counting…")
    expect(page.get_by_role("button", name="Remove instanceCount>=1000")).to_be_visible()
    exact = int(page.locator(".totals").get_attribute("data-series") or 0)
    assert 0 < exact < totals.series
    page.get_by_role("button", name="Series", exact=True).click()
    expect(page.locator("tbody tr").filter(visible=True)).to_have_count(min(50, exact))
    page.get_by_role("link", name="Build a cohort").click()
    expect(page.locator("dl.facts")).to_contain_text(f"{exact:,}")
    page.get_by_role("link", name="Change").click()
    page.go_back()
    page.go_back()
    expect(page.get_by_role("button", name="Remove Modality: CT")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.locator("h1")).to_contain_text("IDC v25 has")


def test_with_the_keyboard_alone(window: Window, bucket: LocalBucket) -> None:
    page = ready(window.enter())

    def reach(name: str, most: int = 80) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(document.activeElement.ariaLabel || document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent || '').trim()"
            )
            if focused.startswith(name):
                return
        raise AssertionError(f"{name} cannot be reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reach("Search")
    page.keyboard.type("qin_pet_phantom")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("44 series")
    reach("PT")
    page.keyboard.press("Space")
    expect(page.locator(".chips")).to_contain_text("Modality: PT")
    # The box stays focused, although the list was painted again.
    assert page.evaluate("document.activeElement.type") == "checkbox"
    reach("20")  # a year
    page.keyboard.press("Enter")
    expect(page.locator(".chips")).to_contain_text("Year of the study")
    reach("Build a cohort", 400)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Cohort")
    reach("Download")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_accessible_and_fits(
    browser: Browser, page: Served, bucket: LocalBucket, width: int, scheme: Any
) -> None:
    window = Window(browser, page, viewport={"width": width, "height": 900}, color_scheme=scheme)
    uid = bucket.series[0].SeriesInstanceUID
    shown = {
        "explore": "h1:has-text('series of')",
        "explore?Modality=CT&where=instanceCount>=1000": "h1:has-text('Your choice')",
        f"cohort?id={uid}": "figure.code",
        "cohort": "h1",
        "downloads": "h1",
        "disk": "h1",
        f"series/{uid}": "img.picture[src]",
    }
    axe = Axe()
    for number, (path, there) in enumerate(shown.items()):
        opened = window.enter(f"/{path}")
        opened.locator(there).first.wait_for()
        for details in opened.locator("details").all():
            details.evaluate("(each) => (each.open = true)")
        found = axe.run(opened)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        window.look(f"{number}-{path.partition('/')[0].partition('?')[0]}-{width}-{scheme}")
    window.check()
    window.context.close()


def test_a_series_is_looked_at(window: Window, bucket: LocalBucket) -> None:
    series = bucket.series[0]
    page = window.enter(f"/series/{series.SeriesInstanceUID}")
    expect(page.locator("output")).to_contain_text("41 of 81")
    before = page.locator("img.picture").first.get_attribute("src")
    page.get_by_label("Slice").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).to_contain_text("42 of 81")
    expect(page.locator("img.picture").first).not_to_have_attribute("src", str(before), timeout=10_000)
    page.get_by_label("Contrast").select_option("auto")
    page.get_by_text("Header of this slice").click()
    expect(page.locator("details table")).to_contain_text("SeriesInstanceUID")
    expect(page.locator("details table")).to_contain_text(series.SeriesInstanceUID or "")
    window.may_refuse = True
    page.get_by_label("or width/level").fill("nonsense")
    page.keyboard.press("Tab")
    expect(page.locator(".problem").first).to_contain_text("Known are")
    page.get_by_role("link", name="Download this series").click()
    expect(page.locator("dl.facts")).to_contain_text("Series1")


def test_text_of_dicom_and_of_names_stays_text(
    browser: Browser, own: LocalBucket, environment: dict[str, str], tmp_path: Path
) -> None:
    hostile = "<img src=x onerror=alert()>"
    series = own.series[0]
    path = min(own.series_directory(series).glob("*.dcm"))
    dataset = pydicom.dcmread(path)
    dataset.PatientName = dataset.SeriesDescription = dataset.StudyDescription = hostile
    path.unlink()  # it is a hard link
    dataset.save_as(path)
    for other in sorted(own.series_directory(series).glob("*.dcm"))[1:]:
        other.unlink()
    own.serve()
    root = tmp_path / hostile.replace("/", "")
    root.mkdir()
    settings_ = {
        **environment,
        "DATASET_DL_ENDPOINT_URL": own.endpoint_url,
        "DATASET_DL_STATE": str(tmp_path / "s"),
        "DATASET_DL_CACHE": str(tmp_path / "cache"),  # the order of this series is kept elsewhere
    }
    with served(root, environment=settings_) as running:
        window = Window(browser, running)
        page = window.enter(f"/series/{series.SeriesInstanceUID}")
        page.get_by_text("Header of this slice").click()
        expect(page.locator("details table")).to_contain_text(hostile)
        page.goto(f"{running.address}/cohort?id={own.series[1].SeriesInstanceUID}&where={hostile}")
        page.goto(f"{running.address}/cohort?id={own.series[1].SeriesInstanceUID}")
        expect(page.get_by_label("In a shell")).to_contain_text("--to")
        page.get_by_role("button", name="Download", exact=True).click()
        expect(page.locator("li.job")).to_contain_text(hostile)
        page.goto(f"{running.address}/disk")
        page.goto(f"{running.address}/explore?Modality={hostile}&id={hostile}")
        expect(page.locator(".problem")).to_contain_text("matches nothing")
        assert page.locator("img[src=x]").count() == 0
        assert not [url for url in window.requests if url.endswith("/x")]
        window.context.close()


def test_many_windows_share_one_stream(window: Window, root: Path) -> None:
    """A browser opens six connections to a server, so a stream for each window would hold up the seventh."""
    window.enter("/downloads")
    pages = [window.page, *(window.new_page() for _ in range(8))]
    for each in pages[1:]:
        each.goto(f"{window.served.address}/downloads")
        expect(each.locator("h1")).to_have_text("Downloads")
    job = window.served.post("check", {"kind": "verify", "to": str(root)}).json()["id"]
    for each in pages:
        expect(each.locator(f"li.job[data-job='{job}']")).to_be_visible(timeout=10_000)
    window.page.close()  # the one that listened for all
    window.served.post(f"jobs/{job}/cancel")
    other = window.served.post("check", {"kind": "verify", "to": str(root)}).json()["id"]
    for each in pages[1:]:
        expect(each.locator(f"li.job[data-job='{other}']")).to_be_visible(timeout=10_000)


def test_a_rebound_name_gets_nothing_in_a_browser(browser: Browser, page: Served) -> None:
    port = page.address.rpartition(":")[2]
    rebound = browser.browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP evil.test 127.0.0.1"],
    )
    answer = rebound.new_page().goto(f"http://evil.test:{port}/")
    assert answer is not None and answer.status == 421
    rebound.close()


def test_without_the_preview_the_page_says_what_to_install(window: Window) -> None:
    page = window.context.new_page()
    about = window.served.get("about")
    for each in about["pages"]:
        if each["name"] == "series":
            each["missing"] = (
                'This needs Pillow, which is not installed; nothing was started. Run `pip install "dataset-dl[preview]"`.'
            )
    page.route(
        "**/api/about",
        lambda route: route.fulfill(status=200, content_type="application/json", body=json.dumps(about)),
    )
    window.page = page
    window.enter(f"/series/{SERIES}")
    expect(page.locator("main")).to_contain_text('pip install "dataset-dl[preview]"')
