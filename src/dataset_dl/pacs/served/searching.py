"""QIDO-RS for every node, also for one that speaks DIMSE only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Answer, Given, Place
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.archives import archive_of
from dataset_dl.pacs.dicomweb import JSON, Row
from dataset_dl.pacs.served.fetching import node_of
from dataset_dl.pacs.served.records import log

_MOST_RESULTS = 5000
_NO_TEXTS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN"})
_WANTED: Mapping[str, Sequence[str]] = {
    "study": (
        "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName",
        "StudyDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
        "StudyID", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    ),
    "series": (
        "Modality", "SeriesDescription", "SeriesNumber", "SeriesInstanceUID", "BodyPartExamined",
        "NumberOfSeriesRelatedInstances", "StudyInstanceUID", "PatientID",
    ),
    "image": (
        "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "SeriesInstanceUID", "StudyInstanceUID",
    ),
}  # fmt: skip


def search(place: Place, given: Given) -> Answer:
    """Answer QIDO-RS."""
    node = node_of(given.text("node"))
    level = "image" if "series" in given else "series" if "study" in given else "study"
    keys, wanted = _keys(given), [*_WANTED[level]]
    for each in given.all("includefield"):
        wanted += [_keyword(name) for name in each.split(",") if name and name != "all"]
    limit = int(given.number("limit", _MOST_RESULTS, most=10**9))
    offset = int(given.number("offset", 0, most=10**9))
    most = min(limit, _MOST_RESULTS)
    node.refuse_now("nothing was asked")
    with (
        archive_of(node, NetworkSettings.gather()) as archive,
        closing(
            archive.find(level, keys, list(dict.fromkeys([*wanted, *keys])))  # type: ignore[type-var]
        ) as rows,
    ):
        found = list(islice(rows, offset, offset + most + 1))
    headers = {}
    if len(found) > most and limit > most:
        headers["Warning"] = (
            f'299 dataset-dl "There are more than {most} results; ask with limit and offset."'
        )
    log(given.person, "query", node.name, " ".join(f"{name}={value}" for name, value in keys.items()))
    body = json.dumps([dicom_json(row) for row in found[:most]]).encode()
    return Answer(body, JSON, headers=headers)


def _keys(given: Given) -> dict[str, str]:
    """Return what must match, by keyword."""
    found = {}
    path = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
    for name in given.names():
        if name in ("node", "limit", "offset", "includefield", "fuzzymatching"):
            continue
        keyword = path.get(name) or _keyword(name)
        found[keyword] = given.text(name)
    return found or {"PatientID": "*"}


def _keyword(name: str) -> str:
    """Return the keyword of an attribute that is named by keyword or tag."""
    from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

    if len(name) == 8 and all(each in "0123456789abcdefABCDEF" for each in name):
        name = keyword_for_tag(int(name, 16))
    tag = tag_for_keyword(name) if name else None
    if tag is None or dictionary_VR(tag)[:2] in _NO_TEXTS:
        raise SelectionError(name, f"“{name}” is no attribute that can be asked for.")
    return name


def dicom_json(row: Row) -> dict[str, Any]:
    """Return a row as DICOM JSON (PS3.18, F)."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    found: dict[str, Any] = {}
    for keyword, text in row.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            continue
        vr = dictionary_VR(tag)[:2]
        element: dict[str, Any] = {"vr": vr}
        if text:
            values = text.split("\\") if vr not in ("LT", "ST", "UT") else [text]
            element["Value"] = [_value(vr, each) for each in values]
        found[f"{tag:08X}"] = element
    return found


def _value(vr: str, text: str) -> Any:
    if vr == "PN":
        parts = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False))
        return {name: part for name, part in parts.items() if part}
    if vr in ("IS", "SL", "SS", "UL", "US"):
        return int(text) if text.strip().lstrip("+-").isdigit() else text
    if vr in ("DS", "FD", "FL"):
        try:
            return float(text)
        except ValueError:
            return text
    return text
