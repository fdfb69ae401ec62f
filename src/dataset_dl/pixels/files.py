"""DICOM files on a disk, opened to read single frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl.pixels.frames import ReadBytes
from dataset_dl.pixels.headers import read_header
from dataset_dl.pixels.objects import PixelObject

if TYPE_CHECKING:
    from pydicom.tag import BaseTag

# Files up to this size are read in one piece.
_WHOLE_BYTES = 4 << 20
_HEADER_BYTES = 64 << 10


def open_file(path: Path, *, specific_tags: list[BaseTag | int] | None = None) -> PixelObject:
    """Open a file.

    Parameters
    ----------
    path
        The file.
    specific_tags
        The elements that are needed; all if None.

    Raises
    ------
    Unreadable
        If it is no DICOM, or its header is cut off.
    OSError
        If it cannot be read.
    """
    total = path.stat().st_size
    read = reader(path)
    header = read_header(
        lambda begin, end: (read(begin, min(end, total)), total),
        first_bytes=total if total <= _WHOLE_BYTES else _HEADER_BYTES,
        specific_tags=specific_tags,
    )
    return PixelObject(header, read, total)


def reader(path: Path) -> ReadBytes:
    """Return a function that reads parts of a file."""

    def read(begin: int, end: int) -> bytes:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    return read
