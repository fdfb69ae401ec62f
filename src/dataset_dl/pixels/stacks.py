"""From the slices of a series to one array, or the reason why they are none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from dataset_dl.errors import SelectionError, StorageError, UnreadableObject
from dataset_dl.model.series import Series
from dataset_dl.pixels.files import open_file
from dataset_dl.pixels.objects import PixelObject
from dataset_dl.pixels.order import TELLING, Slice, order
from dataset_dl.pixels.places import numbers, slice_of
from dataset_dl.pixels.unreadable import Unreadable

# Distances between slices may differ by this much of the usual one, and by this many mm, for rounding.
_SAME_GAP, _SAME_GAP_MM = 0.01, 0.005
_NOT_A_DIRECTION = 0.01
_INT16 = np.iinfo(np.int16)
_NEEDED = (
    "SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", *TELLING,
)  # fmt: skip
_TAGS: list[BaseTag | int] = [Tag(name) for name in _NEEDED]


@dataclass(frozen=True)
class Volume:
    """A series as one array.

    Attributes
    ----------
    array
        Of shape (slices, rows, columns), int16 or float32, in the units of the modality.
    affine
        Of shape (4, 4), from (column, row, slice, 1) to mm in the patient's coordinates (LPS).
    SOPInstanceUIDs
        Of each slice.
    files
        Name of the file of each slice.
    """

    array: np.ndarray
    affine: np.ndarray
    SOPInstanceUIDs: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of columns, rows and slices in mm, along the axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def affine_ras(self) -> np.ndarray:
        """The affine in the coordinates of NIfTI, where x goes to the right and y to the front."""
        return to_ras(self.affine)


def to_ras(affine: np.ndarray) -> np.ndarray:
    """Return an affine to LPS, which DICOM uses, as one to RAS, which NIfTI uses."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


class NoVolume(SelectionError):
    """The slices of a series are no volume; the message says why."""


@dataclass(frozen=True)
class _Frame:
    """One slice: where it is, and how to read it."""

    slice: Slice
    found: PixelObject
    number: int
    attributes: Dataset
    uid: str
    path: Path


def stacked(series: Any) -> Volume:
    """Return a volume, see `volumes.volume`."""
    title, paths = _paths(series)
    frames = [frame for path in paths for frame in _frames(path)]
    if not frames:
        raise NoVolume(title, f"{title} has no images.")
    frames = _in_order(title, frames)
    affine = _affine(title, frames)
    array = _filled(frames)
    uids = tuple(each.uid for each in frames)
    return Volume(array, affine, uids, tuple(each.path.name for each in frames))


def _paths(series: Any) -> tuple[str, list[Path]]:
    if isinstance(series, Series):
        return series.planned.SeriesInstanceUID or series.planned.key, list(series.paths)
    if isinstance(series, (str, os.PathLike)):
        path = Path(series)
        if path.is_dir():
            files = sorted(
                each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")
            )
            named = [each for each in files if each.suffix.lower() == ".dcm"]
            return str(path), named or files
        if not path.exists():
            raise SelectionError(str(path), f"{path} does not exist.")
        return str(path), [path]
    if isinstance(series, Iterable):
        several = list(series)
        if all(isinstance(each, (str, os.PathLike)) for each in several):
            return f"{len(several)} files", [Path(each) for each in several]
    raise SelectionError(
        str(series), f"{type(series).__name__} is no series.", "Give a Series, a directory, or files."
    )


def _frames(path: Path) -> list[_Frame]:
    try:
        found = open_file(path, specific_tags=_TAGS)
        dataset = found.header.dataset
        count = found.count()
        if count > 1:
            return [_frame(path, found, number) for number in range(count)]
        return [_frame(path, found, 0, dataset if "SharedFunctionalGroupsSequence" not in dataset else None)]
    except Unreadable as error:
        raise UnreadableObject(path.name, f"{path.name} {error}.") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnreadableObject(path.name, f"{path.name} has a header that is damaged: {error}.") from None
    except OSError as error:
        raise StorageError(str(path), f"{path} cannot be read: {error.strerror}.") from None


def _frame(path: Path, found: PixelObject, number: int, attributes: Dataset | None = None) -> _Frame:
    dataset = found.attributes(number) if attributes is None else attributes
    place = slice_of(dataset, f"{path.name} {number:06}")
    return _Frame(place, found, number, dataset, str(dataset.get("SOPInstanceUID", "")), path)


def _in_order(title: str, frames: list[_Frame]) -> list[_Frame]:
    """Sort slices; refuse what does not belong together."""
    if any(each.slice.position is None or each.slice.orientation is None for each in frames):
        raise NoVolume(title, f"{title} is no volume: its images have no position in space.")
    if any(int(each.attributes.get("SamplesPerPixel") or 1) != 1 for each in frames):
        raise NoVolume(title, f"{title} is no volume: its images are in colour.")
    ordering = order([each.slice for each in frames])
    if ordering.remarks:
        raise NoVolume(title, f"{title} is no volume: it has {'; '.join(ordering.remarks)}.")
    return [frames[place] for place in ordering.order]


def _affine(title: str, frames: Sequence[_Frame]) -> np.ndarray:
    """Return the affine; refuse slices that are not evenly spaced."""
    first, last = frames[0], frames[-1]
    positions = np.array([each.slice.position for each in frames])
    row, column = np.array(first.slice.orientation).reshape(2, 3)
    spacing = numbers(first.attributes, "PixelSpacing", 2)
    if spacing is None:
        raise NoVolume(title, f"{title} is no volume: its pixels have no size.")
    if any(_differs(numbers(each.attributes, "PixelSpacing", 2), spacing) for each in frames):
        raise NoVolume(title, f"{title} is no volume: its slices have pixels of several sizes.")
    if len(frames) == 1:
        step = np.cross(row, column) * _thickness(first.attributes)
    else:
        gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        usual = float(np.median(gaps))
        if np.abs(gaps - usual).max() > max(_SAME_GAP * usual, _SAME_GAP_MM):
            raise NoVolume(
                title,
                f"{title} is no volume: its slices are {gaps.min():.3f} to {gaps.max():.3f} mm apart, usually"
                f" {usual:.3f} mm.",
                "Some may be missing.",
            )
        step = (np.array(last.slice.position) - positions[0]) / (len(frames) - 1)
        line = positions[0] + np.arange(len(frames))[:, np.newaxis] * step
        off = float(np.linalg.norm(positions - line, axis=1).max())
        if off > max(_SAME_GAP * usual, _SAME_GAP_MM) * len(frames):
            raise NoVolume(title, f"{title} is no volume: its slices lie up to {off:.3f} mm beside a line.")
    if not (np.isfinite((*spacing, *row, *column, *step)).all() and min(spacing) > 0 and step.any()):
        raise NoVolume(title, f"{title} is no volume: its pixels or slices have an impossible size or place.")
    if np.abs((row @ row - 1, column @ column - 1, row @ column)).max() > _NOT_A_DIRECTION:
        raise NoVolume(title, f"{title} is no volume: its ImageOrientationPatient is no pair of directions.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[1], column * spacing[0], step
    affine[:3, 3] = positions[0]
    return affine


def _differs(one: Any, other: tuple[float, ...]) -> bool:
    return one is None or not np.allclose(one, other, rtol=1e-4)


def _thickness(dataset: Dataset) -> float:
    value = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness")
    try:
        return abs(float(value)) if value else 1.0
    except (TypeError, ValueError):
        return 1.0


def _filled(frames: Sequence[_Frame]) -> np.ndarray:
    """Decode all slices into one array, of int16 if all values are such numbers."""
    rows, columns = frames[0].slice.size
    whole = all(_is_whole(each.attributes) for each in frames)
    made = np.empty((len(frames), rows, columns), np.int16 if whole else np.float32)
    for place, each in enumerate(frames):
        try:
            values = _rescaled(each)
        except Unreadable as error:
            raise UnreadableObject(each.path.name, f"{each.path.name} {error}.") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnreadableObject(
                each.path.name, f"{each.path.name} has values that cannot be rescaled: {error}."
            ) from None
        if whole and (values.min() < _INT16.min or values.max() > _INT16.max):
            whole, made = False, made.astype(np.float32)
        made[place] = values
    return made


def _is_whole(dataset: Dataset) -> bool:
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    try:
        return float(slope).is_integer() and float(intercept).is_integer()
    except (TypeError, ValueError):
        return False


def _rescaled(frame: _Frame) -> np.ndarray:
    values = frame.found.values(frame.number)
    dataset = frame.attributes
    if dataset.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(values, dataset))
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    slope, intercept = float(1 if slope is None else slope), float(0 if intercept is None else intercept)
    if slope == 1 and intercept == 0:
        return values
    if not np.isfinite((slope, intercept)).all():
        raise Unreadable("has a RescaleSlope or RescaleIntercept that is no number")
    fits = values.dtype.itemsize <= 2 and abs(slope) * 65_536 + abs(intercept) < 2**31
    if fits and slope.is_integer() and intercept.is_integer():
        # Several times as fast as in floating point.
        scaled = values.astype(np.int32)
        if slope != 1:
            scaled *= int(slope)
        scaled += int(intercept)
        return scaled
    return values * slope + intercept
