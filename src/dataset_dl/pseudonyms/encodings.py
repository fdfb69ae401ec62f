"""Around a data set: the file meta information, and the transfer syntaxes that are not just little-endian."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from array import array
from collections.abc import Sequence

from dataset_dl.pixels.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms.elements import Buffer, encoded

_PIXELS = 0x7FE00010
# What pydicom leaves in the order that it had, by the size of its words.
_WORDS = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}


def meta(sop_class: str, uid: str, syntax: str) -> bytes:
    """Return what precedes a data set in a file (PS3.10, 7.1), with nothing of the original."""
    parts = [encoded(0x00020001, "OB", b"\0\1", is_implicit=False)]
    for tag, vr, value in (
        (0x00020002, "UI", sop_class),
        (0x00020003, "UI", uid),
        (0x00020010, "UI", syntax),
        (0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
        (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
    ):
        parts.append(encoded(tag, vr, value.encode(), is_implicit=False))
    body = b"".join(parts)
    length = encoded(0x00020000, "UL", struct.pack("<I", len(body)), is_implicit=False)
    return bytes(128) + b"DICM" + length + body


def inflated(body: Buffer) -> bytes:
    """Return a data set that was deflated.

    Raises
    ------
    Unreadable
        If it was not.
    """
    try:
        return zlib.decompress(bytes(body), -zlib.MAX_WBITS)
    except zlib.error:
        raise Unreadable("its data set cannot be inflated") from None


def deflated(chunks: Sequence[Buffer]) -> bytes:
    """Return the parts of a data set, deflated."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = b"".join([*(packer.compress(each) for each in chunks), packer.flush()])
    return packed + b"\0" * (len(packed) & 1)


def little(data: Buffer) -> bytes:
    """Return a big-endian data set, which the standard has retired, as a little-endian one.

    Raises
    ------
    Unreadable
        If it cannot be read.
    """
    from pydicom import Dataset, dcmread, dcmwrite

    target = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(io.BytesIO(bytes(data)))
            bits = int(dataset.get("BitsAllocated") or 0)
            for element in dataset.iterall():  # decoded, so that it can be encoded anew
                if element.VR in _WORDS and element.value:
                    is_wide = element.tag == _PIXELS and element.VR == "OW" and bits in (32, 64)
                    words = array({32: "I", 64: "Q"}[bits] if is_wide else _WORDS[element.VR], element.value)
                    words.byteswap()
                    element.value = words.tobytes()
            bare = Dataset()
            bare.update(dataset)
            dcmwrite(target, bare, implicit_vr=False, little_endian=True)
    except Exception as error:  # pydicom raises whatever a strange file leads to
        raise Unreadable(f"it cannot be read as big-endian ({type(error).__name__})") from None
    return target.getvalue()
