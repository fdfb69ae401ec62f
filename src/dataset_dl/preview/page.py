"""The page of a series: pictures that the server makes from ranged reads."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import EVERYBODY, Answer, Call, Given, Page, Place
from dataset_dl.preview import look, require

if TYPE_CHECKING:
    from PIL.Image import Image

    from dataset_dl.preview.view import SeriesView

# Nothing else: `look` also takes paths and addresses, which the page must not read.
_IDENTIFIER = re.compile(r"[0-9]+(\.[0-9]+){2,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_OPEN = 6
_FRESH_SECONDS = 300
_WIDEST = 2048


class _Views:
    """The series that were looked at last, which stay open."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str | Path, object], tuple[SeriesView, Lock]] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def view(self, place: Place, identifier: str) -> Iterator[SeriesView]:
        """Give a series whose index is built; it is built once. One that was downloaded is not fetched."""
        if not _IDENTIFIER.fullmatch(identifier) or len(identifier) > 64:
            raise SelectionError(identifier, "This is neither a SeriesInstanceUID nor a crdc series uuid.")
        directory = place.directory_of(identifier)
        what: str | Path = directory or identifier
        which = what, _state_of(directory)
        with self._lock:
            known = self._open.get(which)
            if known is None:
                known = self._open[which] = look(what), Lock()
            self._open.move_to_end(which)
            while len(self._open) > _MOST_OPEN:
                # Forgotten, not closed, because another thread may be reading.
                self._open.popitem(last=False)
        view, lock = known
        with lock:
            len(view)
        yield view


def _state_of(directory: Path | None) -> object:
    """Return what changes whenever a file of a series on the disk does: then it is read anew."""
    if directory is None:
        return None
    with os.scandir(directory) as entries:
        files = [(each.name, each.stat()) for each in entries]
    return tuple(sorted((name, found.st_size, found.st_mtime_ns) for name, found in files))


_views = _Views()


def series(place: Place, given: Given) -> dict[str, Any]:
    """Tell what a series is, and how it can be shown."""
    from dataset_dl.pixels.contrast import PRESETS
    from dataset_dl.sources.idc import asking

    identifier = given.text("series")
    with _views.view(place, identifier) as view:
        instances = view.index.instances
        levels = view.levels() if any(each.TotalPixelMatrixColumns for each in instances) else []
        rows = []
        with suppress(SelectionError):  # one of another archive, which was fetched to be looked at
            rows = asking.series([identifier], (), limit=1)
        modality = (rows[0]["Modality"] if rows else str(view.header(0).get("Modality") or "")).lower()
        return {
            "title": view.title,
            "frames": len(view),
            "instances": len(instances),
            "rows": instances[0].Rows,
            "columns": instances[0].Columns,
            "levels": [
                {
                    "name": level.kind.lower() if level.number < 0 else str(level.number),
                    "width": level.width,
                    "height": level.height,
                    "tile_width": level.instance.Columns,
                    "tile_height": level.instance.Rows,
                }
                for level in levels
            ],
            "positions": view.positions,
            "presets": [name for name in PRESETS if modality and name.startswith(modality)],
            "remarks": list(view.index.remarks),
            "problems": view.problems[:20],
            "requests": view.requests,
            "received_bytes": view.received_bytes,
            "about": rows[0] if rows else {},
        }


def image(place: Place, given: Given) -> Answer:
    """Return a picture of a slice."""
    with _views.view(place, given.text("series")) as view:
        return _picture(
            view.image(
                int(given.number("position", 0, most=10**7)), contrast=_contrast(given), width=_width(given)
            )
        )


def mosaic(place: Place, given: Given) -> Answer:
    """Return a sheet of slices."""
    side = [int(given.number(name, 6, least=1, most=12)) for name in ("columns", "rows")]
    width = int(given.number("width", 160, least=16, most=512))
    with _views.view(place, given.text("series")) as view:
        return _picture(view.mosaic(*side, contrast=_contrast(given), width=width))


def slide(place: Place, given: Given) -> Answer:
    """Return a whole image of a slide."""
    level = given.text("level", "")
    with _views.view(place, given.text("series")) as view:
        return _picture(view.slide(int(level) if level.isdigit() else level or None, width=_width(given)))


def tile(place: Place, given: Given) -> Answer:
    """Return a tile of a slide."""
    column, row, level = (int(given.number(name, 0, most=10**6)) for name in ("column", "row", "level"))
    with _views.view(place, given.text("series")) as view:
        return _picture(view.tile(column, row, level=level))


def header(place: Place, given: Given) -> list[tuple[str, str, str, Any]]:
    """Return the header of a slice: tag, VR, keyword and value of each element."""
    from dataset_dl.preview.tables import element_rows

    with _views.view(place, given.text("series")) as view:
        return element_rows(view.header(int(given.number("position", 0, most=10**7))))


def _contrast(given: Given) -> str:
    return given.text("contrast", "default")


def _width(given: Given) -> int:
    return int(given.number("width", 768, least=16, most=_WIDEST))


def _picture(made: Image) -> Answer:
    from dataset_dl.pixels.pictures import encoded

    return Answer(encoded(made, "WEBP"), "image/webp", fresh_seconds=_FRESH_SECONDS)


_SERIES = {"series": "A SeriesInstanceUID or a crdc series uuid."}
_SHOWN = {
    "contrast": "As for `preview --contrast`: default, auto, embedded, a preset, or WIDTH/LEVEL.",
    "width": "The longer side in pixels at most.",
}
_POSITION = {"position": "The number of the frame, from 0."}
_LEVEL = {"level": "The number of a level, from 0 for the largest; or thumbnail, label, overview."}
PAGE = Page(
    "Series",
    Path(__file__).parent / "static" / "page.js",
    (
        Call(
            "series/{series}", series, "What a series is, and how it can be shown.", _SERIES, rights=EVERYBODY
        ),
        Call(
            "series/{series}/image",
            image,
            "A picture of a slice.",
            {**_SERIES, **_POSITION, **_SHOWN},
            rights=EVERYBODY,
        ),
        Call(
            "series/{series}/mosaic",
            mosaic,
            "A sheet of slices.",
            {**_SERIES, **_SHOWN, "columns": "Tiles across.", "rows": "Tiles down."},
            rights=EVERYBODY,
        ),
        Call(
            "series/{series}/header",
            header,
            "The header of a slice.",
            {**_SERIES, **_POSITION},
            rights=EVERYBODY,
        ),
        Call(
            "series/{series}/slide",
            slide,
            "A whole image of a slide.",
            {**_SERIES, **_LEVEL, "width": _SHOWN["width"]},
            rights=EVERYBODY,
        ),
        Call(
            "series/{series}/tile",
            tile,
            "A tile of a slide.",
            {**_SERIES, "level": "From 0.", "column": "From 0.", "row": "From 0."},
            rights=EVERYBODY,
        ),
    ),
    require,
    rights=EVERYBODY,
)
