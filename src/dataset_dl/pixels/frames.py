"""Find and read single frames of an object, without the others."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

from dataset_dl.pixels.headers import Header
from dataset_dl.pixels.tiff import tile_spans
from dataset_dl.pixels.unreadable import Unreadable

_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_LONG_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"OV", b"OL", b"UN"})

# Returns the bytes from an offset to before another one.
ReadBytes = Callable[[int, int], bytes]


class Span(NamedTuple):
    """Where bytes are: from `begin` to before `end`."""

    begin: int
    end: int


class CostlyScan(Exception):
    """No table tells where the frames are; the whole object would have to be read.

    Parameters
    ----------
    size_bytes
        Bytes to read for it.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


@dataclass(frozen=True)
class _Element:
    """The element with the pixel data: where its value begins, its length (None if compressed), its VR."""

    data_at: int
    length: int | None
    vr: str


class Frames:
    """The frames of one object; several threads may read them.

    Parameters
    ----------
    header
        Its header.
    read
        Reads parts of the object.

    Raises
    ------
    Unreadable
        If it has no pixel data, or ends before its pixel data does.
    """

    def __init__(self, header: Header, read: ReadBytes) -> None:
        self._header = header
        self._read = read
        if header.pixels_at is None:
            raise Unreadable("has no pixel data")
        self.count = max(1, whole_number(header, "NumberOfFrames", 1))
        self._element = self._find(header.pixels_at)
        length = self._element.length
        if self.count > header.total_bytes or (
            length is not None and self._native_bits() * self.count > 8 * length
        ):
            raise Unreadable("has less pixel data than its header says")
        self._spans: list[Span] | None = None
        self._lock = Lock()

    @property
    def is_encapsulated(self) -> bool:
        """Whether frames are compressed."""
        return self._element.length is None

    @property
    def vr(self) -> str:
        """The VR that the bytes of a frame have."""
        return "OB" if self._is_swapped else self._element.vr

    def read(self, number: int) -> bytes:
        """Return the bytes of a frame: compressed, or as native pixel data.

        Parameters
        ----------
        number
            From 0.

        Raises
        ------
        Unreadable
            If it cannot be found.
        CostlyScan
            If only reading the whole object would find it.
        """
        if not 0 <= number < self.count:
            raise IndexError(f"there are {self.count} frames, from 0")
        if not self.is_encapsulated:
            return self._native(number)
        if self.count == 1:
            return self._joined(self._bytes(self._first_fragment(), self._header.total_bytes))
        span = self._span(number)
        if span.end > self._header.total_bytes:
            raise Unreadable("ends in the middle of a frame")
        data = self._bytes(span.begin, span.end)
        return self._joined(data) if data[:4] == _ITEM else data

    def scan(self) -> None:
        """Read the whole object to find its frames."""
        at = self._first_fragment()
        data = self._bytes(at, self._header.total_bytes)
        spans = [Span(at + begin, at + end) for begin, end in _items(data)]
        if len(spans) != self.count:
            raise Unreadable(
                f"has {len(spans)} fragments for {self.count} frames, and no table of which belong together"
            )
        self._spans = spans

    def _find(self, at: int) -> _Element:
        dataset, data = self._header.dataset, self._bytes(at, at + 12)
        is_implicit, is_little = dataset.original_encoding
        is_implicit = is_implicit or not data[4:6].isalpha()  # some writers change over in the middle
        order = "<" if is_little else ">"
        vr = "OW" if is_implicit else data[4:6].decode("latin-1")
        if is_implicit:
            (length,) = struct.unpack_from(f"{order}L", data, 4)
            data_at = at + 8
        elif data[4:6] in _LONG_VRS:
            (length,) = struct.unpack_from(f"{order}L", data, 8)
            data_at = at + 12
        else:
            (length,) = struct.unpack_from(f"{order}H", data, 6)
            data_at = at + 8
        if length == _UNDEFINED:
            return _Element(data_at, None, vr)
        if data_at + length > self._header.total_bytes:
            raise Unreadable("ends in the middle of its pixel data")
        return _Element(data_at, length, vr)

    @property
    def _is_swapped(self) -> bool:
        """Whether two pixels of 8 bits are one big-endian word."""
        header = self._header
        return (
            not header.dataset.original_encoding[1]
            and self._element.vr == "OW"
            and not self.is_encapsulated
            and whole_number(header, "BitsAllocated") == 8
        )

    def _bytes(self, begin: int, end: int) -> bytes:
        """Read, from what came with the header where that is enough."""
        end = min(end, self._header.total_bytes)
        if end <= len(self._header.begin):
            return self._header.begin[begin:end]
        return self._read(begin, end)

    def _native_bits(self) -> int:
        header = self._header
        samples = whole_number(header, "SamplesPerPixel", 1)
        if header.dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            samples = 2  # two pixels share their colours
        pixels = whole_number(header, "Rows") * whole_number(header, "Columns")
        return pixels * samples * whole_number(header, "BitsAllocated")

    def _native(self, number: int) -> bytes:
        bits = self._native_bits()
        begin, offset = divmod(number * bits, 8)
        end = -(-(number + 1) * bits // 8)
        at = self._element.data_at
        if self._is_swapped:
            even = begin - begin % 2
            words = self._bytes(at + even, at + end + end % 2)
            data = b"".join(words[place : place + 2][::-1] for place in range(0, len(words), 2))
            return data[begin - even : end - even]
        data = self._bytes(at + begin, at + end)
        if not offset and bits % 8 == 0:
            return data
        shifted = int.from_bytes(data, "little") >> offset
        return (shifted & ((1 << bits) - 1)).to_bytes(-(-bits // 8), "little")

    def _first_fragment(self) -> int:
        """Return the offset behind the Basic Offset Table."""
        at = self._element.data_at
        head = self._bytes(at, at + 8)
        if head[:4] != _ITEM:
            raise Unreadable("has compressed pixel data without an offset table item")
        return at + 8 + int.from_bytes(head[4:8], "little")

    def _span(self, number: int) -> Span:
        with self._lock:  # so that several threads read a table once
            if self._spans is None:
                self._spans = self._extended() or self._basic() or self._of_tiff()
        if self._spans is None:
            raise CostlyScan(self._header.total_bytes - self._element.data_at)
        return self._spans[number]

    def _extended(self) -> list[Span] | None:
        dataset = self._header.dataset
        offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
        if not offsets or not lengths or not len(offsets) == len(lengths) == 8 * self.count:
            return None
        first = self._first_fragment()
        pairs = zip(
            struct.unpack(f"<{self.count}Q", offsets), struct.unpack(f"<{self.count}Q", lengths), strict=True
        )
        return [Span(first + offset + 8, first + offset + 8 + length) for offset, length in pairs]

    def _basic(self) -> list[Span] | None:
        at, length = self._element.data_at, 4 * self.count
        first = self._first_fragment()
        if first != at + 8 + length:
            return None
        offsets = struct.unpack(f"<{self.count}L", self._bytes(at + 8, first))
        if any(after <= before for before, after in pairwise(offsets)):
            return None  # it does not fit into 32 bits
        ends = [first + each for each in offsets[1:]] + [self._header.total_bytes]
        return [Span(first + begin, end) for begin, end in zip(offsets, ends, strict=True)]

    def _of_tiff(self) -> list[Span] | None:
        spans = tile_spans(self._bytes)
        if spans is None or len(spans) != self.count:
            return None
        return [Span(begin, begin + length) for begin, length in spans]

    def _joined(self, data: bytes) -> bytes:
        """Join the fragments of a frame."""
        return b"".join(data[begin + 8 : end] for begin, end in _items(data))


def whole_number(header: Header, keyword: str, default: int | None = None) -> int:
    """Return the value of an element that pixels cannot be read without.

    Raises
    ------
    Unreadable
        If it is missing and has no default, or is no number.
    """
    try:
        value = header.dataset.get(keyword)
        if value in (None, "") and default is not None:
            return default
        return int(value)
    except (TypeError, ValueError):
        raise Unreadable(f"has no valid {keyword}") from None


def _items(data: bytes) -> list[tuple[int, int]]:
    """Return begin, that of the item included, and end of each fragment."""
    at, found = 0, []
    while data[at : at + 4] == _ITEM:
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if end > len(data):
            raise Unreadable("ends in the middle of a frame")
        found.append((at, end))
        at = end
    if not found:
        raise Unreadable("has no compressed data where it should be")
    return found
