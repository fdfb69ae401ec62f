"""What `dd.look` returns: a series that can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset_dl.configuration import cache_path
from dataset_dl.errors import DatasetDlError, SelectionError
from dataset_dl.model.frame import Frame as Table
from dataset_dl.network.settings import NetworkSettings
from dataset_dl.pixels.contrast import Contrast
from dataset_dl.pixels.pictures import blank, encoded, fitted, sheet, write
from dataset_dl.preview import index as indexing
from dataset_dl.preview.finding import Found
from dataset_dl.preview.reading import Frame, OneObject, Reader
from dataset_dl.preview.shots import Shot, shown, spread
from dataset_dl.preview.slides import Level, assembled, choose, levels_of, tile
from dataset_dl.preview.tables import header_rows
from dataset_dl.store.ranges import Ranges

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom.dataset import Dataset

TILE_WIDTH, MOST_VIDEO_FRAMES = 160, 600
_LEADING = ("Index", "Group", "PrimaryPosition", "FileName")


class SeriesView:
    """A series to look at; nothing is downloaded but what is shown.

    Parameters
    ----------
    found
        Its objects.
    network
        How to reach them.
    group
        Which of several groups of slices that do not belong together; the largest is 0.
    quick
        Read only the slices that are shown, without the headers of the others: their order is then only known
        among those.
    most_bytes
        Objects on servers that send no parts are read up to this size.
    may_scan
        Whether to read a whole object if no table tells where its frames are.
    """

    def __init__(
        self, found: Found, network: NetworkSettings, *, group: int = 0, quick: bool = False,
        most_bytes: int | None = None, may_scan: bool = False,
    ) -> None:  # fmt: skip
        self._found = found
        self._ranges = Ranges(network) if most_bytes is None else Ranges(network, most_bytes=most_bytes)
        self._reader = Reader(self._ranges)
        self._group = group
        self._quick = quick
        self._may_scan = may_scan
        self._index: indexing.SliceIndex | None = None
        self._several: dict[str, OneObject] = {}
        self._lock = Lock()
        self.problems: list[str] = []

    def __repr__(self) -> str:
        return f"SeriesView({self._found.title!r}, {len(self._found.files)} instances)"

    def __len__(self) -> int:
        """Return the number of frames that can be shown."""
        return len(self._shots())

    def __enter__(self) -> SeriesView:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._ranges.close()

    @property
    def title(self) -> str:
        """What it is called."""
        return self._found.title

    @property
    def requests(self) -> int:
        """How many requests it took so far."""
        return self._ranges.requests

    @property
    def received_bytes(self) -> int:
        """How many bytes it took so far."""
        return self._ranges.received_bytes

    @property
    def index(self) -> indexing.SliceIndex:
        """The instances in order; built on first use, and kept for series of IDC."""
        if self._index is None:
            self._index = self._loaded()
            self.problems += self._index.problems
        return self._index

    @property
    def positions(self) -> list[float | None]:
        """The place of each frame along the normal of the slices, in mm."""
        return [each.instance.PrimaryPosition for each in self._shots()]

    def headers(self) -> Table:
        """Read all headers whole; return a frame with a row an instance, and a column an element."""
        columns, rows = self.header_rows()
        return Table(rows, columns=columns)

    def header_rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the columns and the rows of `headers`."""
        opened = list(self._reader.headers(self._found.files))
        if self._index is None:
            self._index = indexing.arrange(self._found, opened)
            self.problems += self._index.problems
        datasets = {each.file.name: each.header.dataset for each in opened if each.header is not None}
        return header_rows(
            ({name: getattr(each, name) for name in _LEADING}, datasets[each.FileName])
            for each in self.index.instances
        )

    def header(self, position: float | int = 0.5) -> Dataset:
        """Return the whole header of one instance.

        Parameters
        ----------
        position
            See `image`.

        Raises
        ------
        UnreadableObject
            If it cannot be read.
        """
        instance = self._at(self.index.group(self._group), position)
        return self._reader.header(instance.file).dataset

    def frame(self, position: float | int = 0.5) -> np.ndarray:
        """Return the stored values of one frame; shape (rows, columns), or (rows, columns, 3) in RGB."""
        return self._read(self._at(self._shots(), position)).values

    def image(
        self, position: float | int = 0.5, *, contrast: str = "default", width: int | None = None
    ) -> Image:
        """Return a picture of one frame.

        Parameters
        ----------
        position
            A float from 0.0, the first frame, to 1.0, the last; or an int, the number of the frame from 0, or
            from the end if negative.
        contrast
            See `Contrast.of`.
        width
            The longer side of the picture in pixels at most.

        Raises
        ------
        SelectionError
            If there is no such position or contrast.
        UnreadableObject
            If it cannot be shown.
        """
        chosen = Contrast.of(contrast)
        made = shown(self._read(self._at(self._shots(), position)), chosen)
        return made if width is None else fitted(made, width)

    def contrasts(
        self,
        position: float | int = 0.5,
        contrasts: Sequence[str] = ("auto", "embedded"),
        *,
        width: int = 320,
    ) -> Image:
        """Return one frame under several contrasts, side by side."""
        chosen = [Contrast.of(each) for each in contrasts]
        frame = self._read(self._at(self._shots(), position))
        return sheet([fitted(shown(frame, each), width) for each in chosen], len(chosen))

    def mosaic(
        self, columns: int = 6, rows: int = 6, *, contrast: str = "default", width: int = TILE_WIDTH,
        begin: float = 0.0, end: float = 1.0,
    ) -> Image:  # fmt: skip
        """Return a sheet of frames, evenly chosen.

        Parameters
        ----------
        columns, rows
            How many.
        contrast
            See `Contrast.of`.
        width
            The longer side of each tile in pixels at most.
        begin, end
            The part of the series to choose from, 0.0 to 1.0.

        A frame that cannot be shown is a tile with the reason, which is also added to `problems`.
        """
        tiles = self._tiles(columns * rows, begin, end, contrast, width)
        return sheet(tiles, min(columns, len(tiles)))

    def levels(self) -> list[Level]:
        """Return the images of a whole slide: levels from the largest on, thumbnail, label, overview."""
        return levels_of(self.index)

    def slide(self, wanted: str | int | None = None, *, width: int | None = None) -> Image:
        """Return a whole image of a slide.

        Parameters
        ----------
        wanted
            The number of a level (0 is the largest), ``thumbnail``, ``label`` or ``overview``; if None, the
            thumbnail, or the smallest level.
        width
            The longer side in pixels at most.
        """
        level = choose(self.levels(), wanted)
        made = assembled(self._opened(level.instance), level)
        return made if width is None else fitted(made, width)

    def tile(self, column: int, row: int, *, level: int = 0) -> Image:
        """Return a tile of a slide by column and row, from 0, on a level; 0 is the largest."""
        chosen = choose(self.levels(), level)
        return tile(self._opened(chosen.instance), chosen, column, row)

    def _opened(self, instance: indexing.Instance) -> OneObject:
        frames = instance.NumberOfFrames
        if frames == 1:
            return self._reader.object(instance.file, may_scan=self._may_scan)
        with self._lock:  # its header is read once for all its frames
            if instance.FileName not in self._several:
                self._several[instance.FileName] = self._reader.object(
                    instance.file, frames=frames, may_scan=self._may_scan
                )
            return self._several[instance.FileName]

    def video(
        self, path: str | Path, *, contrast: str = "default", width: int = 512, begin: float = 0.0,
        end: float = 1.0, most_frames: int = MOST_VIDEO_FRAMES, frames_per_second: float = 10.0,
    ) -> int:  # fmt: skip
        """Write the frames as a video, and return how many.

        Parameters
        ----------
        path
            ``.webp``, ``.gif`` or ``.png`` (animated), or ``.webm`` or ``.mp4`` if ffmpeg is on this machine.
        contrast
            See `Contrast.of`.
        width
            The longer side in pixels at most.
        begin, end
            The part of the series, 0.0 to 1.0.
        most_frames
            Of more frames, so many are evenly chosen.
        frames_per_second
            How fast.
        """
        from dataset_dl.preview import video

        target = Path(path)
        video.check_kind(target)
        frames = self._tiles(most_frames, begin, end, contrast, width)
        write(video.encode(frames, target, frames_per_second), target)
        return len(frames)

    def _tiles(self, count: int, begin: float, end: float, contrast: str, width: int) -> list[Image]:
        chosen = Contrast.of(contrast)
        tiles = list(
            self._ranges.map(lambda each: self._tile(each, chosen, width), self._chosen(count, begin, end))
        )
        self.problems += [words for _, words in tiles if words]
        return [tile for tile, _ in tiles]

    def _repr_png_(self) -> bytes:
        is_slide = any(each.TotalPixelMatrixColumns for each in self.index.instances)
        return encoded(self.slide(width=640) if is_slide else self.mosaic(4, 3))

    def _chosen(self, count: int, begin: float, end: float) -> list[Shot]:
        if not 0 <= begin < end <= 1:
            raise SelectionError(f"{begin} {end}", f"From {begin} to {end} is no part of 0.0 to 1.0.")
        if self._quick and self._index is None:
            files = [self._found.files[place] for place in spread(len(self._found.files), count)]
            self._index = indexing.arrange(self._found, list(self._reader.headers(files)))
            self.problems += self._index.problems
        shots = self._shots()
        first, last = round(begin * (len(shots) - 1)), round(end * (len(shots) - 1))
        part = shots[first : last + 1]
        return [part[place] for place in spread(len(part), count)]

    def _loaded(self) -> indexing.SliceIndex:
        key, directory = self._found.key, cache_path() / "slices"
        kept = indexing.load(key, self._found.title, directory, self._found.files) if key else None
        if kept is not None:
            return kept
        built = indexing.build(self._found, self._reader)
        if key:
            indexing.keep(built, key, directory)
        return built

    def _shots(self) -> list[Shot]:
        return [
            Shot(each, number)
            for each in self.index.group(self._group)
            for number in range(each.NumberOfFrames)
        ]

    def _at(self, several: Sequence[Any], position: float | int) -> Any:
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

    def _read(self, shot: Shot) -> Frame:
        return self._opened(shot.instance).frame(shot.frame)

    def _tile(self, shot: Shot, contrast: Contrast, width: int) -> tuple[Image, str]:
        try:
            return fitted(shown(self._read(shot), contrast), width), ""
        except DatasetDlError as error:
            return blank(width, error.message), str(error)
