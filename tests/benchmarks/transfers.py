"""Pseudonyms beside dicom-anonymizer, and how soon a job of ten thousand tasks is seen."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.measure import Row
from dataset_dl.pacs.transfers.nouns import Wanted
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.pseudonyms.making import make
from dataset_dl.pseudonyms.profile import Profile
from dataset_dl.pseudonyms.rewriting import Rewriter
from support.dicoms import encoded, slice_of
from support.pages import served
from support.web import chromium

_FILES, _TASKS, _OPENINGS = 150, 10_000, 9
_TEXTS = (
    "AccessionNumber", "InstitutionName", "InstitutionAddress", "ReferringPhysicianName", "StationName",
    "StudyDescription", "SeriesDescription", "InstitutionalDepartmentName", "PerformingPhysicianName",
    "OperatorsName", "PatientComments", "ProtocolName", "RequestedProcedureDescription", "DeviceSerialNumber",
)  # fmt: skip
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "DateOfLastCalibration")


def rows(scratch: Path, *, times: int) -> Iterator[Row]:
    """Files on the disk become files with pseudonyms, in one process; a page opens."""
    place = scratch / "pseudonyms"
    files = _files(place / "originals")
    rewriter = Rewriter(Key(b"a key for benchmarks, long enough"), Profile())
    ours, theirs = [], []
    for turn in range(times):
        ours.append(_rate(files, lambda path, turn=turn: make(rewriter, path, place / f"ours {turn}")))
        theirs.append(_rate(files, _anonymizer(place / f"theirs {turn}")))
    best, other = max(ours), max(theirs)
    yield Row("pseudonyms, CT of 0.5 MB", "instances/s a core", best, other, "dicom-anonymizer", 1.0, True)
    yield Row("pseudonyms, CT of 0.5 MB", "instances/s a core", best, 400, "target", 1.0, True)
    shutil.rmtree(place)
    opened = _opened(scratch / "tasks")
    yield Row(f"a job of {_TASKS:,} tasks is seen", "ms, median", opened, 300, "target", 1.0)


def _files(place: Path) -> list[Path]:
    """Slices with the attributes, sequences and private elements that scanners write."""
    place.mkdir(parents=True)
    paths = []
    for number in range(_FILES):
        given: dict[str, object] = {name: f"{name} {number}" for name in _TEXTS}
        given |= dict.fromkeys(_DATES, "20240115")
        dataset = slice_of(
            (0, 0, float(number)), values=np.full((512, 512), number, np.int16),
            PatientID=f"P{number % 7}", PatientName="DOE^JANE", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4",
            SOPInstanceUID=f"1.2.3.4.{number}", **given,
        )  # fmt: skip
        dataset.RequestAttributesSequence = Sequence([_item() for _ in range(2)])
        dataset.ReferencedImageSequence = Sequence([_reference(each) for each in range(3)])
        block = dataset.private_block(0x0029, "A SCANNER", create=True)
        for each in range(20):
            block.add_new(each, "LO", f"private {each}")
        paths.append(place / f"{number}.dcm")
        paths[-1].write_bytes(encoded(dataset))
    return paths


def _item() -> Dataset:
    made = Dataset()
    made.ScheduledProcedureStepDescription, made.ScheduledProcedureStepID = "a step", "7"
    return made


def _reference(number: int) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.9.{number}"
    return made


def _rate(files: list[Path], do: Callable[[Path], object]) -> float:
    began = time.process_time()
    for path in files:
        do(path)
    return len(files) / (time.process_time() - began)


def _anonymizer(place: Path) -> Callable[[Path], object]:
    from dicomanonymizer import anonymize_dataset

    place.mkdir(parents=True)

    def do(path: Path) -> None:
        dataset = dcmread(path)
        anonymize_dataset(dataset, delete_private_tags=True)
        dataset.save_as(place / path.name)

    return do


def _opened(place: Path) -> float:
    """Return how long a page takes until the first tasks of a large job are painted, in ms."""
    place.mkdir(parents=True)
    nodes, state = place / "nodes.json", place / "state"
    nodes.write_text("[]")
    store = Store(f"sqlite:///{state / 'transfers.sqlite'}")
    wanted = [Wanted("A", "B", f"P{each}", f"1.2.{each}") for each in range(_TASKS)]
    job = store.create("batch", wanted, owner="bench", name="large")
    store.close()
    own = {"DATASET_DL_STATE": os.fspath(state), "DATASET_DL_NODES": os.fspath(nodes)}
    times = []
    with served(place, environment=own) as page, sync_playwright() as playwright:
        page.enter()
        browser = chromium(playwright)
        window = browser.new_page(viewport={"width": 1280, "height": 900})
        for each in page.session.cookies:
            cookie = {"name": each.name, "value": str(each.value), "url": page.address}
            window.context.add_cookies([cookie])  # type: ignore[list-item]
        window.goto(f"{page.address}/transfers#key={page.key}")
        window.locator(".job").wait_for()
        for _ in range(_OPENINGS):
            began = time.monotonic()
            window.goto(f"{page.address}/transfers/{job.id}")
            window.locator("tbody tr:nth-child(100)").wait_for()
            times.append(1000 * (time.monotonic() - began))
        browser.close()
    return sorted(times)[len(times) // 2]
