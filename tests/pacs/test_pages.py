"""The pages of archives in a real browser, for several people at once."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pydicom
import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from dataset_dl.pacs.transfers.nouns import Wanted
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.web.accounts import Accounts, rights_of
from support.hosted import Hosted, hosted
from support.orthanc import Orthanc
from support.patients import write_series
from support.web import chromium
from support.window import SEEN

PASSWORD = "a long password"
SECRET = "a key that stays in the browser"


@pytest.fixture(scope="module")
def filled(ward: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    place = tmp_path_factory.mktemp("few")
    for number in (1, 2, 3):
        for path in write_series(place / str(number), f"P{number}", f"1.9.{number}", f"1.9.{number}.1", 4):
            requests.post(f"{ward.url}/instances", data=path.read_bytes(), timeout=30).raise_for_status()
    return ward


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(
    filled: Orthanc,
    research: Orthanc,
    receiver_port: int,
    state: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Hosted]:
    root = tmp_path_factory.mktemp("server")
    nodes = [{"name": "WARD", "dimse": filled.dimse}, {"name": "RESEARCH", "dimse": research.dimse}]
    (root / "nodes.json").write_text(json.dumps(nodes))
    (root / "data").mkdir()
    made = Accounts(root / "accounts.json")
    made.add("head", PASSWORD, is_owner=True)
    made.add("ada", PASSWORD)
    made.add("eve", PASSWORD)
    made.grant("ada", rights_of(("query:WARD", "retrieve:WARD", "send:RESEARCH")))
    environment = {
        "DATASET_DL_NODES": str(root / "nodes.json"), "DATASET_DL_ACCOUNTS": str(root / "accounts.json"),
        "DATASET_DL_STATE": str(state), "DATASET_DL_RECEIVER_PORT": str(receiver_port),
        "DATASET_DL_RECEIVER_HOST": "127.0.0.1", "DATASET_DL_PSEUDONYM_KEY": "a key for the server of tests",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }  # fmt: skip
    with hosted(root / "data", environment) as running:
        yield running


@pytest.fixture(scope="module")
def browser(_namespace: None) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = chromium(playwright)
        yield found
        found.close()


def enter(browser: Browser, server: Hosted, name: str, path: str = "/", **options: object) -> Page:
    """Sign in as a person, in a window of their own; what a page says on its console fails the test."""
    page = browser.new_context(**options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.said = said  # type: ignore[attr-defined]
    page.goto(f"{server.address}{path}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=f"Sign out {name}").wait_for()
    return page


def done(page: Page) -> None:
    refused = [each for each in page.said if "401" not in each]  # type: ignore[attr-defined]
    assert refused == []
    page.context.close()


def test_from_a_patient_to_a_transfer(browser: Browser, server: Hosted, research: Orthanc) -> None:
    page = enter(browser, server, "ada")
    expect(page).to_have_url(re.compile("/archives$"))
    page.get_by_label("Patient ID", exact=True).fill("P*")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="3 patients")).to_be_visible()
    page.get_by_role("link", name="P2").click()
    expect(page.get_by_role("heading", name="1 study")).to_be_visible()
    page.get_by_role("link", name="P2").click()
    expect(page.get_by_role("heading", name="1 series")).to_be_visible()
    page.get_by_role("button", name="Look at series 1").click()
    expect(page).to_have_url(re.compile(r"/series/1\.9\.2\.1$"))
    expect(page.locator("img.picture").first).to_have_attribute("src", re.compile("blob:"))
    page.go_back()
    page.go_back()
    page.get_by_role("checkbox", name="Transfer the study of P2").check()
    page.get_by_label("Name of the job").fill("one study")
    page.get_by_role("button", name="Start the transfer").click()
    expect(page.get_by_role("heading", name=re.compile("Transfer .*one study"))).to_be_visible()
    expect(page.locator(".card .state")).to_have_text("done", timeout=60_000)
    expect(page.get_by_role("cell", name="4 of 4")).to_be_visible()
    page.get_by_role("button", name="Instances of 1.9.2").click()
    expect(page.get_by_role("cell", name="stored")).to_have_count(4)
    assert {f"1.9.2.1.{number}" for number in (1, 2, 3, 4)} <= research.instances
    done(page)


def test_two_people_at_once_see_their_own(browser: Browser, server: Hosted) -> None:
    ada, head = enter(browser, server, "ada", "/transfers"), enter(browser, server, "head", "/transfers")
    eve = enter(browser, server, "eve")
    expect(eve.locator("main")).to_contain_text("There is no page for you yet")
    page = ada
    page.goto(f"{server.address}/archives?node=WARD&PatientID=P1&level=studies")
    page.get_by_role("checkbox", name="Transfer the study of P1").check()
    page.get_by_label("Name of the job").fill("seen by both")
    page.get_by_label("Put pseudonyms in").check()
    page.get_by_role("button", name="Start the transfer").click()
    expect(head.get_by_role("link", name=re.compile("seen by both"))).to_be_visible()
    expect(head.locator('[data-state="SUCCESS"]', has_text="seen by both")).to_be_visible(timeout=60_000)
    for each in (ada, head, eve):
        done(each)


def test_a_spreadsheet_shows_its_errors_by_row(browser: Browser, server: Hosted, tmp_path: Path) -> None:
    page = enter(browser, server, "ada", "/batch")
    page.goto(f"{server.address}/batch")

    def sheet(*rows: tuple[str, ...]) -> Path:
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in (("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Pseudonym"), *rows):
            book.active.append(row)
        book.save(tmp_path / "rows.xlsx")
        return tmp_path / "rows.xlsx"

    page.get_by_label("Spreadsheet").set_input_files(
        sheet(("P1", "1.9.1", "", "A"), ("P2", "wrong", "", "B"))
    )
    expect(page.locator(".problem")).to_contain_text("1 row is wrong, so nothing was created")
    expect(page.get_by_role("row", name=re.compile("^3 “wrong”"))).to_be_visible()
    expect(page.get_by_role("button", name="Create and start")).to_be_disabled()
    page.get_by_label("Spreadsheet").set_input_files(
        sheet(("P1", "1.9.1", "", "A"), ("P3", "1.9.3", "", "C"))
    )
    expect(page.locator("main")).to_contain_text("All rows are right: 2 studies become tasks")
    page.get_by_label("Put pseudonyms in").uncheck()
    expect(page.locator(".problem")).to_contain_text("would keep their names")
    page.get_by_label("Put pseudonyms in").check()
    page.get_by_role("button", name="Create and start").click()
    expect(page.locator(".card .state")).to_have_text("done", timeout=60_000)
    expect(page.get_by_role("cell", name="C", exact=True)).to_be_visible()
    done(page)


def test_what_is_uploaded_has_pseudonyms_before_it_leaves(
    browser: Browser, server: Hosted, research: Orthanc, tmp_path: Path
) -> None:
    folder = tmp_path / "CD"
    write_series(folder / "one", "JOHNDOE", "1.9.7", "1.9.7.1", 5)
    write_series(folder / "two", "JOHNDOE", "1.9.7", "1.9.7.2", 1, Modality="SR")
    (folder / "autorun.inf").write_text("no DICOM")
    page = enter(browser, server, "ada", "/upload")
    page.goto(f"{server.address}/upload")
    sent: list[bytes] = []
    page.on(
        "request",
        lambda request: sent.append(request.post_data_buffer or b"") if request.method == "POST" else None,
    )
    page.get_by_label("Key for pseudonyms").fill(SECRET)
    page.get_by_label("Folder").set_input_files(folder)
    expect(page.locator(".problem")).to_contain_text("1 file did not go there. 5 instances at RESEARCH.")
    expect(page.locator("main")).to_contain_text("held back for review: its modality is SR")
    key = Key(SECRET.encode())
    new = {key.uid(f"1.9.7.1.{number}") for number in range(1, 6)}
    assert new <= research.instances
    everything = b"".join(sent)
    for secret in (b"JOHNDOE", b"DOE^", SECRET.encode(), b"1.9.7."):
        assert secret not in everything
    told = research.ask("/instances?expand&limit=1000&since=0")
    (one,) = [each["ID"] for each in told if each["MainDicomTags"]["SOPInstanceUID"] == key.uid("1.9.7.1.1")]
    kept = requests.get(f"{research.url}/instances/{one}/file", timeout=30).content
    assert str(pydicom.dcmread(io.BytesIO(kept)).PatientID) == key.pseudonym("JOHNDOE")
    done(page)


def test_what_is_dropped_meanwhile_hides_no_failure(browser: Browser, server: Hosted, tmp_path: Path) -> None:
    write_series(tmp_path / "one" / "files", "CARLA", "1.9.21", "1.9.21.1", 1)
    write_series(tmp_path / "one" / "reports", "CARLA", "1.9.21", "1.9.21.2", 1, Modality="SR")
    write_series(tmp_path / "two" / "files", "CARLA", "1.9.22", "1.9.22.1", 2)
    page = enter(browser, server, "ada", "/upload")
    page.goto(f"{server.address}/upload")
    page.get_by_label("Key for pseudonyms").fill(SECRET)
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/api/pacs/nodes/*/instances", hold)
    page.get_by_label("Folder").set_input_files(tmp_path / "one")
    expect(page.locator("main")).to_contain_text("1 of 2 files · 0 sent · 1 left behind", timeout=60_000)
    page.get_by_label("Folder").set_input_files(tmp_path / "two")
    deadline = time.monotonic() + 60
    while len(waiting) < 3 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    for each in waiting:
        each.continue_()
    expect(page.locator(".problem")).to_contain_text(
        "1 file did not go there. 3 instances at RESEARCH.", timeout=60_000
    )
    expect(page.locator("main")).to_contain_text("4 of 4 files · 3 sent · 1 left behind", timeout=60_000)
    expect(page.locator("main")).to_contain_text("held back for review: its modality is SR", timeout=60_000)
    page.unroute_all()
    page.get_by_label("Key for pseudonyms").fill("short")
    page.get_by_label("Folder").set_input_files(tmp_path / "two")
    expect(page.locator(".problem")).to_contain_text("could be guessed", timeout=60_000)
    expect(page.locator("main")).not_to_contain_text("Done:")
    done(page)


def test_a_pseudonym_that_is_typed_is_that_of_one_patient(
    browser: Browser, server: Hosted, research: Orthanc, tmp_path: Path
) -> None:
    write_series(tmp_path / "one" / "files", "ANNA", "1.9.11", "1.9.11.1", 2)
    write_series(tmp_path / "two" / "files", "BERTA", "1.9.12", "1.9.12.1", 2)
    before = research.instances
    page = enter(browser, server, "ada", "/upload")
    page.goto(f"{server.address}/upload")
    page.get_by_label("Key for pseudonyms").fill(SECRET)
    page.get_by_label("Pseudonym, if all files").fill("CASE-9")
    page.get_by_label("Folder").set_input_files(tmp_path / "one")
    expect(page.locator("main")).to_contain_text("Done: 2 instances at RESEARCH.", timeout=60_000)
    page.get_by_label("Folder").set_input_files(tmp_path / "two")
    expect(page.locator(".problem")).to_contain_text(
        "2 files did not go there. 0 instances at RESEARCH.", timeout=60_000
    )
    expect(page.locator("main")).to_contain_text(
        "the pseudonym CASE-9 went to another patient here", timeout=60_000
    )
    key = Key(SECRET.encode())
    assert research.instances - before == {key.uid(f"1.9.11.1.{number}") for number in (1, 2)}
    done(page)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark"), (320, "light")])
def test_every_page_is_for_everybody(
    browser: Browser, server: Hosted, state: Path, width: int, scheme: str
) -> None:
    store = Store(f"sqlite:///{state / 'transfers.sqlite'}")
    job = store.create("selective", [Wanted("WARD", "RESEARCH", "P1", "1.9.1")], owner="head", name="many")
    store.close()
    page = enter(
        browser, server, "head", "/archives", viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    axe = Axe()
    for number, path in enumerate((
        "/archives", "/archives?node=WARD&PatientID=P*&level=patients", "/archives?node=WARD&PatientID=P*&level=studies",
        "/archives?node=WARD&StudyInstanceUID=1.9.1", "/transfers", f"/transfers/{job.id}", "/batch", "/upload",
    )):  # fmt: skip
        page.goto(f"{server.address}{path}")
        page.locator("h1").wait_for()
        if "?" in path:
            page.locator("table").first.wait_for()
        if "level=studies" in path:
            page.get_by_role("checkbox", name="Transfer the study of P1").check()
        time.sleep(0.2)
        found = axe.run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        if SEEN:
            page.screenshot(path=Path(SEEN) / f"archives-{number}-{width}-{scheme}.png", full_page=True)
    done(page)
    signed_out = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    signed_out.goto(server.address)
    signed_out.get_by_label("Name").wait_for()
    assert axe.run(signed_out).violations_count == 0
    signed_out.context.close()
