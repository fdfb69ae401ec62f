"""The names, arguments and defaults of idc-series-preview, over `view.SeriesView`.

Its users change an import: ``from dataset_dl.preview.idc_series_preview import SeriesIndex``. What differs:
headers are whole, slices are in their true order, MONOCHROME1 is inverted, and frames are pandas (``.pl()``
gives polars).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset

from dataset_dl.errors import SelectionError
from dataset_dl.pixels.contrast import Contrast as _Contrast
from dataset_dl.pixels.pictures import sheet
from dataset_dl.preview import look
from dataset_dl.preview.index import Instance as Indexed
from dataset_dl.preview.series import at
from dataset_dl.preview.shots import spread
from dataset_dl.preview.view import SeriesView

if TYPE_CHECKING:
    from PIL.Image import Image

    from dataset_dl.model.frame import Frame

__all__ = [
    "Contrast", "DICOMRetriever", "Instance", "MosaicGenerator", "MosaicRenderer", "PositionInterpolator",
    "SeriesIndex", "load_or_generate_index",
]  # fmt: skip

ROOT = "s3://idc-open-data"
_WIDTH = 128


class Contrast:
    """A contrast: a preset, ``auto``, ``embedded`` or ``WIDTH/LEVEL`` as `spec`, or both numbers."""

    def __init__(
        self,
        spec: str | None = None,
        window_width: float | None = None,
        window_center: float | None = None,
    ) -> None:
        self.spec = spec
        self.window_width = window_width
        self.window_center = window_center

    def __str__(self) -> str:
        if self.window_width is not None and self.window_center is not None:
            return f"{self.window_width:g}/{self.window_center:g}"
        return (self.spec or "auto").replace(",", "/")


class PositionInterpolator:
    """Evenly spaced positions in a series of so many instances."""

    def __init__(self, instance_count: int) -> None:
        if instance_count < 1:
            raise SelectionError(str(instance_count), "A series has at least one instance.")
        self.instance_count = instance_count

    def interpolate(self, num_positions: int, start: float = 0.0, end: float = 1.0) -> list[float]:
        """Return positions from `start` to `end`, both included; the middle for a single one."""
        if num_positions < 1 or not 0 <= start <= end <= 1:
            raise SelectionError(
                f"{start} {end}", f"{num_positions} positions from {start} to {end} do not exist."
            )
        if num_positions == 1:
            return [(start + end) / 2]
        return [start + (end - start) * place / (num_positions - 1) for place in range(num_positions)]

    def interpolate_unique(
        self, num_positions: int, start: float = 0.0, end: float = 1.0
    ) -> tuple[list[float], list[int]]:
        """Return positions and the numbers of their slices, each slice once."""
        found: dict[int, float] = {}
        for position in self.interpolate(num_positions, start, end):
            found.setdefault(self.position_to_index(position), position)
        return list(found.values()), list(found)

    def position_to_index(self, position: float, slice_offset: int = 0) -> int:
        """Return the number of the slice at a position, and so many further."""
        if not 0 <= position <= 1:
            raise SelectionError(str(position), f"A position is between 0.0 and 1.0, not {position}.")
        return self.within(int(position * (self.instance_count - 1)) + slice_offset)

    def within(self, number: int) -> int:
        """Return the number of a slice; refuse one that there is not."""
        if not 0 <= number < self.instance_count:
            raise SelectionError(str(number), f"There is no slice {number}; there are {self.instance_count}.")
        return number


class Instance:
    """One instance of a series; what it shows is read when it is asked for."""

    def __init__(self, instance_uid: str, dataset: Dataset | None, series_index: SeriesIndex) -> None:
        self.instance_uid = instance_uid
        self._dataset = dataset
        self._series = series_index

    @property
    def dataset(self) -> Dataset:
        """The whole header."""
        if self._dataset is None:
            self._dataset = self._series.view.header(self._number)
        return self._dataset

    @property
    def _number(self) -> int:
        return self._series.number_of(self.instance_uid)

    def get_pixel_array(self) -> np.ndarray:
        """Return the stored values."""
        return self._series.view.frame(self._number)

    def get_image(self, contrast: str | Contrast | None = None, image_width: int = _WIDTH) -> Image:
        """Return a picture of this width."""
        return _wide(self._series.view.image(self._number, contrast=_text(contrast)), image_width)

    def get_contrast_grid(self, contrasts: list[str], image_width: int = _WIDTH) -> Image:
        """Return pictures under several contrasts, side by side."""
        return sheet([self.get_image(each, image_width) for each in contrasts], len(contrasts))


class SeriesIndex:
    """A series: its instances in their true order.

    Parameters
    ----------
    series
        What `dd.look` takes, or the name of a series below `root`.
    root
        Where series are; IDC by default.
    cache_dir, use_cache, force_rebuild
        Accepted, and of no effect: the order of a series of IDC is kept in the cache of dataset_dl, and never
        goes stale, because its objects never change.
    """

    def __init__(
        self, series: str, root: str = ROOT, cache_dir: str | None = None, use_cache: bool = True,
        force_rebuild: bool = False,
    ) -> None:  # fmt: skip
        self._root = root
        self.view: SeriesView = look(series if root == ROOT else f"{root.rstrip('/')}/{series}")
        self._uids = [each.SOPInstanceUID for each in self._instances()]

    def _instances(self) -> list[Indexed]:
        return [each for each in self.view.index.instances if each.Group == 0]

    def __len__(self) -> int:
        return len(self._uids)

    @property
    def series_uid(self) -> str:
        """What the series is called."""
        return self.view.title

    @property
    def root_path(self) -> str:
        """Where series are."""
        return self._root

    @property
    def instance_count(self) -> int:
        """How many instances there are."""
        return len(self)

    @property
    def primary_axis(self) -> str:
        """``X``, ``Y`` or ``Z``, the axis that is nearest to the normal; ``I`` without positions."""
        orientation = self.view.header(0).get("ImageOrientationPatient")
        if not orientation:
            return "I"
        normal = np.cross(np.array(orientation[:3], float), np.array(orientation[3:], float))
        return "XYZ"[int(np.abs(normal).argmax())]

    @property
    def index_dataframe(self) -> Frame:
        """Index, PrimaryPosition, FileName, SOPInstanceUID and every element of the headers."""
        return self.view.headers()

    @property
    def position_range(self) -> tuple[float, float]:
        """The lowest and the highest position along the normal, in mm."""
        places = [each.PrimaryPosition for each in self._instances() if each.PrimaryPosition is not None]
        return (min(places), max(places)) if places else (0.0, float(len(self) - 1))

    def number_of(self, instance_uid: str) -> int:
        """Return the number of an instance."""
        return self._uids.index(instance_uid)

    def get_instances(
        self, positions: list[float] | None = None, slice_numbers: list[int] | None = None,
        max_workers: int | None = None, remove_duplicates: bool = False, headers_only: bool = False,
    ) -> list[Instance]:  # fmt: skip
        """Return instances by positions (0.0 to 1.0) or by numbers (from 0)."""
        if (positions is None) == (slice_numbers is None):
            raise SelectionError("", "Name either positions or slice numbers.")
        wanted: Sequence[float | int] = positions if positions is not None else slice_numbers or []
        uids = [at(self._uids, each) for each in wanted]
        return [Instance(uid, None, self) for uid in (dict.fromkeys(uids) if remove_duplicates else uids)]

    def get_instance(
        self, position: float | None = None, slice_number: int | None = None, slice_offset: int = 0
    ) -> Instance:
        """Return one instance by position or number, and so many further."""
        if (position is None) == (slice_number is None):
            raise SelectionError("", "Name either a position or a slice number.")
        slices = PositionInterpolator(len(self))
        if position is not None:
            number = slices.position_to_index(position, slice_offset)
        else:
            number = slices.within((slice_number or 0) + slice_offset)
        return Instance(self._uids[number], None, self)

    def get_image(
        self, position: float | None = None, slice_number: int | None = None,
        contrast: str | Contrast | None = None, image_width: int = _WIDTH,
    ) -> Image:  # fmt: skip
        """Return a picture of one instance."""
        return self.get_instance(position, slice_number).get_image(contrast, image_width)

    def get_images(
        self, positions: list[float] | None = None, slice_numbers: list[int] | None = None,
        contrast: str | Contrast | None = None, image_width: int = _WIDTH, max_workers: int | None = None,
        remove_duplicates: bool = False,
    ) -> list[Image]:  # fmt: skip
        """Return pictures of several instances."""
        several = self.get_instances(positions, slice_numbers, remove_duplicates=remove_duplicates)
        return [each.get_image(contrast, image_width) for each in several]


class MosaicRenderer:
    """Puts pictures together, `tile_width` in a row and `tile_height` rows."""

    def __init__(self, tile_width: int = 6, tile_height: int = 6, image_width: int = _WIDTH) -> None:
        self.tile_width = tile_width
        self.tile_height = tile_height
        self.image_width = image_width

    def tile_images(self, images: list[Image]) -> Image | None:
        """Return the sheet; None without pictures."""
        chosen = [_wide(each, self.image_width) for each in images[: self.tile_width * self.tile_height]]
        return sheet(chosen, self.tile_width) if chosen else None


MosaicGenerator = MosaicRenderer


class DICOMRetriever:
    """Finds and reads the instances of series below a root."""

    def __init__(self, root_path: str, index_df: object = None) -> None:
        self._root = root_path

    def list_instances(self, series_uid: str) -> list[str]:
        """Return the SOPInstanceUIDs of a series, in their true order."""
        return list(SeriesIndex(series_uid, self._root)._uids)

    def get_instance_at_position(
        self, series_uid: str, position: float, slice_offset: int = 0
    ) -> tuple[str, Dataset] | None:
        """Return SOPInstanceUID and header of the instance at a position."""
        found = SeriesIndex(series_uid, self._root).get_instance(position, slice_offset=slice_offset)
        return found.instance_uid, found.dataset

    def get_instances_distributed(
        self, series_uid: str, count: int, start: float = 0.0, end: float = 1.0
    ) -> list[tuple[str, Dataset]]:
        """Return SOPInstanceUID and header of evenly chosen instances."""
        series = SeriesIndex(series_uid, self._root)
        first, last = round(start * (len(series) - 1)), round(end * (len(series) - 1))
        numbers = [first + place for place in spread(last - first + 1, count)]
        return [(each.instance_uid, each.dataset) for each in series.get_instances(slice_numbers=numbers)]

    def get_instance_data(self, series_uid: str, instance_uid: str) -> Dataset | None:
        """Return the header of an instance."""
        return Instance(instance_uid, None, SeriesIndex(series_uid, self._root)).dataset


def load_or_generate_index(
    series_uid: str, root_path: str, index_dir: str | None = None,
    logger_instance: logging.Logger | None = None, save_to_cache: bool = True, force_rebuild: bool = False,
) -> Frame | None:  # fmt: skip
    """Return a frame with a row an instance: Index, PrimaryPosition, FileName, SOPInstanceUID, its header."""
    return SeriesIndex(series_uid, root_path).index_dataframe


def _text(contrast: str | Contrast | None) -> str:
    return "auto" if contrast is None else _Contrast.of(str(contrast).replace(",", "/")).name


def _wide(made: Image, width: int) -> Image:
    return (
        made if made.width == width else made.resize((width, max(1, round(made.height * width / made.width))))
    )
