"""Single frames of a series, and which of them to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataset_dl.pixels.colours import as_seen
from dataset_dl.pixels.contrast import Contrast
from dataset_dl.pixels.pictures import picture
from dataset_dl.pixels.places import shown_spacing
from dataset_dl.preview.index import Instance
from dataset_dl.preview.reading import Frame, named

# Returns a frame in 8 bits, grey or RGB.
Draw = Callable[[Frame], np.ndarray]

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Shot:
    """One frame to show: an instance, and the number of the frame in it."""

    instance: Instance
    frame: int


def drawing(contrast: str = "default") -> Draw:
    """Return what draws a frame with a contrast; see `Contrast.of`."""
    chosen = Contrast.of(contrast)
    return lambda frame: as_seen(chosen.apply(frame.values, frame.attributes), frame.attributes)


def shown(frame: Frame, draw: Draw) -> Image:
    """Return a frame as a picture with square pixels."""
    with named(frame.file):
        array = draw(frame)
    return picture(array, shown_spacing(frame.attributes))


def spread(count: int, wanted: int) -> list[int]:
    """Return some of the numbers below a count, evenly, the first and the last among them."""
    if wanted >= count:
        return list(range(count))
    if wanted == 1:
        return [count // 2]
    return [round(place * (count - 1) / (wanted - 1)) for place in range(wanted)]
