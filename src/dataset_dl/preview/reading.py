"""Headers and frames of objects, in as few requests as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np
from pydicom.dataset import Dataset

from dataset_dl.errors import SelectionError, UnreadableObject
from dataset_dl.pixels.frames import CostlyScan
from dataset_dl.pixels.headers import FIRST_BYTES, Header, read_header
from dataset_dl.pixels.objects import PixelObject
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.preview.finding import StoredFile
from dataset_dl.store.ranges import Ranges
from dataset_dl.wording import size

# Headers of one series differ by little more than this.
_MARGIN_BYTES = 512
# An object up to this size is read in one request together with its pixels.
_SMALL_BYTES = 4 << 20


@dataclass(frozen=True)
class Frame:
    """One decoded frame: stored values, the attributes that say how to show them, and its object."""

    values: np.ndarray
    attributes: Dataset
    file: StoredFile


@dataclass(frozen=True)
class Opened:
    """The header of an object; or, if it cannot be read, why."""

    file: StoredFile
    header: Header | None
    problem: str = ""


@contextmanager
def named(file: StoredFile) -> Iterator[None]:
    """Name the object that an error is about."""
    try:
        yield
    except Unreadable as error:
        raise UnreadableObject(file.name, f"{file.name} {error}.") from None


class Reader:
    """Reads objects.

    Parameters
    ----------
    ranges
        Reads parts of them.
    """

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self._first_bytes = FIRST_BYTES
        self._largest = 0
        self._lock = Lock()

    def headers(self, files: Iterable[StoredFile]) -> Iterator[Opened]:
        """Yield the header of each object, in their order."""
        several = list(files)
        # The first one tells how much the others need.
        yield from map(self.open, several[:1])
        yield from self.ranges.map(self.open, several[1:])

    def open(self, file: StoredFile) -> Opened:
        """Read the header of one object."""
        try:
            return Opened(file, self.header(file))
        except UnreadableObject as error:
            return Opened(file, None, str(error))

    def header(self, file: StoredFile, first_bytes: int | None = None) -> Header:
        """Read the header of one object.

        Raises
        ------
        UnreadableObject
            If it is no DICOM.
        NetworkError, StorageError
            If it cannot be read.
        """
        etag = file.etag

        def read(begin: int, end: int) -> tuple[bytes, int]:
            nonlocal etag
            part = self.ranges.read(file.place, begin, end, etag)
            etag = part.etag or etag
            if file.size_bytes not in (None, part.total_bytes):
                raise Unreadable("has another size than its store lists")
            return part.data, part.total_bytes

        with named(file):
            found = read_header(
                read, first_bytes=first_bytes or self._first_bytes, most_bytes=self.ranges.most_bytes
            )
        self._learn(found)
        return found

    def object(self, file: StoredFile, *, frames: int = 1, may_scan: bool = False) -> OneObject:
        """Open an object to read single frames of it.

        Parameters
        ----------
        file
            The object.
        frames
            How many frames it has. A small object of one frame is read whole, in one request.
        may_scan
            Whether to read all of it if no table tells where its frames are.

        Raises
        ------
        UnreadableObject
            If it is no DICOM.
        NetworkError, StorageError
            If it cannot be read.
        """
        is_small = frames == 1 and file.size_bytes is not None and file.size_bytes <= _SMALL_BYTES
        header = self.header(file, file.size_bytes if is_small else None)
        return OneObject(self.ranges, file, header, may_scan=may_scan)

    def _learn(self, header: Header) -> None:
        with self._lock:
            if header.pixels_at is not None and header.pixels_at > self._largest:
                self._largest = header.pixels_at
                self._first_bytes = -(-(self._largest + _MARGIN_BYTES) // 1024) * 1024


class OneObject:
    """An object whose header was read; several threads may read its frames.

    Parameters
    ----------
    ranges
        Reads parts of it.
    file, header
        The object.
    may_scan
        Whether to read all of it if no table tells where its frames are.
    """

    def __init__(self, ranges: Ranges, file: StoredFile, header: Header, *, may_scan: bool = False) -> None:
        self._ranges = ranges
        self._file = file
        self.header = header
        self._object = PixelObject(header, self._read, header.total_bytes if may_scan else _SMALL_BYTES)

    def frame(self, number: int) -> Frame:
        """Read and decode one frame, from 0.

        Raises
        ------
        UnreadableObject
            If it cannot be shown.
        SelectionError
            If all of it would have to be read, and may not.
        NetworkError, StorageError
            If it cannot be read.
        """
        with named(self._file):
            try:
                return Frame(*self._object.frame(number), self._file)
            except CostlyScan as error:
                raise self._too_costly(self._object.count(), error.size_bytes) from None

    def _too_costly(self, count: int, size_bytes: int) -> SelectionError:
        return SelectionError(
            self._file.name,
            f"{self._file.name} has no table that says where its {count:,} frames are; all"
            f" {size(size_bytes)} of it would have to be read.",
            "--scan does that.",
        )

    def _read(self, begin: int, end: int) -> bytes:
        part = self._ranges.read(self._file.place, begin, end, self._file.etag)
        if part.total_bytes != self.header.total_bytes or len(part.data) < end - begin:
            raise Unreadable("ends too early")
        return part.data
