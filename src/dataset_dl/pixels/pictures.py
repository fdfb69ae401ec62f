"""Arrays to pictures: tiles, sheets of tiles, and files of the usual kinds."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

_GAP = 2
_WORDS_COLOUR, _EMPTY_COLOUR = (230, 160, 60), (32, 32, 32)


def picture(array: np.ndarray, spacing: tuple[float, float] | None = None) -> Image.Image:
    """Return an array of 8 bits as a picture with square pixels.

    Parameters
    ----------
    array
        Of shape (rows, columns) or (rows, columns, 3).
    spacing
        Distance between rows and between columns, in mm; square pixels if None.
    """
    made = Image.fromarray(array)
    if spacing is not None and min(spacing) > 0 and abs(spacing[0] / spacing[1] - 1) > 0.01:
        ratio = spacing[0] / spacing[1]
        size = (
            (made.width, round(made.height * ratio))
            if ratio > 1
            else (round(made.width / ratio), made.height)
        )
        made = made.resize(size, Image.Resampling.BILINEAR)
    return made


def fitted(made: Image.Image, width: int) -> Image.Image:
    """Shrink a picture to a square of this width at most."""
    if max(made.size) > width:
        factor, rest = divmod(max(made.size), width)
        if not rest and min(made.size) % factor == 0:
            return made.reduce(factor)  # the same means as a box, in a third of the time
        made = made.copy()
        made.thumbnail(
            (width, width), Image.Resampling.BOX if made.width >= 2 * width else Image.Resampling.BILINEAR
        )
    return made


def blank(width: int, words: str) -> Image.Image:
    """Return a tile for what cannot be shown, with the reason."""
    made = Image.new("RGB", (width, width), _EMPTY_COLOUR)
    ImageDraw.Draw(made).multiline_text((6, 6), _wrapped(words, max(8, width // 7)), fill=_WORDS_COLOUR)
    return made


def alike(tiles: Sequence[Image.Image], multiple: int = 1) -> list[Image.Image]:
    """Give pictures one mode, and one size in multiples of a number; each in the middle of the largest."""
    width, height = max(each.width for each in tiles), max(each.height for each in tiles)
    size = -(-width // multiple) * multiple, -(-height // multiple) * multiple
    mode = "L" if all(each.mode == "L" for each in tiles) else "RGB"
    made = []
    for each in tiles:
        cell = Image.new(mode, size)
        cell.paste(each, ((width - each.width) // 2, (height - each.height) // 2))
        made.append(cell)
    return made


def sheet(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Put tiles side by side, row by row."""
    if len(tiles) == 1:
        return tiles[0]
    cells = alike(tiles)
    width, height = cells[0].width + _GAP, cells[0].height + _GAP
    rows = -(-len(cells) // columns)
    made = Image.new(cells[0].mode, (columns * width - _GAP, rows * height - _GAP))
    for index, each in enumerate(cells):
        row, column = divmod(index, columns)
        made.paste(each, (column * width, row * height))
    return made


def encoded(made: Image.Image, kind: str = "PNG") -> bytes:
    """Return a picture as the content of a file."""
    out = io.BytesIO()
    options = {"PNG": {"compress_level": 6}, "JPEG": {"quality": 90}, "WEBP": {"quality": 90, "method": 4}}[
        kind
    ]
    made.save(out, kind, **options)
    return out.getvalue()


def _wrapped(words: str, width: int) -> str:
    import textwrap

    return textwrap.fill(words, width)
