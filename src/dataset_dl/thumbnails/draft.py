"""JPEG 2000 decoded only as far as a thumbnail needs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from dataset_dl.pixels.contrast import frame_attributes
from dataset_dl.pixels.objects import PixelObject
from dataset_dl.pixels.unreadable import Unreadable

_SYNTAXES = (uid.JPEG2000Lossless, uid.JPEG2000)


def decoded(found: PixelObject, number: int, size: int) -> tuple[np.ndarray, Dataset] | None:
    """Return stored values at a lower resolution; None if the frame has to be decoded as usual.

    Parameters
    ----------
    found
        The object.
    number
        Of the frame.
    size
        The longer side that is needed, in pixels.
    """
    dataset = found.header.dataset
    meta = getattr(dataset, "file_meta", Dataset())
    longer = max(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0))
    levels = min(5, (longer // max(1, size)).bit_length() - 1)
    if meta.get("TransferSyntaxUID") not in _SYNTAXES or levels < 1 or dataset.get("SamplesPerPixel") != 1:
        return None
    if dataset.get("PixelRepresentation") == 1:
        return None  # Pillow knows no negative values
    data = found.encoded(number)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.reduce = levels  # type: ignore[assignment]
            opened.load()
            values = np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise Unreadable(f"has a frame that cannot be decoded: {error}") from None
    return values, frame_attributes(dataset, number)
