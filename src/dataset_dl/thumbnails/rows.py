"""One row of the database: a picture, or the reason why there is none."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

# Causes that are no failure: nothing is wrong with the file.
NO_FAILURE = frozenset({"no_pixels", "slide_level"})


class Row(NamedTuple):
    """A frame, or a file without frames that can be shown.

    Attributes
    ----------
    path
        Of its file, relative to the tree, with ``/``.
    frame
        Number of the frame from 0; -1 if it is about the whole file.
    id
        Its name without an ending, unique in the database; empty without a picture.
    picture
        Its file below ``pictures``; empty without a picture.
    cause, message
        Empty if there is a picture. Else one word: ``unreadable`` (no DICOM, damaged or cut off),
        ``undecodable`` (pixel data that no decoder takes), ``no_pixels``, ``slide_level`` (a slide is shown
        by its thumbnail); and a sentence.
    collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID, Modality
        As in the header, and collection_id as in the plan; empty if unknown.
    InstanceNumber, Rows, Columns, NumberOfFrames
        As in the header; None if it lacks them.
    PixelSpacing, ImagePositionPatient, ImageOrientationPatient
        As in the header, joined by backslashes, in mm.
    width, height
        Of the picture.
    """

    path: str
    frame: int
    id: str
    picture: str
    cause: str
    message: str
    collection_id: str
    PatientID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    Modality: str
    InstanceNumber: int | None
    Rows: int | None
    Columns: int | None
    NumberOfFrames: int | None
    PixelSpacing: str
    ImagePositionPatient: str
    ImageOrientationPatient: str
    width: int | None
    height: int | None

    @property
    def is_failure(self) -> bool:
        """Whether something is wrong with the file."""
        return bool(self.cause) and self.cause not in NO_FAILURE


class FileState(NamedTuple):
    """A file as it was when its thumbnails were made."""

    path: str
    size_bytes: int
    mtime_ns: int


TEXTS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality",
)  # fmt: skip
NUMBERS = ("InstanceNumber", "Rows", "Columns", "NumberOfFrames")
VECTORS = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
COLUMNS = Row._fields
INTEGERS = frozenset({"frame", *NUMBERS, "width", "height"})


def described(dataset: Dataset | None, collection_id: str = "") -> dict[str, Any]:
    """Return what a row tells of a header; a value that is damaged is left out."""
    found: dict[str, Any] = {"collection_id": collection_id}
    for name in TEXTS + VECTORS:
        found[name] = _text(_value(dataset, name))
    for name in NUMBERS:
        value = _value(dataset, name)
        found[name] = (
            int(value) if isinstance(value, int) or str(value).strip().lstrip("-").isdecimal() else None
        )
    return found


def _value(dataset: Dataset | None, name: str) -> Any:
    if dataset is None:
        return None
    try:
        return dataset.get(name)
    except Exception:  # a value of a wrong VR makes pydicom raise almost anything
        return None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (MultiValue, list)):
        return "\\".join(map(str, value))
    return str(value)
