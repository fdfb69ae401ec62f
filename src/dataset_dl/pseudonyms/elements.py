"""Elements of DICOM data sets as bytes (PS3.5, chapter 7), in the two little-endian encodings.

pydicom decodes and encodes each element, which takes four times as long as all else.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dataset_dl.pixels.unreadable import Unreadable

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# These VRs have two reserved bytes and a length of four.
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_SHORT = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST",
     "TM", "UI", "UL", "US"}
)  # fmt: skip
_LONG_VRS, _SHORT_VRS = ({each.encode(): each for each in several} for several in (_LONG, _SHORT))
_ZEROS: Mapping[str, int] = {
    "US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "AT": 4, "FD": 8, "SV": 8, "UV": 8,
    "OB": 2, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8, "UN": 2,
}  # fmt: skip

Buffer = Any


def explicit(data: Buffer, place: int) -> tuple[int, str, int, int]:
    """Return tag, VR and length of an element with a VR, and where its value begins.

    Raises
    ------
    Unreadable
        If it has no VR.
    """
    group, element, vr, length = struct.unpack_from("<HH2sH", data, place)
    if (known := _SHORT_VRS.get(vr)) is not None:
        return group << 16 | element, known, length, place + 8
    if (known := _LONG_VRS.get(vr)) is not None:
        return group << 16 | element, known, struct.unpack_from("<I", data, place + 8)[0], place + 12
    if group == 0xFFFE:
        return group << 16 | element, "", struct.unpack_from("<I", data, place + 4)[0], place + 8
    raise Unreadable(f"it is not encoded as its transfer syntax says, at byte {place:,}")


def implicit(data: Buffer, place: int) -> tuple[int, str, int, int]:
    """Return the same of an element without a VR, by the dictionary; ``UN`` if it is not there."""
    group, element, length = struct.unpack_from("<HHI", data, place)
    tag = group << 16 | element
    return tag, known_vr(tag) or "UN", length, place + 8


@lru_cache(maxsize=8192)
def known_vr(tag: int) -> str:
    """Return the VR of a standard attribute; empty if there is none with this tag."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return dictionary_VR(tag)[:2] if dictionary_has_tag(tag) else ""


def encoded(tag: int, vr: str, value: bytes, *, is_implicit: bool) -> bytes:
    """Return an element; its value is padded to an even length."""
    if len(value) & 1 and vr != "SQ":
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return header(tag, vr, len(value), is_implicit=is_implicit) + value


def header(tag: int, vr: str, length: int, *, is_implicit: bool) -> bytes:
    """Return what precedes a value."""
    if is_implicit:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)
    if vr in _LONG:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length)


def item(content: bytes) -> bytes:
    """Return an item of a sequence."""
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content


def zeros(vr: str) -> bytes:
    """Return a value of zeros for a VR that is no text."""
    return bytes(_ZEROS[vr])


def text(value: Buffer) -> str:
    """Return a value of ASCII, without what pads it; other bytes become signs of replacement."""
    return bytes(value).decode("ascii", "replace").strip("\0 ")
