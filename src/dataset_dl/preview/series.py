"""A series that is being looked at: its index, its frames, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TypeVar

from dataset_dl.errors import SelectionError
from dataset_dl.network.settings import NetworkSettings
from dataset_dl.preview import index as indexing
from dataset_dl.preview.finding import Found, StoredFile
from dataset_dl.preview.index import Instance, SliceIndex
from dataset_dl.preview.reading import Frame, OneObject, Opened, Reader
from dataset_dl.preview.shots import Shot, spread
from dataset_dl.store.ranges import MOST_BYTES, Ranges

T = TypeVar("T")


class OpenSeries:
    """A series that is being looked at.

    Parameters
    ----------
    found, network, group, quick, most_bytes, may_scan
        As for `view.SeriesView`.

    Attributes
    ----------
    found
        Its objects.
    ranges, reader
        What reads them.
    problems
        What could not be read or shown, as sentences.
    """

    def __init__(
        self, found: Found, network: NetworkSettings, *, group: int, quick: bool, most_bytes: int | None,
        may_scan: bool,
    ) -> None:  # fmt: skip
        self.found = found
        self.ranges = Ranges(network, most_bytes=most_bytes or MOST_BYTES)
        self.reader = Reader(self.ranges)
        self.problems: list[str] = []
        self._group = group
        self._quick = quick
        self._may_scan = may_scan
        self._index: SliceIndex | None = None
        self._several: dict[str, OneObject] = {}
        self._lock = Lock()

    @property
    def index(self) -> SliceIndex:
        """The instances in order; built on first use, and kept for series of IDC."""
        if not self.knows_order:
            self._take(indexing.build(self.found, self.reader))
            indexing.keep(self.index, self.found)
        assert self._index is not None
        return self._index

    @property
    def knows_order(self) -> bool:
        """Whether the index was built, or kept."""
        if self._index is None and (kept := indexing.load(self.found)) is not None:
            self._take(kept)
        return self._index is not None

    def read_alone(self, file: StoredFile) -> Instance:
        """Read the header of one object, and of no other.

        Raises
        ------
        UnreadableObject
            If it cannot be read.
        """
        (instance,) = indexing.arrange(self.found, self.reader.headers([file])).instances
        return instance

    def headers(self) -> list[Opened]:
        """Read all headers whole."""
        opened = list(self.reader.headers(self.found.files))
        if self._index is None:
            self._take(indexing.arrange(self.found, opened))
        return opened

    def instances(self) -> tuple[Instance, ...]:
        """Return the instances of the chosen group, in order."""
        return self.index.group(self._group)

    def shots(self) -> list[Shot]:
        """Return all frames of the chosen group, in order."""
        return [
            Shot(each, number)
            for each in self.instances()
            for number in each.FrameOrder or range(each.NumberOfFrames)
        ]

    def choose(self, count: int, begin: float, end: float) -> list[Shot]:
        """Return some frames between two positions, evenly chosen.

        Raises
        ------
        SelectionError
            If these are no positions.
        """
        if not 0 <= begin < end <= 1:
            raise SelectionError(f"{begin} {end}", f"From {begin} to {end} is no part of 0.0 to 1.0.")
        if self._quick and not self.knows_order:
            files = [self.found.files[place] for place in spread(len(self.found.files), count)]
            self._take(indexing.arrange(self.found, self.reader.headers(files)))
        shots = self.shots()
        first, last = round(begin * (len(shots) - 1)), round(end * (len(shots) - 1))
        part = shots[first : last + 1]
        return [part[place] for place in spread(len(part), count)]

    def open(self, instance: Instance) -> OneObject:
        """Open an instance; one of several frames only once, for all of them.

        Raises
        ------
        UnreadableObject, NetworkError, StorageError
            If it cannot be read.
        """
        frames = instance.NumberOfFrames
        if frames == 1:
            return self.reader.object(instance.file, may_scan=self._may_scan)
        with self._lock:
            if instance.FileName not in self._several:
                self._several[instance.FileName] = self.reader.object(
                    instance.file, frames=frames, may_scan=self._may_scan
                )
            return self._several[instance.FileName]

    def read(self, shot: Shot) -> Frame:
        """Read and decode a frame; see `OneObject.frame`."""
        return self.open(shot.instance).frame(shot.frame)

    def _take(self, index: SliceIndex) -> None:
        self._index = index
        self.problems += index.problems


def at(several: Sequence[T], position: float | int) -> T:
    """Return what is at a position: a float from 0.0 to 1.0, or a number from 0, from the end if negative.

    Raises
    ------
    SelectionError
        If there is no such position.
    """
    count = len(several)
    if isinstance(position, int):
        if not -count <= position < count:
            raise SelectionError(
                str(position), f"There is no slice {position}; there are {count}, from 0 to {count - 1}."
            )
        return several[position]
    if not 0 <= position <= 1:
        raise SelectionError(str(position), f"A position is between 0.0 and 1.0, not {position}.")
    return several[round(position * (count - 1))]
