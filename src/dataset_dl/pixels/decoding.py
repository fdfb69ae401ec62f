"""Frames to arrays, exactly as pydicom's `pixel_array`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dataset_dl.pixels.frames import whole_number
from dataset_dl.pixels.unreadable import Unreadable

if TYPE_CHECKING:
    from dataset_dl.pixels.headers import Header

# Larger frames are not decoded: a few bytes of JPEG 2000 can claim any size.
MOST_PIXELS = 1 << 28
_DESCRIPTION = (
    "BitsAllocated", "BitsStored", "Columns", "HighBit", "PhotometricInterpretation", "PixelRepresentation",
    "PlanarConfiguration", "Rows", "SamplesPerPixel",
)  # fmt: skip
_KEYWORDS = {0x08: "FloatPixelData", 0x09: "DoubleFloatPixelData", 0x10: "PixelData"}


def decode(
    header: Header, data: bytes, *, is_encapsulated: bool, vr: str = "OW", keyword: str = "PixelData"
) -> np.ndarray:
    """Decode a frame.

    Parameters
    ----------
    header
        The header of its object.
    data
        Its bytes, see `frames.Frames.read`.
    is_encapsulated
        Whether they are compressed.
    vr, keyword
        Of the element that they are from.

    Returns
    -------
    numpy.ndarray
        Of shape (rows, columns) or (rows, columns, 3), in stored values, or in RGB.

    Raises
    ------
    Unreadable
        If it cannot be decoded.
    """
    source = header.dataset
    rows, columns = whole_number(header, "Rows"), whole_number(header, "Columns")
    if not 0 < rows * columns <= MOST_PIXELS:
        raise Unreadable(f"has frames of {columns} × {rows} pixels, which are not shown")
    if not is_encapsulated and (quick := _plain(header, data, vr, keyword, (rows, columns))) is not None:
        return quick
    _register()
    frame = Dataset()
    for name in _DESCRIPTION:
        if name in source:
            setattr(frame, name, source[name].value)
    frame.file_meta = FileMetaDataset()
    frame.file_meta.TransferSyntaxUID = UID(_syntax(header, is_encapsulated=is_encapsulated))
    setattr(frame, keyword, encapsulate([data]) if is_encapsulated else data + bytes(len(data) % 2))
    frame[keyword].VR = vr
    is_implicit, is_little = source.original_encoding
    frame.set_original_encoding(is_implicit, is_little)
    try:
        return np.asarray(pixel_array(frame))
    except Exception as error:
        said = str(error).splitlines() or [type(error).__name__]
        # pydicom lists what each decoder said below its first line.
        raise Unreadable(f"has a frame that cannot be decoded: {said[-1].strip()}") from None


def _plain(header: Header, data: bytes, vr: str, keyword: str, shape: tuple[int, int]) -> np.ndarray | None:
    """Decode what most native frames are: one sample of 16 bits a pixel; None for others.

    pydicom takes ten times as long for it, because it knows all others, too.
    """
    dataset = header.dataset
    is_usual = (
        keyword == "PixelData"
        and vr == "OW"
        and dataset.original_encoding[1]
        and dataset.get("BitsAllocated") == 16
        and dataset.get("SamplesPerPixel") == 1
        and str(dataset.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
        and len(data) == 2 * shape[0] * shape[1]
    )
    stored, representation = dataset.get("BitsStored"), dataset.get("PixelRepresentation")
    if not is_usual or not isinstance(stored, int) or not 0 < stored <= 16 or representation not in (0, 1):
        return None
    found = np.frombuffer(data, "<i2" if representation else "<u2").reshape(shape)
    if stored < 16:  # the other bits may be of an overlay
        found = found << (16 - stored)
        found >>= 16 - stored
    return found


def keyword_of(header: Header) -> str:
    """Return the keyword of the element with the pixel data."""
    assert header.pixels_at is not None
    element = header.begin[header.pixels_at + 2 : header.pixels_at + 4]
    return _KEYWORDS.get(element[0] or element[-1], "PixelData")


def _syntax(header: Header, *, is_encapsulated: bool) -> str:
    syntax = header.dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or (is_encapsulated and not syntax.is_encapsulated):
        if is_encapsulated:
            raise Unreadable("has compressed frames without a transfer syntax that says how")
        is_implicit, _ = header.dataset.original_encoding
        return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    return str(syntax)


@functools.cache
def _register() -> None:
    from dataset_dl.pixels import codecs

    codecs.register()
