"""A decoder for pydicom: imagecodecs and pylibjpeg-rle, the fastest exact ones without a copyleft licence.

pydicom asks this module as it asks its own plugins.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from pydicom import uid
from pydicom.pixels.common import PhotometricInterpretation as Colours

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

LABEL = "dataset_dl"
# Beginnings of the parts that state the size: SOC and SIZ of JPEG 2000; SOI and SOF of JPEG and JPEG-LS.
_J2K_SIZE, _JPEG_BEGIN = b"\xff\x4f\xff\x51", b"\xff\xd8"
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_LOOKED_AT_BYTES = 64 << 10
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_LOSSLESS_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
_HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_IMAGECODECS = (*_JPEG, *_LOSSLESS_JPEG, *_JPEG_LS, *_JPEG_2000, *_HTJ2K)
SYNTAXES = (*_IMAGECODECS, uid.RLELossless)
DECODER_DEPENDENCIES = {
    **dict.fromkeys(_IMAGECODECS, ("numpy", "imagecodecs")),
    uid.RLELossless: ("numpy", "pylibjpeg-rle"),
}


def is_available(transfer_syntax: str) -> bool:
    """Whether the decoder of a transfer syntax is installed."""
    return find_spec("rle" if transfer_syntax == uid.RLELossless else "imagecodecs") is not None


def register() -> None:
    """Register the decoder with pydicom for this process; once is enough."""
    from pydicom.pixels.decoders.base import get_decoder

    for syntax in SYNTAXES:
        decoder = get_decoder(syntax)
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one compressed frame."""
    syntax = runner.transfer_syntax
    if syntax == uid.RLELossless:
        from rle.rle import decode_frame as decode_rle

        return bytearray(decode_rle(src, runner.rows * runner.columns, runner.bits_allocated, "<"))
    claimed = _claimed(src)
    if claimed is not None and claimed != (runner.rows, runner.columns):
        raise ValueError(
            f"the compressed image has {claimed[0]} rows and {claimed[1]} columns, its header says"
            f" {runner.rows} and {runner.columns}"
        )
    array = _decoded(src, syntax)
    expected = (runner.rows, runner.columns) + (
        (runner.samples_per_pixel,) if runner.samples_per_pixel > 1 else ()
    )
    if array.shape != expected:
        raise ValueError(f"the compressed image has the shape {array.shape}, its header says {expected}")
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
        # The decoder has undone the colour transform of JPEG 2000.
        if syntax in _JPEG_2000 or syntax in _HTJ2K:
            runner.set_option("photometric_interpretation", _undone(runner.photometric_interpretation))
    runner.set_option("bits_allocated", 8 * array.dtype.itemsize)
    if array.dtype.kind == "i" and runner.pixel_representation == 0:
        array = array.view(f"u{array.dtype.itemsize}")
    return bytearray(np.ascontiguousarray(array).tobytes())


def _claimed(src: bytes) -> tuple[int, int] | None:
    """Return rows and columns as the compressed image states them, before anything is allocated for it."""
    if (at := src.find(_J2K_SIZE, 0, _LOOKED_AT_BYTES)) >= 0:
        right, bottom, left, top = struct.unpack_from(">4L", src.ljust(at + 24, b"\0"), at + 8)
        return bottom - top, right - left
    at = 2 if src[:2] == _JPEG_BEGIN else len(src)
    while at + 9 < len(src) and src[at] == 0xFF:
        marker, length = src[at + 1], int.from_bytes(src[at + 2 : at + 4])
        if marker in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">HH", src, at + 5)
            return (rows, columns) if rows else None
        at += 1 if marker == 0xFF else 2 + length
    return None


def _undone(colours: str) -> str:
    return Colours.RGB if colours in (Colours.YBR_ICT, Colours.YBR_RCT) else colours


def _decoded(src: bytes, syntax: str) -> np.ndarray:
    import imagecodecs

    if syntax in _JPEG_2000:
        return imagecodecs.jpeg2k_decode(src)
    if syntax in _HTJ2K:
        return imagecodecs.htj2k_decode(src)
    if syntax in _JPEG_LS:
        return imagecodecs.jpegls_decode(src)
    if syntax in _LOSSLESS_JPEG:
        return imagecodecs.ljpeg_decode(src)
    return imagecodecs.jpeg_decode(src)
