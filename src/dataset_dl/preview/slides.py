"""Whole slide images: levels, tiles, and the pictures that come with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydicom.dataset import Dataset

from dataset_dl.errors import SelectionError
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
_KINDS = ("THUMBNAIL", "LABEL", "OVERVIEW")


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
    number = _numbering(opened.header.dataset, level)(column, row)
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
    from PIL import Image

    if level.columns * level.rows > MOST_TILES:
        raise SelectionError(
            str(level.number),
            f"This level has {level.columns * level.rows:,} tiles; at most {MOST_TILES} are put together.",
            "Choose a smaller level, or show single tiles with `preview tile`.",
        )
    made: Image.Image | None = None
    number_of = _numbering(opened.header.dataset, level)
    size = level.instance.Columns, level.instance.Rows
    for row in range(level.rows):
        for column in range(level.columns):
            number = number_of(column, row)
            if number is None:
                continue  # nothing was scanned there
            piece = _shown(opened, number)
            if made is None:
                made = Image.new(piece.mode, (level.width, level.height), "white")
            made.paste(piece, (column * size[0], row * size[1]))
    return made or Image.new("RGB", (level.width, level.height), "white")


def _shown(opened: OneObject, number: int) -> Image:
    return shown(opened.frame(number), drawing())


def _kind(instance: Instance) -> str:
    values = instance.ImageType.upper().split("\\")
    return next((kind for kind in _KINDS if kind in values), "VOLUME")


def _sorted(slides: Sequence[Instance]) -> list[Level]:
    by_size = sorted(slides, key=lambda each: -each.TotalPixelMatrixColumns)
    volumes = [each for each in by_size if _kind(each) == "VOLUME"]
    others = [each for each in by_size if _kind(each) != "VOLUME"]
    return [_level(each, number) for number, each in enumerate(volumes)] + [
        _level(each, -1) for each in others
    ]


def _level(instance: Instance, number: int) -> Level:
    width, height = instance.TotalPixelMatrixColumns, instance.TotalPixelMatrixRows
    across, down = max(1, instance.Columns), max(1, instance.Rows)
    return Level(_kind(instance), number, width, height, -(-width // across), -(-height // down), instance)


def _numbering(dataset: Dataset, level: Level) -> Callable[[int, int], int | None]:
    """Return a function from column and row to the number of the frame; None for an empty tile."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if dataset.get("DimensionOrganizationType") == "TILED_FULL" or not groups:
        return lambda column, row: row * level.columns + column
    places: dict[tuple[int, int], int] = {}
    for number, group in enumerate(groups):
        for at in group.get("PlanePositionSlideSequence") or ():
            left, top = (
                int(at.ColumnPositionInTotalImagePixelMatrix),
                int(at.RowPositionInTotalImagePixelMatrix),
            )
            places.setdefault(
                ((left - 1) // level.instance.Columns, (top - 1) // level.instance.Rows), number
            )
    return lambda column, row: places.get((column, row))
