"""The page: how soon it is there, how fast it follows a click, and what a long job costs its server."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

import dataset_dl as dd
from benchmarks.measure import Row
from support.pages import Served, served
from support.web import chromium

_CLICKS, _EVENTS = 60, 59_000_000
_CONDITIONS = (
    "SeriesDescription~chest",
    "instanceCount>=100",
    "PatientAge>=70",
    "ManufacturerModelName~lung",
)
_KIND = """
from dataset_dl.model.events import FileCompleted, Started
from dataset_dl.model.job import Ended


def simulated(job, plan_path, observers):
    count = job.request["options"]["events"]
    show = observers[0]
    show(Started(destination=job.destination, series_count=1, instance_count=count, size_bytes=count))
    for number in range(count):
        show(FileCompleted(key="key", path=f"series/{number}.dcm", size_bytes=1))
    return Ended("SUCCESS", "", {})
"""
# Clicks on a value, waits until it is painted, and says how long that took.
_CLICK = """
async (place) => {
    const boxes = [...document.querySelectorAll("section.facet input")].filter((each) => each.offsetParent);
    const box = boxes[place % boxes.length];
    const before = document.querySelector("h1").textContent;
    const began = performance.now();
    box.click();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return [performance.now() - began, document.querySelector("h1").textContent !== before];
}
"""
_ANSWER = """
async () => {
    const { Cube } = await import("/static/cube.js");
    const { ask } = await import("/static/dom.js");
    const cube = new Cube(await ask("cube"));
    const times = [];
    for (let turn = 0; turn < 200; turn++) {
        const where = { Modality: [cube.facets.Modality.values[turn % 20]], year: [cube.facets.year.values[turn % 30]] };
        const began = performance.now();
        const answer = cube.answer(where);
        cube.totals(answer);
        times.push(performance.now() - began);
    }
    return times;
}
"""


def rows(scratch: Path, *, full: bool) -> Iterator[Row]:
    """Start, clicks, answers, and a long job."""
    root = scratch / "page"
    root.mkdir()
    own = {"DATASET_DL_STATE": str(scratch / "state"), "PYTHONPATH": str(_installed(scratch / "site"))}
    dd.facets()  # the cube is kept from now on
    starts = []
    for _ in range(5):
        began = time.monotonic()
        with served(root, environment=own) as page:
            page.enter()
            starts.append(time.monotonic() - began)
    yield Row("the page is ready", "seconds", sorted(starts)[2], 1.0, "fixed", 1.0)
    with served(root, environment=own) as page:
        page.enter()
        slowest = [min(_asked(page, each) for _ in range(3)) for each in _CONDITIONS]
        yield Row("other columns counted", "seconds, the slowest of four", max(slowest), 0.3, "fixed", 1.0)
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            window = browser.new_page(viewport={"width": 1280, "height": 900})
            window.context.add_cookies(
                [
                    {"name": each.name, "value": str(each.value), "url": page.address}
                    for each in page.session.cookies
                ]
            )
            window.goto(f"{page.address}/explore#key={page.key}")
            window.locator("h1:has-text('series of')").wait_for()
            clicks = _clicks(window)
            yield Row("click to painted", "ms, 95th percentile", _percentile(clicks, 0.95), 50, "fixed", 1.0)
            answers = window.evaluate(_ANSWER)
            yield Row(
                "an answer of the cube", "ms, 95th percentile", _percentile(answers, 0.95), 5, "fixed", 1.0
            )
            browser.close()
        jobs = dd.Jobs(scratch / "state")
        events = _EVENTS if full else _EVENTS // 20
        yield Row(
            f"a job of {events:,} events",
            "MB of the server",
            _long(page, jobs, root, events),
            300,
            "fixed",
            1.0,
        )
    shutil.rmtree(root)


def _asked(page: Served, condition: str) -> float:
    began = time.monotonic()
    page.get("count", where=condition)
    return time.monotonic() - began


def _clicks(window: Page) -> list[float]:
    times = []
    for turn in range(_CLICKS):
        took, is_changed = window.evaluate(_CLICK, turn * 7)
        assert is_changed or turn
        times.append(took)
        window.evaluate("history.back()")
        window.wait_for_timeout(100)
    return times


def _long(page: Served, jobs: dd.Jobs, root: Path, events: int) -> float:
    """Run a job of many events, with a window open; return the most memory of the server in MB."""
    job = jobs.add_check("simulated", root, events=events)
    server, most = psutil.Process(page.child.pid), 0
    with page.session.get(f"{page.address}/api/events", stream=True, timeout=600) as stream:
        lines = stream.iter_lines()
        while jobs.job(job.id).state in ("PENDING", "IN_PROGRESS"):
            next(lines)
            most = max(most, server.memory_info().rss)
    assert jobs.job(job.id).state == "SUCCESS"
    return most / 1e6


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


def _installed(site: Path) -> Path:
    """Install a package with a kind of job that only makes events."""
    info = site / "simulated-1.dist-info"
    info.mkdir(parents=True)
    (site / "simulated_job.py").write_text(_KIND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: simulated\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dataset_dl.jobs]\nsimulated = simulated_job:simulated\n")
    sys.path.insert(0, str(site))  # of this process, which puts the job in the queue
    return site
