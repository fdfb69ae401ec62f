"""What a project of XNAT must have after a delivery."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from dataset_dl.testing.xnat import LocalXnat
from dataset_dl.testing.xnat_store import instances_of

TWO_STUDIES = [
    ("P-1", "1.2.1", "1.2.1.1", 4),
    ("P-1", "1.2.1", "1.2.1.2", 3),
    ("P.2", "1.2.2", "1.2.2.1", 5),
]


def exactly_once(xnat: LocalXnat, uids: set[str]) -> bool:
    """Whether the archive has these instances, each once, and the prearchive nothing."""
    found = instances_of(xnat.store.archive)
    return not xnat.store.prearchive and set(found) == uids and all(len(each) == 1 for each in found.values())


def uids_of(data: Path) -> set[str]:
    return {str(dcmread(path).SOPInstanceUID) for path in data.rglob("*.dcm")}
