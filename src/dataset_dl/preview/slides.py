"""Whole slide images: levels, tiles, and the pictures that come with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dataset_dl.errors import SelectionError
from dataset_dl.pixels import tiles
from dataset_dl.pixels.tiles import Grid, kind_of
from dataset_dl.preview.index import Instance, SliceIndex
from dataset_dl.preview.published import published_images
from dataset_dl.preview.reading import OneObject
from dataset_dl.preview.series import OpenSeries
from dataset_dl.preview.shots import drawing, shown
from dataset_dl.wording import counted

if TYPE_CHECKING:
    from PIL.Image import Image

# A picture is put together from so many tiles at most.
MOST_TILES = 100


class Level(NamedTuple):
    """One image of a slide.

    Attributes
    ----------
    kind
        ``VOLUME``, ``THUMBNAIL``, ``LABEL`` or ``OVERVIEW``.
    number
        Of a volume level: 0 is the largest; -1 for others.
    width, height
        In pixels.
    columns, rows
        In tiles.
    instance
        Its instance.
    """

    kind: str
    number: int
    width: int
    height: int
    columns: int
    rows: int
    instance: Instance

    @property
    def grid(self) -> Grid:
        """Its tiles."""
        return Grid(self.width, self.height, self.instance.Columns, self.instance.Rows)


def levels_of(index: SliceIndex) -> list[Level]:
    """Return the images of a slide: the levels from the largest to the smallest, then the others.

    Raises
    ------
    SelectionError
        If it is no slide.
    """
    slides = [each for each in index.instances if each.TotalPixelMatrixColumns]
    if not slides:
        raise SelectionError(
            index.title,
            f"{index.title} is no whole slide image.",
            "`preview mosaic` and `preview image` show it.",
        )
    return _sorted(slides)


def level_of(series: OpenSeries, wanted: str | int | None) -> Level:
    """Return one image of a slide, see `choose`; if IDC's table lists them, only its header is read.

    Raises
    ------
    SelectionError
        If it is no slide, or has no such image.
    UnreadableObject, NetworkError, StorageError
        If it cannot be read.
    """
    listed = [] if series.knows_order else published_images(series.found)
    if not listed:
        return choose(levels_of(series.index), wanted)
    chosen = choose(_sorted(listed), wanted)
    return _level(series.read_alone(chosen.instance.file), chosen.number)


def choose(levels: list[Level], wanted: str | int | None) -> Level:
    """Return the level with a number, or the image of a kind; else the thumbnail or the smallest level.

    Raises
    ------
    SelectionError
        If the slide has none.
    """
    if isinstance(wanted, int):
        found = [each for each in levels if each.number == wanted >= 0]
    elif wanted is None:
        found = [each for each in levels if each.kind == "THUMBNAIL"] or [
            each for each in levels if each.kind == "VOLUME"
        ][-1:]
    else:
        found = [each for each in levels if each.kind == wanted.upper()]
    if not found:
        have = ", ".join(str(each.number) if each.number >= 0 else each.kind.lower() for each in levels)
        what = f"level {wanted}" if isinstance(wanted, int) else wanted
        raise SelectionError(str(wanted), f"The slide has no {what}.", f"It has {have}.")
    return found[0]


def tile(opened: OneObject, level: Level, column: int, row: int) -> Image:
    """Return a tile by column and row, from 0.

    Raises
    ------
    SelectionError
        If the level has no such tile.
    UnreadableObject, NetworkError, StorageError
        If it cannot be read.
    """
    if not (0 <= column < level.columns and 0 <= row < level.rows):
        raise SelectionError(
            f"{column} {row}",
            f"There is no tile {column}, {row}; this level has {counted(level.columns, 'column')} and"
            f" {counted(level.rows, 'row')}, both from 0.",
        )
    number = tiles.numbering(opened.header.dataset, level.grid)(column, row)
    if number is None:
        raise SelectionError(f"{column} {row}", f"Tile {column}, {row} of this slide is empty.")
    return _shown(opened, number)


def assembled(opened: OneObject, level: Level) -> Image:
    """Return a whole image, put together from its tiles.

    Raises
    ------
    SelectionError
        If it has too many.
    UnreadableObject, NetworkError, StorageError
        If it cannot be read.
    """
    if level.columns * level.rows > MOST_TILES:
        raise SelectionError(
            str(level.number),
            f"This level has {level.columns * level.rows:,} tiles; at most {MOST_TILES} are put together.",
            "Choose a smaller level, or show single tiles with `preview tile`.",
        )
    return tiles.assembled(opened.header.dataset, level.grid, lambda number: _shown(opened, number))


def _shown(opened: OneObject, number: int) -> Image:
    return shown(opened.frame(number), drawing())


def _sorted(slides: Sequence[Instance]) -> list[Level]:
    by_size = sorted(slides, key=lambda each: -each.TotalPixelMatrixColumns)
    volumes = [each for each in by_size if kind_of(each.ImageType) == "VOLUME"]
    others = [each for each in by_size if kind_of(each.ImageType) != "VOLUME"]
    return [_level(each, number) for number, each in enumerate(volumes)] + [
        _level(each, -1) for each in others
    ]


def _level(instance: Instance, number: int) -> Level:
    grid = Grid(
        instance.TotalPixelMatrixColumns, instance.TotalPixelMatrixRows, instance.Columns, instance.Rows
    )
    kind = kind_of(instance.ImageType)
    return Level(kind, number, grid.width, grid.height, grid.columns, grid.rows, instance)
