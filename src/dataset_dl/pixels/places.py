"""What the attributes of a frame say of its place and size; a damaged value is as if it were missing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dataset_dl.pixels.order import TELLING, Slice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MOST = 1 << 31


def slice_of(dataset: Dataset, name: str) -> Slice:
    """Return what sorting needs to know of a frame.

    Parameters
    ----------
    dataset
        The attributes of the frame, see `contrast.frame_attributes`.
    name
        The last tie-breaker, like the name of its file.
    """
    number = numbers(dataset, "InstanceNumber", 1)
    return Slice(
        name,
        numbers(dataset, "ImagePositionPatient", 3),  # type: ignore[arg-type]
        numbers(dataset, "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        (count(dataset, "Rows"), count(dataset, "Columns")),
        None if number is None else int(number[0]),
        str(dataset.get("AcquisitionTime") or dataset.get("ContentTime") or ""),
        tuple(_plain(dataset, keyword) for keyword in TELLING),
    )


def numbers(dataset: Dataset, keyword: str, length: int) -> tuple[float, ...] | None:
    """Return numbers of an element; None if it lacks them or they are none."""
    try:
        value = dataset.get(keyword)
        several = tuple(float(each) for each in (value if length > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return several if len(several) == length and all(map(math.isfinite, several)) else None


def count(dataset: Dataset, keyword: str) -> int:
    """Return a whole number; 0 if it is missing or none."""
    found = numbers(dataset, keyword, 1)
    return int(found[0]) if found and 0 <= found[0] < _MOST else 0


def shown_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm, by PixelSpacing, else ImagerPixelSpacing."""
    found = numbers(dataset, "PixelSpacing", 2) or numbers(dataset, "ImagerPixelSpacing", 2)
    return None if found is None else (found[0], found[1])


def _plain(dataset: Dataset, keyword: str) -> str | None:
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError):
        return None
    return None if value in (None, "") else str(value)
