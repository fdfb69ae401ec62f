"""An object whose header was read: its frames as arrays, each with the attributes that say how to show it."""

from __future__ import annotations

import io
from threading import Lock

import numpy as np
from pydicom.dataset import Dataset

from dataset_dl.pixels.contrast import frame_attributes
from dataset_dl.pixels.decoding import decode, keyword_of
from dataset_dl.pixels.frames import CostlyScan, Frames, ReadBytes
from dataset_dl.pixels.headers import Header
from dataset_dl.pixels.unreadable import Unreadable


class PixelObject:
    """The frames of one object; several threads may read them.

    Parameters
    ----------
    header
        Its header.
    read
        Reads parts of it.
    cheap_bytes
        If no table tells where the frames are, an object up to this size is read whole.
    """

    def __init__(self, header: Header, read: ReadBytes, cheap_bytes: int) -> None:
        self.header = header
        self._read = read
        self._cheap_bytes = cheap_bytes
        self._frames: Frames | None = None
        self._lock = Lock()

    @property
    def _is_whole(self) -> bool:
        """Whether the data set is compressed as a whole, or has no pixel data."""
        return self.header.pixels_at is None and self.header.total_bytes <= len(self.header.begin)

    def count(self) -> int:
        """Return the number of frames.

        Raises
        ------
        Unreadable
            If it has no pixel data, or less than its header says.
        """
        if self._is_whole:
            if "PixelData" not in self._inflated():
                raise Unreadable("has no pixel data")
            return max(1, int(self.header.dataset.get("NumberOfFrames") or 1))
        return self._opened().count

    def frame(self, number: int) -> tuple[np.ndarray, Dataset]:
        """Read and decode one frame, from 0; return its stored values and its attributes.

        Raises
        ------
        Unreadable
            If it cannot be shown.
        CostlyScan
            If all of it would have to be read.
        """
        if self._is_whole:
            return self._of_whole(number)
        return self.values(number), self.attributes(number)

    def attributes(self, number: int) -> Dataset:
        """Return the attributes of a frame, from 0."""
        return frame_attributes(self.header.dataset, number)

    def values(self, number: int) -> np.ndarray:
        """Return the stored values of a frame only; see `frame`."""
        if self._is_whole:
            return self._of_whole(number)[0]
        frames, header = self._opened(), self.header
        return decode(
            header, self.encoded(number), is_encapsulated=frames.is_encapsulated, vr=frames.vr,
            keyword=keyword_of(header),
        )  # fmt: skip

    def encoded(self, number: int) -> bytes:
        """Return the bytes of a frame, compressed or not; raises as `frame`."""
        frames = self._opened()
        try:
            return frames.read(number)
        except CostlyScan as error:
            if error.size_bytes > self._cheap_bytes:
                raise
            frames.scan()
            return frames.read(number)

    def _opened(self) -> Frames:
        with self._lock:
            if self._frames is None:
                self._frames = Frames(self.header, self._read)
            return self._frames

    def _inflated(self) -> Dataset:
        import pydicom

        return pydicom.dcmread(io.BytesIO(self.header.begin), force=True)

    def _of_whole(self, number: int) -> tuple[np.ndarray, Dataset]:
        """Decode a frame of an object whose data set is compressed as a whole."""
        from pydicom.pixels.utils import pixel_array

        whole = self._inflated()
        if "PixelData" not in whole:
            raise Unreadable("has no pixel data")
        try:
            return pixel_array(whole, index=number), frame_attributes(whole, number)
        except Exception as error:
            raise Unreadable(f"has a frame that cannot be decoded: {error}") from None
