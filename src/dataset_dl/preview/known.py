"""What is kept of the headers of a series, to sort it; all of them, whole, would fill the memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dataset_dl.pixels.contrast import frame_attributes
from dataset_dl.pixels.order import TELLING, Slice, order
from dataset_dl.preview.finding import StoredFile
from dataset_dl.preview.reading import Opened

_MOST = 1 << 31
# Objects of more frames, mostly segmentations, are shown in the order of the file.
_MOST_SORTED = 5_000


@dataclass(frozen=True)
class Known:
    """What is kept of a header: where it belongs, and what `index.Instance` tells of it."""

    slice: Slice
    uid: str
    frames: int
    frame_order: tuple[int, ...]
    image_type: str
    total_columns: int
    total_rows: int
    size_bytes: int
    file: StoredFile


def known_of(opened: Opened) -> Known:
    """Return what is kept of a header."""
    assert opened.header is not None
    dataset, total_bytes = opened.header.dataset, opened.header.total_bytes
    image_type = dataset.get("ImageType") or ()
    return Known(
        _slice(opened), str(dataset.get("SOPInstanceUID", "")), _frames(dataset, total_bytes),
        _frame_order(dataset),
        image_type if isinstance(image_type, str) else "\\".join(map(str, image_type)),
        _count(dataset, "TotalPixelMatrixColumns"), _count(dataset, "TotalPixelMatrixRows"), total_bytes,
        opened.file,
    )  # fmt: skip


def _slice(opened: Opened) -> Slice:
    assert opened.header is not None
    whole = opened.header.dataset
    dataset = frame_attributes(whole, 0)
    position, orientation = (
        _numbers(dataset, "ImagePositionPatient", 3),
        _numbers(dataset, "ImageOrientationPatient", 6),
    )
    number = _numbers(dataset, "InstanceNumber", 1)
    return Slice(
        opened.file.name,
        position,  # type: ignore[arg-type]
        orientation,  # type: ignore[arg-type]
        (_count(dataset, "Rows"), _count(dataset, "Columns")),
        None if number is None else int(number[0]),
        str(dataset.get("AcquisitionTime") or dataset.get("ContentTime") or ""),
        tuple(_plain(dataset, keyword) for keyword in TELLING),
    )


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return numbers of an element; None if it lacks them or they are none."""
    try:
        value = dataset.get(keyword)
        several = tuple(float(each) for each in (value if count > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return several if len(several) == count and all(map(math.isfinite, several)) else None


def _count(dataset: Dataset, keyword: str) -> int:
    """Return a whole number; 0 if it is missing or none."""
    found = _numbers(dataset, keyword, 1)
    return int(found[0]) if found and 0 <= found[0] < _MOST else 0


def _frames(dataset: Dataset, total_bytes: int) -> int:
    """Return the number of frames, or 1 if there cannot be so many; reading it tells what is wrong."""
    count = _count(dataset, "NumberOfFrames")
    return count if 1 <= count <= total_bytes else 1


def _frame_order(dataset: Dataset) -> tuple[int, ...]:
    """Return the numbers of frames in their true order, if they have positions and are not in order."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if not 1 < len(groups) <= _MOST_SORTED:
        return ()
    shared = _numbers(frame_attributes(dataset, len(groups)), "ImageOrientationPatient", 6)
    slices = []
    for number, group in enumerate(groups):
        position = _of(group, "PlanePositionSequence", "ImagePositionPatient", 3)
        if position is None:
            return ()
        orientation = _of(group, "PlaneOrientationSequence", "ImageOrientationPatient", 6) or shared
        told = {
            "TemporalPositionIdentifier": _of(group, "FrameContentSequence", "TemporalPositionIndex", 1),
            "EchoTime": _of(group, "MREchoSequence", "EffectiveEchoTime", 1),
            "DiffusionBValue": _of(group, "MRDiffusionSequence", "DiffusionBValue", 1),
        }
        slices.append(
            Slice(f"{number:09}", position, orientation, number=number, telling=tuple(map(told.get, TELLING)))  # type: ignore[arg-type]
        )
    found = order(slices).order
    return () if found == tuple(range(len(groups))) else found


def _of(group: Dataset, sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return numbers of the first item of a functional group."""
    for item in group.get(sequence) or ():
        return _numbers(item, keyword, count)
    return None


def _plain(dataset: Dataset, keyword: str) -> str | None:
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError):
        return None
    return None if value in (None, "") else str(value)
