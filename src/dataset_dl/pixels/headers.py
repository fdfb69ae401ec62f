"""Read the header of an object from its beginning: to the last element before the pixel data, or not at all.

pydicom takes a header that is cut off for a complete one. So it reads through `_Beginning` here, which does
not let it read past the bytes that have come: then more are fetched, and it starts again.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.filereader import read_dataset, read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.wording import size

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.tag import BaseTag

# What most headers need.
FIRST_BYTES = 16 << 10
_GROWTH = 4
# Enough to see the preamble.
_LEAST_BYTES = 512
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
# What pydicom reads at a time while it looks for the end of a value of unknown length.
_SEARCH_BYTES = 8 << 10
# What it reads to see whether there is another element.
_ELEMENT_BYTES = 8
_DEFLATED = str(DeflatedExplicitVRLittleEndian).encode()
_META_BYTES = 4 << 10
_MOST_INFLATED_BYTES = 256 << 20

# Returns the bytes from an offset to before another one, and the bytes of the whole object.
Read = Callable[[int, int], tuple[bytes, int]]


@dataclass(frozen=True)
class Header:
    """The header of an object.

    Attributes
    ----------
    dataset
        All elements before the pixel data; all elements if there is none.
    begin
        The bytes that have come; at least the header.
    total_bytes
        Bytes of the object.
    pixels_at
        Offset of the element with the pixel data; None if there is none, or if the data set is deflated.
    """

    dataset: FileDataset
    begin: bytes
    total_bytes: int
    pixels_at: int | None


class _TooShort(Exception):
    """More bytes are needed, up to this offset."""

    def __init__(self, end: int) -> None:
        self.end = end


class _Beginning(io.BytesIO):
    """The beginning of an object, as a file that pydicom reads."""

    def __init__(self, data: bytes, total_bytes: int) -> None:
        super().__init__(data)
        self._have = len(data)
        self._total = total_bytes
        self._empty_reads = 0
        self.is_cut = False
        # Up to where more is needed; 0 if what has come is enough.
        self.needed = 0

    def read(self, count: int | None = -1, /) -> bytes:
        """Read; ask for more of the object if it has not come yet."""
        wanted = self._total if count is None or count < 0 else self.tell() + count
        if wanted > self._have and self._have < self._total:
            self.needed = min(wanted, self._total)
            raise _TooShort(self.needed)
        data = super().read(count)
        if count is not None and 0 <= len(data) < count:
            self._note_end(len(data), count)
        return data

    def _note_end(self, length: int, count: int) -> None:
        """Note a read past the end of the object: an ordinary one reads the next element, and finds none."""
        if length == 0:
            self._empty_reads += 1
            self.is_cut |= count != _ELEMENT_BYTES or self._empty_reads > 1
        elif count != _SEARCH_BYTES:
            self.is_cut = True


def read_header(
    read: Read,
    *,
    first_bytes: int = FIRST_BYTES,
    most_bytes: int = 64 << 20,
    specific_tags: list[BaseTag | int] | None = None,
) -> Header:
    """Read a header.

    Parameters
    ----------
    read
        Reads parts of the object.
    first_bytes
        How much to read first.
    most_bytes
        A header that is larger is refused.
    specific_tags
        The elements to keep; all if None.

    Raises
    ------
    Unreadable
        If the object is no DICOM, ends before its header does, or its header is too large.
    """
    data, total = read(0, max(first_bytes, _LEAST_BYTES))
    while True:
        try:
            return parse_header(data, total, specific_tags)
        except _TooShort as short:
            end = max(short.end, min(_GROWTH * len(data), total))
        if end > most_bytes:
            raise Unreadable(f"has a header of more than {size(most_bytes)}") from None
        more, now_total = read(len(data), end)
        if now_total != total or len(data) + len(more) < end:
            raise Unreadable("ends too early")
        data += more


def parse_header(data: bytes, total_bytes: int, specific_tags: list[BaseTag | int] | None = None) -> Header:
    """Parse a header from the beginning of an object.

    Raises
    ------
    Unreadable
        If it is no DICOM, or if the whole object is there and ends before its header does.
    """
    file = _Beginning(data, total_bytes)
    _check_kind(data, total_bytes)
    found: list[int] = []

    def is_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            found.append(int(tag))
            return True
        return False

    if len(data) == total_bytes and _DEFLATED in data[:_META_BYTES]:
        _check_deflated(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, about values that nobody has asked for yet
            dataset = read_partial(file, is_pixels, force=True, specific_tags=specific_tags)
    except zlib.error:
        raise Unreadable("has a deflated data set that is damaged") from None
    except RecursionError:
        raise Unreadable("has sequences that are nested too deeply") from None
    except Exception as error:
        if file.needed:  # pydicom makes another error of it here and there
            raise _TooShort(file.needed) from None
        raise Unreadable(f"is damaged or no DICOM ({type(error).__name__}: {error})") from None
    if file.needed:
        raise _TooShort(file.needed)
    is_deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    if not found and file.is_cut:
        raise Unreadable("ends in the middle of an element")
    if not len(dataset):
        raise Unreadable("has no elements")
    pixels_at = file.tell() if found and not is_deflated else None
    return Header(dataset, data, total_bytes, pixels_at)


def _check_deflated(data: bytes) -> None:
    """Refuse a compressed data set that would fill the memory; pydicom knows no limit."""
    file = io.BytesIO(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    with suppress(Exception):  # then pydicom will tell
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    with suppress(zlib.error):
        inflating.decompress(data[file.tell() :], _MOST_INFLATED_BYTES)
    if inflating.unconsumed_tail:
        raise Unreadable(f"has a data set of more than {size(_MOST_INFLATED_BYTES)} when it is inflated")


def _check_kind(data: bytes, total_bytes: int) -> None:
    """Refuse what is no DICOM; pydicom takes any bytes for a data set."""
    if total_bytes == 0:
        raise Unreadable("is empty")
    if data[128:132] == b"DICM":
        return
    start = data.lstrip()[:1]
    if start in (b"<", b"{"):
        raise Unreadable("is a text, like a web page or an error message, not DICOM")
    # Without a preamble the data set begins at once, with group 0002 or 0008.
    group = data[:2]
    if group not in (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x00\x02", b"\x00\x00"):
        raise Unreadable("is not DICOM")
