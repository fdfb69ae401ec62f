"""Which instance a DICOM file is, and whether the file is whole, by walking over its elements.

pydicom's data sets take ten times as long, and it takes a file that is cut off for a complete one.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.pixels.unreadable import Unreadable

# What the files that this program writes name as their writer; made once from a UUID (PS3.5, B.2).
IMPLEMENTATION_CLASS_UID = "2.25.272384290727823845985535656251234172958"
IMPLEMENTATION_VERSION_NAME = "DATASET_DL"

_PREAMBLE, _MAGIC = 128, b"DICM"
_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED, _BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# These VRs have two reserved bytes and a length of four.
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SYNTAX, _CHARACTERS = 0x00020010, 0x00080005
_WANTED = {
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00100020: "PatientID",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
}
_MOST_DEPTH = 64
_MOST_UID = 64
_SMALL_BYTES = 4 << 20

# bytes, or a mapped file.
Buffer = Any


class Identity(NamedTuple):
    """Which instance a file is. A text is empty if the file lacks the attribute.

    Attributes
    ----------
    SOPClassUID, SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID, PatientID, TransferSyntaxUID
        As in the file.
    begins_at
        Offset of the data set, behind the file meta information.
    """

    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    TransferSyntaxUID: str
    begins_at: int


def identify(path: Path) -> Identity:
    """Return which instance a file is.

    Raises
    ------
    Unreadable
        If it is no DICOM file, or cut off.
    OSError
        If it cannot be read.
    """
    with contents(path) as data:
        return identity_of(data)


@contextmanager
def contents(path: Path) -> Iterator[Buffer]:
    """Yield the bytes of a file; a large one is mapped, so that it needs no memory of its own.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size <= _SMALL_BYTES:
            yield file.read()
            return
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield data
        finally:
            with suppress(BufferError):  # an error may still hold a view; it ends with that
                data.close()


def identity_of(data: Buffer) -> Identity:
    """Return which instance the bytes of a file are.

    Raises
    ------
    Unreadable
        If they are no DICOM file, or cut off.
    """
    if data[_PREAMBLE : _PREAMBLE + 4] != _MAGIC:
        raise Unreadable("it is no DICOM file")
    try:
        syntax, begins_at = _meta(data)
        return _identity(data, syntax, begins_at)
    except (struct.error, IndexError):
        raise Unreadable("it is cut off") from None


def is_dicom(path: Path) -> bool:
    """Whether a file is called a DICOM file, or begins as one; it may be damaged nevertheless."""
    if path.suffix.lower() in _ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            file.seek(_PREAMBLE)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def is_uid(text: str) -> bool:
    """Whether a text is a UID, which is safe in names of files and in addresses."""
    return 0 < len(text) <= _MOST_UID and text.isascii() and text.replace(".", "").isdigit()


def _identity(data: Buffer, syntax: str, begins_at: int) -> Identity:
    if syntax in (_DEFLATED, _BIG):
        found = _by_pydicom(data)
    else:
        walk = _Walk(data, is_implicit=syntax == _IMPLICIT)
        end = walk.elements(begins_at, len(data))
        if end != len(data):
            raise Unreadable("it is cut off")
        found = walk.found
    texts = {name: _text(found.get(tag, b"")) for tag, name in _WANTED.items() if name != "PatientID"}
    patient = _patient(found.get(0x00100020, b""), found.get(_CHARACTERS, b""))
    return Identity(**texts, PatientID=patient, TransferSyntaxUID=syntax, begins_at=begins_at)


def _meta(data: Buffer) -> tuple[str, int]:
    """Return the transfer syntax, and where the data set begins."""
    place, syntax = _PREAMBLE + len(_MAGIC), ""
    while place < len(data) and data[place : place + 2] == b"\x02\x00":
        tag, length, begin = _explicit(data, place)
        if length == _UNDEFINED or begin + length > len(data):
            raise Unreadable("it is cut off")
        if tag == _SYNTAX:
            syntax = _text(bytes(data[begin : begin + length]))
        place = begin + length
    if not syntax:
        raise Unreadable("its header has no TransferSyntaxUID")
    return syntax, place


def _explicit(data: Buffer, place: int) -> tuple[int, int, int]:
    """Return the tag and the length of an element with a VR, and where its value begins."""
    group, element, vr, length = struct.unpack_from("<HH2sH", data, place)
    if vr in _LONG:
        return group << 16 | element, struct.unpack_from("<I", data, place + 8)[0], place + 12
    if not vr.isupper() and group != 0xFFFE:
        raise Unreadable(f"it is not encoded as its transfer syntax says, at byte {place:,}")
    return group << 16 | element, length, place + 8


def _implicit(data: Buffer, place: int) -> tuple[int, int, int]:
    group, element, length = struct.unpack_from("<HHI", data, place)
    return group << 16 | element, length, place + 8


class _Walk:
    """Walks over the elements of a data set.

    Attributes
    ----------
    found
        The values of the wanted elements, outside sequences.
    """

    def __init__(self, data: Buffer, *, is_implicit: bool) -> None:
        self._data = data
        self._is_implicit = is_implicit
        self.found: dict[int, bytes] = {}

    def elements(self, place: int, end: int, depth: int = 0) -> int:
        """Walk to the end of a data set or of an item of unknown length; return the offset behind it."""
        data = self._data
        if depth > _MOST_DEPTH:
            raise Unreadable("its sequences are nested too deeply")
        while place < end:
            tag, length, begin = (_implicit if self._is_implicit else _explicit)(data, place)
            if tag >> 16 == 0xFFFE:
                if tag == _ITEM_END and depth:
                    return place + 8
                raise Unreadable(f"it has an item outside a sequence, at byte {place:,}")
            if length == _UNDEFINED:
                is_unknown = self._is_implicit or data[place + 4 : place + 6] == b"UN"
                place = self._items(begin, end, depth, is_implicit=self._is_implicit or is_unknown)
                continue
            place = begin + length
            if place > end:
                raise Unreadable("it is cut off")
            if not depth and (tag in _WANTED or tag == _CHARACTERS):
                self.found[tag] = bytes(data[begin:place])
        return place

    def _items(self, place: int, end: int, depth: int, *, is_implicit: bool) -> int:
        """Walk over the items of a sequence, or the fragments of pixel data, of unknown length."""
        while True:
            tag, length, begin = _implicit(self._data, place)
            if tag == _SEQUENCE_END:
                return begin
            if tag != _ITEM:
                raise Unreadable(f"a sequence does not end, at byte {place:,}")
            if length == _UNDEFINED:
                before, self._is_implicit = self._is_implicit, is_implicit
                place = self.elements(begin, end, depth + 1)
                self._is_implicit = before
            else:
                place = begin + length
            if place > end:
                raise Unreadable("it is cut off")


def _by_pydicom(data: Buffer) -> dict[int, bytes]:
    """Return the wanted elements of a data set in a rare transfer syntax."""
    from pydicom import dcmread

    try:
        # Without the pixels pydicom would not see that the end is lacking.
        found = dcmread(io.BytesIO(bytes(data)))
        list(found)
        last = found[max(found.keys())]
        if len(data) and last.is_undefined_length:
            raise Unreadable("it is cut off")
    except Unreadable:
        raise
    except Exception as error:  # pydicom raises whatever a strange file leads to
        raise Unreadable(f"it is no DICOM file ({type(error).__name__})") from None
    values = {tag: _joined(found[tag].value).encode() for tag in _WANTED if tag in found}
    return {_CHARACTERS: b"ISO_IR 192", **values}


def _joined(value: Any) -> str:
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "sort") else [value]
    return "\\".join(str(each or "") for each in several)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def _patient(value: bytes, characters: bytes) -> str:
    if value.isascii():
        return _text(value)
    from pydicom.charset import python_encoding

    names = [each.strip() for each in characters.decode("ascii", "replace").split("\\")]
    encoding = next((python_encoding[each] for each in reversed(names) if each in python_encoding), "latin-1")
    return value.decode(encoding, "replace").strip("\0 ")
