"""Segmentations (SEG) as label maps, on the grid of the images that they were drawn on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
from pydicom.dataset import Dataset

from dataset_dl.errors import UnreadableObject
from dataset_dl.pixels.stacks import NoVolume, Volume, to_ras


@dataclass(frozen=True)
class LabelMap:
    """A segmentation as an array.

    Attributes
    ----------
    arrays
        By name: the number of the segment of each voxel, 0 outside; shape (slices, rows, columns), without a
        name. If segments overlap or are fractional, an array of 0 and 1 for each.
    affine
        As of `pixels.stacks.Volume`.
    segments
        Number, SegmentLabel, category and type of each segment.
    """

    arrays: dict[str, np.ndarray]
    affine: np.ndarray
    segments: tuple[tuple[int, str, str, str], ...]

    @property
    def affine_ras(self) -> np.ndarray:
        """The affine in the coordinates of NIfTI."""
        return to_ras(self.affine)


def referenced_series(dataset: Dataset) -> str | None:
    """Return the SeriesInstanceUID of the images that a segmentation was drawn on."""
    for each in dataset.get("ReferencedSeriesSequence") or ():
        return str(each.SeriesInstanceUID)
    return None


def label_map(path: Path, reference: Volume | None = None) -> LabelMap:
    """Return a segmentation as a label map.

    Parameters
    ----------
    path
        The object.
    reference
        The volume whose grid it gets; its own, if None.

    Raises
    ------
    NoVolume
        If it has no grid, or another one than its reference.
    UnreadableObject
        If it is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = highdicom.seg.segread(path)
        except Exception as error:
            raise UnreadableObject(
                path.name, f"{path.name} is no segmentation that can be read: {error}."
            ) from None
        try:
            arrays, affine = _arrays(found, reference)
        except (RuntimeError, ValueError) as error:
            raise NoVolume(path.name, f"{path.name} is no volume: {error}") from None
    return LabelMap(arrays, affine, tuple(_segments(found)))


def _arrays(
    found: highdicom.seg.Segmentation, reference: Volume | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    is_fraction = found.SegmentationType == "FRACTIONAL"
    numbers = list(found.segment_numbers)
    if not is_fraction:
        try:
            volume = found.get_volume(combine_segments=True, rescale_fractional=False)
            volume = _on(volume, reference)
            return {"": _small(np.asarray(volume.array))}, _affine(volume)
        except RuntimeError as error:
            if "overlap" not in str(error).lower():
                raise
    arrays, affine = {}, np.eye(4)
    for number in numbers:
        volume = _on(found.get_volume(segment_numbers=[number]), reference)
        covered = np.asarray(volume.array)[..., 0] >= 0.5
        arrays[f"segment-{number}"] = covered.astype(np.uint8)
        affine = _affine(volume)
    return arrays, affine


def _on(volume: highdicom.Volume, reference: Volume | None) -> highdicom.Volume:
    """Bring a volume to the grid of its reference without changing a voxel, unless some would be lost."""
    if reference is None:
        return volume
    grid = highdicom.VolumeGeometry(
        # highdicom counts (slice, row, column), and we (column, row, slice).
        reference.affine[:, [2, 1, 0, 3]],
        spatial_shape=reference.array.shape,
        coordinate_system="PATIENT",
    )
    placed = volume.match_geometry(grid)
    is_whole = np.count_nonzero(placed.array) == np.count_nonzero(volume.array)
    return placed if is_whole else volume


def _affine(volume: highdicom.Volume) -> np.ndarray:
    return np.asarray(volume.affine)[:, [2, 1, 0, 3]]


def _small(array: np.ndarray) -> np.ndarray:
    """Return labels in as few bits as they need."""
    return array.astype(np.uint8 if array.max(initial=0) < 256 else np.uint16)


def _segments(found: highdicom.seg.Segmentation) -> list[tuple[int, str, str, str]]:
    told = []
    for number in found.segment_numbers:
        about = found.get_segment_description(number)
        category, kind = about.segmented_property_category, about.segmented_property_type
        told.append((int(number), str(about.segment_label), str(category.meaning), str(kind.meaning)))
    return told
