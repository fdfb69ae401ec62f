"""Where the tiles are in a file that is DICOM and TIFF at once, as IDC's whole slide images are."""

from __future__ import annotations

import struct
from collections.abc import Callable

_TILE_OFFSETS, _TILE_BYTES, _STRIP_OFFSETS, _STRIP_BYTES = 324, 325, 273, 279
_HEAD_BYTES = 16
# More than most directories take.
_DIRECTORY_BYTES = 1 << 10
_MOST_ENTRIES, _MOST_TILES = 1000, 10_000_000
# Type → letter of `struct`, for the whole numbers that TIFF has.
_TYPES = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}


def tile_spans(read: Callable[[int, int], bytes]) -> list[tuple[int, int]] | None:
    """Return offset and length of each tile of the first image, row by row; None if the file is no TIFF.

    Parameters
    ----------
    read
        Returns the bytes from an offset to before another one.
    """
    head = read(0, _HEAD_BYTES)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < _HEAD_BYTES:
        return None
    version = struct.unpack_from(f"{order}H", head, 2)[0]
    if version not in (42, 43):
        return None
    is_big = version == 43
    at = (
        struct.unpack_from(f"{order}Q", head, 8)[0] if is_big else struct.unpack_from(f"{order}L", head, 4)[0]
    )
    entries = _directory(read, at, order, is_big=is_big)
    for offsets, lengths in ((_TILE_OFFSETS, _TILE_BYTES), (_STRIP_OFFSETS, _STRIP_BYTES)):
        if offsets in entries and lengths in entries:
            begins, sizes = entries[offsets](), entries[lengths]()
            return list(zip(begins, sizes, strict=True)) if len(begins) == len(sizes) else None
    return None


def _directory(
    read: Callable[[int, int], bytes], at: int, order: str, *, is_big: bool
) -> dict[int, Callable[[], tuple[int, ...]]]:
    """Return a function for each tag that returns its values."""
    count_letter, entry, offset_letter = ("Q", 20, "Q") if is_big else ("H", 12, "L")
    head = struct.calcsize(f"<{count_letter}")
    data = read(at, at + _DIRECTORY_BYTES)
    if len(data) < head:
        return {}
    count = struct.unpack_from(f"{order}{count_letter}", data)[0]
    if not 0 < count <= _MOST_ENTRIES:
        return {}
    if head + count * entry > len(data):
        data = read(at, at + head + count * entry)
    data = data[head : head + count * entry]
    found: dict[int, Callable[[], tuple[int, ...]]] = {}
    for place in range(0, len(data) - entry + 1, entry):
        tag, kind, number = struct.unpack_from(f"{order}HH{offset_letter}", data, place)
        letter = _TYPES.get(kind)
        if letter is None or not 0 < number <= _MOST_TILES:
            continue
        inline = data[place + entry - struct.calcsize(f"<{offset_letter}") : place + entry]
        found[tag] = _values(read, order, letter, number, inline, offset_letter)
    return found


def _values(
    read: Callable[[int, int], bytes], order: str, letter: str, number: int, inline: bytes, offset_letter: str
) -> Callable[[], tuple[int, ...]]:
    form = f"{order}{number}{letter}"
    length = struct.calcsize(form)

    def values() -> tuple[int, ...]:
        if length <= len(inline):
            return struct.unpack_from(form, inline)
        at = struct.unpack(f"{order}{offset_letter}", inline)[0]
        data = read(at, at + length)
        return struct.unpack(form, data) if len(data) == length else ()

    return values
