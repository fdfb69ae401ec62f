"""Segmentations over the images that they were drawn on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from dataset_dl.errors import SelectionError
from dataset_dl.pixels.colours import rgb_of
from dataset_dl.pixels.contrast import frame_attributes
from dataset_dl.preview.reading import OneObject

_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", _LABEL_MAP)
# Easy to tell apart, also for most who see few colours.
_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
# A plane further away than this many mm is another one.
_SAME_PLANE_MM = 0.1


@dataclass(frozen=True)
class Segment:
    """One segment: its number, SegmentLabel, and the colour that it is shown in."""

    number: int
    label: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class _Plane:
    """Where the pixels of a frame are: their origin, and the steps along a row and down a column, in mm."""

    origin: np.ndarray
    along: np.ndarray
    down: np.ndarray

    @classmethod
    def of(cls, attributes: Dataset) -> _Plane | None:
        position, orientation = (
            attributes.get("ImagePositionPatient"),
            attributes.get("ImageOrientationPatient"),
        )
        spacing = attributes.get("PixelSpacing")
        if not (position and orientation and spacing):
            return None
        directions = np.array([float(each) for each in orientation]).reshape(2, 3)
        return cls(
            np.array([float(each) for each in position]),
            directions[0] * float(spacing[1]),
            directions[1] * float(spacing[0]),
        )

    @property
    def normal(self) -> np.ndarray:
        """Of length 1."""
        normal = np.cross(self.along, self.down)
        return np.asarray(normal / np.linalg.norm(normal))


class Segmentation:
    """A segmentation object.

    Parameters
    ----------
    opened
        The object.

    Raises
    ------
    SelectionError
        If it is no segmentation.
    """

    def __init__(self, opened: OneObject) -> None:
        self._opened = opened
        dataset = opened.header.dataset
        if dataset.get("SOPClassUID") not in _CLASSES:
            raise SelectionError(
                str(dataset.get("SOPInstanceUID", "")),
                "This series is no segmentation (SEG).",
                "Name one that is.",
            )
        self._is_map = dataset.SOPClassUID == _LABEL_MAP
        self._most = float(dataset.get("MaximumFractionalValue") or 1)
        self.segments = {
            int(each.SegmentNumber): Segment(
                int(each.SegmentNumber), str(each.get("SegmentLabel", "")), _colour(each, place)
            )
            for place, each in enumerate(dataset.get("SegmentSequence") or ())
        }
        self._frames = [_frame(dataset, number) for number in range(int(dataset.get("NumberOfFrames") or 1))]
        self._by_source: dict[str, list[int]] = defaultdict(list)
        for number, frame in enumerate(self._frames):
            for uid in frame.sources:
                self._by_source[uid].append(number)

    @property
    def source_series(self) -> str | None:
        """SeriesInstanceUID of the images that it was drawn on."""
        for each in self._opened.header.dataset.get("ReferencedSeriesSequence") or ():
            return str(each.SeriesInstanceUID)
        return None

    def masks(self, image: Dataset) -> dict[int, np.ndarray]:
        """Return how much of each pixel of an image each segment covers.

        Parameters
        ----------
        image
            The attributes of the image.

        Returns
        -------
        dict
            Segment number → array of shape (rows, columns), 0 to 1; without segments that are not on it.

        Raises
        ------
        UnreadableObject, NetworkError, StorageError
            If it cannot be read.
        """
        plane, shape = _Plane.of(image), (int(image.Rows), int(image.Columns))
        found: dict[int, np.ndarray] = {}
        for number in self._on(plane, str(image.get("SOPInstanceUID", ""))):
            frame = self._frames[number]
            values = self._opened.frame(number).values
            for segment, part in self._parts(values, frame.segment):
                placed = _placed(part, frame.plane, plane, shape)
                found[segment] = np.maximum(found[segment], placed) if segment in found else placed
        return {segment: mask for segment, mask in sorted(found.items()) if mask.any()}

    def _on(self, plane: _Plane | None, uid: str) -> Iterable[int]:
        """Return the numbers of the frames that are on an image: by its place, else by its reference."""
        if plane is None or any(each.plane is None for each in self._frames):
            return self._by_source.get(uid, [])
        return [
            number
            for number, each in enumerate(self._frames)
            if each.plane is not None
            and abs(np.dot(plane.normal, each.plane.origin - plane.origin)) < _SAME_PLANE_MM
            and abs(np.dot(plane.normal, each.plane.normal)) > 0.999
        ]

    def _parts(self, values: np.ndarray, segment: int) -> Iterable[tuple[int, np.ndarray]]:
        if not self._is_map:
            yield segment, values / self._most
            return
        for each in np.unique(values):
            if each:
                yield int(each), (values == each).astype(np.float32)


def _colour(segment: Dataset, place: int) -> tuple[int, int, int]:
    """Return the colour that a segmentation recommends for a segment, else one by its place."""
    lab = segment.get("RecommendedDisplayCIELabValue")
    return rgb_of(lab) if lab and len(lab) == 3 else _COLOURS[place % len(_COLOURS)]


@dataclass(frozen=True)
class _Frame:
    segment: int
    plane: _Plane | None
    sources: tuple[str, ...]


def _frame(dataset: Dataset, number: int) -> _Frame:
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    group = groups[number] if number < len(groups) else Dataset()
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    segment = 0
    for source in (group, shared):
        for each in source.get("SegmentIdentificationSequence") or ():
            segment = segment or int(each.ReferencedSegmentNumber)
    sources = tuple(
        str(image.ReferencedSOPInstanceUID)
        for derivation in group.get("DerivationImageSequence") or ()
        for image in derivation.get("SourceImageSequence") or ()
    )
    return _Frame(segment, _Plane.of(frame_attributes(dataset, number)), sources)


def _placed(mask: np.ndarray, own: _Plane | None, image: _Plane | None, shape: tuple[int, int]) -> np.ndarray:
    """Bring a mask to the pixels of an image; the nearest pixel counts."""
    if own is None or image is None:
        if mask.shape != shape:
            raise SelectionError("", "The segmentation has other pixels than the image, and no positions.")
        return mask
    steps = np.stack([own.along, own.down], axis=1)
    to_own = np.linalg.pinv(steps)
    begin = to_own @ (image.origin - own.origin)
    along, down = to_own @ image.along, to_own @ image.down
    if mask.shape == shape and np.allclose([*begin, *along, *down], [0, 0, 1, 0, 0, 1], atol=1e-3):
        return mask
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    places = [np.rint(begin[axis] + columns * along[axis] + rows * down[axis]).astype(int) for axis in (0, 1)]
    inside = (places[0] >= 0) & (places[0] < mask.shape[1]) & (places[1] >= 0) & (places[1] < mask.shape[0])
    placed = np.zeros(shape, mask.dtype)
    placed[inside] = mask[places[1][inside], places[0][inside]]
    return placed


def blended(
    grey: np.ndarray, masks: Mapping[int, np.ndarray], segments: Mapping[int, Segment], opacity: float
) -> np.ndarray:
    """Colour the pixels of an image that segments cover.

    Parameters
    ----------
    grey
        8 bits, of shape (rows, columns) or (rows, columns, 3).
    masks
        See `Segmentation.masks`.
    segments
        By number.
    opacity
        From 0 to 1.
    """
    made = (np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey).astype(np.float32)
    for number, mask in masks.items():
        colour = segments[number].colour if number in segments else _COLOURS[number % len(_COLOURS)]
        cover = (opacity * mask)[..., None]
        made += (np.array(colour, np.float32) - made) * cover.astype(np.float32)
    return (made + 0.5).astype(np.uint8)
