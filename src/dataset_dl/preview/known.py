"""What is kept of the headers of a series, to sort it; all of them, whole, would fill the memory."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dataset_dl.pixels.contrast import frame_attributes
from dataset_dl.pixels.order import TELLING, Slice, order
from dataset_dl.pixels.places import count, numbers, slice_of
from dataset_dl.preview.finding import StoredFile
from dataset_dl.preview.reading import Opened

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
        slice_of(frame_attributes(dataset, 0), opened.file.name),
        str(dataset.get("SOPInstanceUID", "")), _frames(dataset, total_bytes),
        _frame_order(dataset),
        image_type if isinstance(image_type, str) else "\\".join(map(str, image_type)),
        count(dataset, "TotalPixelMatrixColumns"), count(dataset, "TotalPixelMatrixRows"), total_bytes,
        opened.file,
    )  # fmt: skip


def _frames(dataset: Dataset, total_bytes: int) -> int:
    """Return the number of frames, or 1 if there cannot be so many; reading it tells what is wrong."""
    frames = count(dataset, "NumberOfFrames")
    return frames if 1 <= frames <= total_bytes else 1


def _frame_order(dataset: Dataset) -> tuple[int, ...]:
    """Return the numbers of frames in their true order, if they have positions and are not in order."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if not 1 < len(groups) <= _MOST_SORTED:
        return ()
    shared = numbers(frame_attributes(dataset, len(groups)), "ImageOrientationPatient", 6)
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
        return numbers(item, keyword, count)
    return None
