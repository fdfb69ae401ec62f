"""What `dd.look` returns: a series that can be looked at."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset_dl.errors import DatasetDlError, NetworkError, StorageError, UnreadableObject
from dataset_dl.network.settings import NetworkSettings
from dataset_dl.pixels.pictures import blank, encoded, fitted, sheet
from dataset_dl.preview.finding import Found
from dataset_dl.preview.index import SliceIndex
from dataset_dl.preview.overlays import Segmentation, blended
from dataset_dl.preview.reading import Frame
from dataset_dl.preview.series import OpenSeries, at
from dataset_dl.preview.shots import Draw, Shot, drawing, shown
from dataset_dl.preview.slides import Level, assembled, level_of, levels_of, tile
from dataset_dl.preview.tables import header_rows
from dataset_dl.scratch import written_whole

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom.dataset import Dataset

    from dataset_dl.model.frame import Frame as Table

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
        self._series = OpenSeries(
            found, network, group=group, quick=quick, most_bytes=most_bytes, may_scan=may_scan
        )

    def __repr__(self) -> str:
        return f"SeriesView({self.title!r})"

    def __len__(self) -> int:
        """Return the number of frames that can be shown."""
        return len(self._series.shots())

    def __enter__(self) -> SeriesView:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._series.ranges.close()

    @property
    def title(self) -> str:
        """What it is called."""
        return self._series.found.title

    @property
    def requests(self) -> int:
        """How many requests it took so far."""
        return self._series.ranges.requests

    @property
    def received_bytes(self) -> int:
        """How many bytes it took so far."""
        return self._series.ranges.received_bytes

    @property
    def index(self) -> SliceIndex:
        """The instances in order; built on first use, and kept for series of IDC."""
        return self._series.index

    @property
    def problems(self) -> list[str]:
        """What could not be read or shown so far, as sentences."""
        return self._series.problems

    @property
    def positions(self) -> list[float | None]:
        """The place of each frame along the normal of the slices, in mm."""
        return [each.instance.PrimaryPosition for each in self._series.shots()]

    def number_of(self, position: float | int) -> int:
        """Return the number, from 0, of the frame at a position; see `image`."""
        return at(range(len(self)), position)

    def headers(self) -> Table:
        """Read all headers whole; return a frame with a row an instance, and a column an element."""
        from dataset_dl.model.frame import Frame as Table  # late, because pandas takes long to load

        columns, rows = self.header_rows()
        return Table(rows, columns=columns)

    def header_rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the columns and the rows of `headers`."""
        opened = self._series.headers()
        datasets = {each.file.name: each.header.dataset for each in opened if each.header is not None}
        return header_rows(
            ({name: getattr(each, name) for name in _LEADING}, datasets[each.FileName])
            for each in self.index.instances
        )

    def header(self, position: float | int = 0.5) -> Dataset:
        """Return the whole header of the instance that the frame at a position belongs to.

        Parameters
        ----------
        position
            See `image`.

        Raises
        ------
        UnreadableObject
            If it cannot be read.
        """
        shot = at(self._series.shots(), position)
        return self._series.reader.header(shot.instance.file).dataset

    def frame(self, position: float | int = 0.5) -> np.ndarray:
        """Return the stored values of one frame; shape (rows, columns), or (rows, columns, 3) in RGB."""
        return self._series.read(at(self._series.shots(), position)).values

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
        chosen = drawing(contrast)
        made = shown(self._series.read(at(self._series.shots(), position)), chosen)
        return made if width is None else fitted(made, width)

    def contrasts(
        self,
        position: float | int = 0.5,
        contrasts: Sequence[str] = ("auto", "embedded"),
        *,
        width: int = 320,
    ) -> Image:
        """Return one frame under several contrasts, side by side."""
        chosen = [drawing(each) for each in contrasts]
        frame = self._series.read(at(self._series.shots(), position))
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
        tiles = self._tiles(columns * rows, begin, end, drawing(contrast), width)
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
        level = level_of(self._series, wanted)
        made = assembled(self._series.open(level.instance), level)
        return made if width is None else fitted(made, width)

    def tile(self, column: int, row: int, *, level: int = 0) -> Image:
        """Return a tile of a slide by column and row, from 0, on a level; 0 is the largest."""
        chosen = level_of(self._series, level)
        return tile(self._series.open(chosen.instance), chosen, column, row)

    def segmentation(self) -> Segmentation:
        """Return the segmentation that this series is.

        Raises
        ------
        SelectionError
            If it is none.
        """
        return Segmentation(self._series.open(self._series.instances()[0]))

    def overlay(
        self, segmentation: Segmentation, columns: int = 6, rows: int = 6, *, contrast: str = "default",
        width: int = TILE_WIDTH, opacity: float = 0.5, position: float | int | None = None,
    ) -> Image:  # fmt: skip
        """Return slices with the segments that were drawn on them.

        Parameters
        ----------
        segmentation
            See `segmentation`.
        columns, rows, contrast, width
            As for `mosaic`.
        opacity
            Of the colours, 0 to 1.
        position
            Only this slice, see `image`.
        """
        plain = drawing(contrast)

        def draw(frame: Frame) -> np.ndarray:
            return blended(plain(frame), segmentation.masks(frame.attributes), segmentation.segments, opacity)

        if position is not None:
            return fitted(shown(self._series.read(at(self._series.shots(), position)), draw), width)
        tiles = self._tiles(columns * rows, 0.0, 1.0, draw, width)
        return sheet(tiles, min(columns, len(tiles)))

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
        frames = self._tiles(most_frames, begin, end, drawing(contrast), width)
        data = video.encode(frames, target, frames_per_second)
        with written_whole(target) as unfinished:
            unfinished.write_bytes(data)
        return len(frames)

    def _tiles(self, count: int, begin: float, end: float, draw: Draw, width: int) -> list[Image]:
        shots = self._series.choose(count, begin, end)
        tiles = list(self._series.ranges.map(lambda each: self._tile(each, draw, width), shots))
        errors = [error for _, error in tiles if error is not None]
        if len(errors) == len(tiles):
            raise errors[0]
        self._series.problems.extend(map(str, errors))
        return [tile for tile, _ in tiles]

    def _repr_html_(self) -> str:
        picture = b64encode(self._repr_png_()).decode()
        said = "".join(f"<div>{escape(each)}</div>" for each in (*self.index.remarks, *self.problems))
        about = f"{escape(self.title)}: {len(self.index.instances):,} instances"
        return f'<div>{about}</div><img src="data:image/png;base64,{picture}" alt="{about}">{said}'

    def _repr_png_(self) -> bytes:
        is_slide = any(each.TotalPixelMatrixColumns for each in self.index.instances)
        return encoded(self.slide(width=640) if is_slide else self.mosaic(4, 3))

    def _tile(self, shot: Shot, draw: Draw, width: int) -> tuple[Image, DatasetDlError | None]:
        try:
            return fitted(shown(self._series.read(shot), draw), width), None
        except (UnreadableObject, NetworkError, StorageError) as error:
            return blank(width, error.message), error
