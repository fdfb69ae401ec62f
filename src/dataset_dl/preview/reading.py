"""Headers and frames of objects, in as few requests as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np
from pydicom.dataset import Dataset

from dataset_dl.errors import UnreadableObject
from dataset_dl.pixels.contrast import frame_attributes
from dataset_dl.pixels.decoding import decode, keyword_of
from dataset_dl.pixels.frames import CostlyScan, Frames
from dataset_dl.pixels.headers import FIRST_BYTES, Header, Unreadable, read_header
from dataset_dl.preview.finding import StoredFile
from dataset_dl.store.ranges import Ranges

# Headers of one series differ by little more than this.
_MARGIN_BYTES = 512
# An object up to this size is read in one request together with its pixels.
_SMALL_BYTES = 4 << 20


@dataclass(frozen=True)
class Frame:
    """One decoded frame: stored values, and the attributes that say how to show them."""

    values: np.ndarray
    attributes: Dataset


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
            return part.data, part.total_bytes

        with named(file):
            found = read_header(
                read, first_bytes=first_bytes or self._first_bytes, most_bytes=self.ranges.most_bytes
            )
        self._learn(found)
        return found

    def frame(self, file: StoredFile, number: int = 0, *, may_scan: bool = False) -> Frame:
        """Read and decode one frame.

        Parameters
        ----------
        file
            Its object.
        number
            From 0.
        may_scan
            Whether to read the whole object if no table tells where its frames are.

        Raises
        ------
        UnreadableObject
            If it cannot be shown.
        CostlyScan
            If the whole object would have to be read.
        NetworkError, StorageError
            If it cannot be read.
        """
        with named(file):
            return self._frame(file, number, may_scan=may_scan)

    def _frame(self, file: StoredFile, number: int, *, may_scan: bool) -> Frame:
        is_small = file.size_bytes is not None and file.size_bytes <= _SMALL_BYTES
        header = self.header(file, file.size_bytes if is_small else None)
        etag = file.etag

        def read(begin: int, end: int) -> bytes:
            part = self.ranges.read(file.place, begin, end, etag)
            if part.total_bytes != header.total_bytes or len(part.data) < end - begin:
                raise Unreadable("ends too early")
            return part.data

        if header.pixels_at is None and "PixelData" not in header.dataset:
            return self._deflated(file, header, number)
        frames = Frames(header, read)
        try:
            data = frames.read(number)
        except CostlyScan:
            if not may_scan:
                raise
            frames.scan()
            data = frames.read(number)
        values = decode(
            header, data, is_encapsulated=frames.is_encapsulated, vr=frames.vr, keyword=keyword_of(header)
        )
        return Frame(values, frame_attributes(header.dataset, number))

    def _deflated(self, file: StoredFile, header: Header, number: int) -> Frame:
        """Decode a frame of an object whose data set is compressed as a whole."""
        import io

        import pydicom
        from pydicom.pixels.utils import pixel_array

        if header.total_bytes > len(header.begin):
            raise Unreadable("has no pixel data")
        whole = pydicom.dcmread(io.BytesIO(header.begin), force=True)
        if "PixelData" not in whole:
            raise Unreadable("has no pixel data")
        values = pixel_array(whole, index=number)
        return Frame(values, frame_attributes(whole, number))

    def _learn(self, header: Header) -> None:
        with self._lock:
            if header.pixels_at is not None and header.pixels_at > self._largest:
                self._largest = header.pixels_at
                self._first_bytes = -(-(self._largest + _MARGIN_BYTES) // 1024) * 1024
