"""Whole slide images: where a tile is among the frames, and whole images put together from tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image
from pydicom.dataset import Dataset

KINDS = ("THUMBNAIL", "LABEL", "OVERVIEW")


class Grid(NamedTuple):
    """An image of a slide: its size and that of its tiles, in pixels."""

    width: int
    height: int
    tile_width: int
    tile_height: int

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return -(-self.width // max(1, self.tile_width))

    @property
    def rows(self) -> int:
        """Tiles one above the other."""
        return -(-self.height // max(1, self.tile_height))


def kind_of(image_type: str) -> str:
    """Return what an image of a slide is, by its ImageType: a kind of `KINDS`, or ``VOLUME``."""
    values = image_type.upper().split("\\")
    return next((kind for kind in KINDS if kind in values), "VOLUME")


def numbering(dataset: Dataset, grid: Grid) -> Callable[[int, int], int | None]:
    """Return a function from column and row to the number of the frame; None for an empty tile."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if dataset.get("DimensionOrganizationType") == "TILED_FULL" or not groups:
        return lambda column, row: row * grid.columns + column
    places: dict[tuple[int, int], int] = {}
    for number, group in enumerate(groups):
        for at in group.get("PlanePositionSlideSequence") or ():
            left, top = (
                int(at.ColumnPositionInTotalImagePixelMatrix),
                int(at.RowPositionInTotalImagePixelMatrix),
            )
            places.setdefault(((left - 1) // grid.tile_width, (top - 1) // grid.tile_height), number)
    return lambda column, row: places.get((column, row))


def assembled(dataset: Dataset, grid: Grid, shown: Callable[[int], Image.Image]) -> Image.Image:
    """Return a whole image, put together from its tiles.

    Parameters
    ----------
    dataset
        The header of its object.
    grid
        Its tiles.
    shown
        Returns a frame, by its number, as a picture.
    """
    made: Image.Image | None = None
    number_of = numbering(dataset, grid)
    for row in range(grid.rows):
        for column in range(grid.columns):
            number = number_of(column, row)
            if number is None:
                continue  # nothing was scanned there
            piece = shown(number)
            if made is None:
                made = Image.new(piece.mode, (grid.width, grid.height), "white")
            made.paste(piece, (column * grid.tile_width, row * grid.tile_height))
    return made or Image.new("RGB", (grid.width, grid.height), "white")
