"""From one file to pictures: every frame is decoded once, whatever is wrong with the file is a row."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from dataset_dl.errors import StorageError
from dataset_dl.pixels import tiles
from dataset_dl.pixels.colours import as_seen
from dataset_dl.pixels.contrast import Contrast
from dataset_dl.pixels.files import open_file
from dataset_dl.pixels.frames import CostlyScan
from dataset_dl.pixels.objects import PixelObject
from dataset_dl.pixels.pictures import fitted, picture
from dataset_dl.pixels.places import shown_spacing
from dataset_dl.pixels.tiles import Grid, kind_of
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.scratch import written_whole
from dataset_dl.thumbnails.rows import NUMBERS, TEXTS, VECTORS, FileState, Row, described
from dataset_dl.thumbnails.settings import Settings

_SLIDES = ("1.2.840.10008.5.1.4.1.1.77.1.6",)
_MOST_TILES = 400
# What is shown, and what says how; a header with all of its elements takes a third longer.
_NEEDED = (
    *TEXTS, *NUMBERS, *VECTORS, "ImageType", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ImagerPixelSpacing", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "VOILUTSequence", "WindowWidth", "WindowCenter", "VOILUTFunction",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "ICCProfile", "OpticalPathSequence",
    "TotalPixelMatrixColumns", "TotalPixelMatrixRows", "DimensionOrganizationType",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)  # fmt: skip
_TAGS: list[BaseTag | int] = [Tag(name) for name in _NEEDED]
_PLAIN_UID = re.compile(r"[0-9.]{1,64}")
_SAVED: dict[str, dict[str, Any]] = {
    "webp": {"format": "WEBP", "quality": 85, "method": 2},
    "jpeg": {"format": "JPEG", "quality": 88},
}
ENDINGS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}


@dataclass
class Made:
    """What was made of some files: rows, and the seconds that each phase took."""

    rows: list[Row] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


@dataclass(frozen=True)
class _Opened:
    """A file whose header was read, or why it was not."""

    path: Path
    name: str
    found: PixelObject | None
    cause: str = ""
    message: str = ""

    @property
    def dataset(self) -> Dataset | None:
        return None if self.found is None else self.found.header.dataset


class Maker:
    """Makes thumbnails.

    Parameters
    ----------
    root
        The tree; names in rows are relative to it.
    target
        The directory of the database and its pictures.
    settings
        How to make them.
    """

    def __init__(self, root: Path, target: Path, settings: Settings) -> None:
        self._root = root
        self._target = target
        self._settings = settings
        self._contrast = Contrast.of(settings.contrast)

    def make(self, paths: list[Path], collection_id: str = "") -> Made:
        """Make the thumbnails of some files; the levels of a slide must be together.

        Raises
        ------
        StorageError
            If a picture cannot be written.
        """
        made = Made()
        slides: dict[str, list[_Opened]] = {}
        for path in paths:
            with made.phase("read"):
                opened = self._open(path)
            if _is_slide(opened):
                assert opened.dataset is not None
                slides.setdefault(str(opened.dataset.get("SeriesInstanceUID")), []).append(opened)
                continue
            self._of_file(opened, made, collection_id)
        for several in slides.values():
            self._of_slide(several, made, collection_id)
        return made

    def _open(self, path: Path) -> _Opened:
        name = _relative(path, self._root)
        try:
            return _Opened(path, name, open_file(path, specific_tags=_TAGS))
        except Unreadable as error:
            return _Opened(path, name, None, "unreadable", f"{path.name} {error}.")
        except OSError as error:
            reason = f"{path.name} cannot be read: {error.strerror}."
            return _Opened(path, name, None, "unreadable", reason)

    def _of_file(self, opened: _Opened, made: Made, collection_id: str) -> None:
        about = described(opened.dataset, collection_id)
        found = opened.found
        if found is None:
            made.rows.append(_failed(opened.name, -1, about, opened.cause, opened.message))
            return
        try:
            count = found.count()
        except Unreadable as error:
            cause = "no_pixels" if "no pixel data" in str(error) else "unreadable"
            message = f"{opened.path.name} {error}."
            made.rows.append(_failed(opened.name, -1, about, cause, message))
            return
        for number in range(count):
            made.rows.append(self._of_frame(opened, found, number, about, made))

    def _of_frame(
        self, opened: _Opened, found: PixelObject, number: int, about: dict[str, Any], made: Made
    ) -> Row:
        try:
            with made.phase("decode"):
                values, attributes = self._decoded(found, number)
            with made.phase("draw"):
                image = self._drawn(values, attributes)
        except (Unreadable, CostlyScan, OSError, MemoryError) as error:
            said = str(error) or "needs too much memory"
            return _failed(opened.name, number, about, "undecodable", f"{opened.path.name} {said}.")
        if number:
            about = about | {name: value for name, value in described(attributes).items() if name in VECTORS}
        return self._saved(opened, number, image, about, made)

    def _decoded(self, found: PixelObject, number: int) -> tuple[np.ndarray, Dataset]:
        if self._settings.draft:
            from dataset_dl.thumbnails.draft import decoded

            if (quick := decoded(found, number, self._settings.size)) is not None:
                return quick
        return found.frame(number)

    def _drawn(self, values: np.ndarray, attributes: Dataset) -> Image.Image:
        shown = as_seen(self._contrast.apply(values, attributes), attributes)
        return self._shaped(picture(shown, shown_spacing(attributes)))

    def _shaped(self, image: Image.Image) -> Image.Image:
        size = self._settings.size
        made = fitted(image, size)
        if self._settings.shape == "square":
            square = Image.new(made.mode, (size, size))
            square.paste(made, ((size - made.width) // 2, (size - made.height) // 2))
            return square
        return made

    def _saved(
        self, opened: _Opened, number: int, image: Image.Image, about: dict[str, Any], made: Made
    ) -> Row:
        name = _id(opened.name, about["SOPInstanceUID"], number)
        series = about["SeriesInstanceUID"]
        folder = series if _PLAIN_UID.fullmatch(series) else _digest(series or opened.name)
        file = f"{folder}/{name}{ENDINGS[self._settings.format]}"
        with made.phase("write"):
            self._write(self._target / "pictures" / file, _encoded(image, self._settings.format))
        return Row(opened.name, number, name, file, "", "", **about, width=image.width, height=image.height)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(str(path), f"{path.parent} cannot be made: {error.strerror}.") from None
        with written_whole(path) as unfinished:
            unfinished.write_bytes(content)

    def _of_slide(self, several: list[_Opened], made: Made, collection_id: str) -> None:
        """Show a slide by its thumbnail, else its smallest level; the other images are named."""
        chosen = min(several, key=_rank)
        for each in several:
            about = described(each.dataset, collection_id)
            if each is not chosen:
                message = f"The slide is shown by {chosen.path.name}."
                made.rows.append(_failed(each.name, -1, about, "slide_level", message))
                continue
            try:
                with made.phase("decode"):
                    image = self._shaped(self._assembled(each))
            except (Unreadable, CostlyScan, OSError, MemoryError) as error:
                message = f"{each.path.name} {error}."
                made.rows.append(_failed(each.name, -1, about, "undecodable", message))
            else:
                made.rows.append(self._saved(each, 0, image, about, made))

    def _assembled(self, opened: _Opened) -> Image.Image:
        found = opened.found
        assert found is not None
        dataset = found.header.dataset
        grid = _grid(dataset)
        if grid.columns * grid.rows > _MOST_TILES:
            raise Unreadable(f"has {grid.columns * grid.rows:,} tiles, and the slide has no smaller image")

        def shown(number: int) -> Image.Image:
            values, attributes = found.frame(number)
            return Image.fromarray(as_seen(self._contrast.apply(values, attributes), attributes))

        found.count()
        return tiles.assembled(dataset, grid, shown)


def _encoded(image: Image.Image, kind: str) -> bytes:
    """Return the content of a file. PNG without filters takes half the time, and a tenth more room."""
    if kind == "png":
        import imagecodecs

        return bytes(imagecodecs.png_encode(np.asarray(image), level=1, filter=0))
    content = io.BytesIO()
    image.save(content, **_SAVED[kind])
    return content.getvalue()


def _failed(path: str, number: int, about: dict[str, Any], cause: str, message: str) -> Row:
    # The name of a file need not be text.
    told = os.fsencode(message).decode(errors="backslashreplace")
    return Row(path, number, "", "", cause, told, **about, width=None, height=None)


def _is_slide(opened: _Opened) -> bool:
    dataset = opened.dataset
    return dataset is not None and dataset.get("SOPClassUID") in _SLIDES


def _rank(opened: _Opened) -> tuple[int, int, str]:
    """The thumbnail first, then levels from the smallest on; label and overview last."""
    dataset = opened.dataset
    assert dataset is not None
    kind = kind_of("\\".join(map(str, dataset.get("ImageType") or ())))
    order = {"THUMBNAIL": 0, "VOLUME": 1}.get(kind, 2)
    return order, int(dataset.get("TotalPixelMatrixColumns") or 0), opened.name


def _grid(dataset: Dataset) -> Grid:
    columns, rows = int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
    width = int(dataset.get("TotalPixelMatrixColumns") or columns)
    height = int(dataset.get("TotalPixelMatrixRows") or rows)
    if not (columns and rows and width and height):
        raise Unreadable("has no size")
    return Grid(width, height, columns, rows)


def _id(path: str, uid: str, number: int) -> str:
    """Return a name for a frame. Copies of an object have the same UID, so the path has a say, too."""
    begin = uid if _PLAIN_UID.fullmatch(uid) else "unnamed"
    return f"{begin}_{number:04}_{_digest(path)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(os.fsencode(text), digest_size=5).hexdigest()


def state_of(path: Path, root: Path) -> FileState:
    """Return a file as it is now; its name is relative to the tree, with slashes."""
    status = path.stat()
    return FileState(_relative(path, root), status.st_size, status.st_mtime_ns)


def _relative(path: Path, root: Path) -> str:
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return os.fsencode(name.as_posix()).decode(errors="backslashreplace")
