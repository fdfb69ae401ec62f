"""``dataset-dl preview …``: arguments and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, network
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError, UnreadableObject
from dataset_dl.wording import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from dataset_dl.model.plan import Plan
    from dataset_dl.preview.view import SeriesView

F = TypeVar("F", bound=Callable[..., Any])
_SERIES_SHOWN = 50
_SERIES = click.argument("series", metavar="SERIES")
_OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the picture here: .png, .webp or .jpg.  [default: show it in the terminal]",
)  # fmt: skip
_CONTRAST = click.option(
    "--contrast", default="default", metavar="NAME|W/L",
    help="auto, embedded, a preset like lung, or width/level like 1500/-500.  [default: embedded, else auto]",
)  # fmt: skip
_POSITION = click.option(
    "--position", type=float, metavar="P", help="0.0 is the first slice, 1.0 the last.  [default: 0.5]"
)
_SLICE = click.option(
    "--slice", "number", type=int, metavar="N", help="The slice by number, from 0; -1 is the last."
)
_GROUP = click.option(
    "--group", type=click.IntRange(min=0), default=0, metavar="N",
    help="Which of several groups of slices that do not belong together; 0 is the largest.",
)  # fmt: skip
_MAX_BYTES = click.option(
    "--max-bytes", type=click.IntRange(min=1), metavar="N",
    help="Read objects whole only up to this size, on servers that send no parts.  [default: 67108864]",
)  # fmt: skip
_SCAN = click.option(
    "--scan", is_flag=True, help="Read a whole object if no table tells where its frames are."
)


@click.group()
def preview() -> None:
    """Look at a series without downloading it, by its UID, crdc series uuid, address or directory."""


def _looking(function: F) -> F:
    """Add SERIES and the options of all commands that look at one."""
    for option in reversed((_SERIES, _GROUP, _MAX_BYTES, network)):
        function = option(function)
    return function


@contextmanager
def _view(series: str, options: dict[str, Any], **more: Any) -> Iterator[SeriesView]:
    """Open a series; report what was mixed in it, and fail if some of it could not be read."""
    from dataset_dl.preview import look
    from dataset_dl.preview.finding import SeveralSeries

    try:
        view = look(series, **options, **more)
    except SeveralSeries as error:
        _list_series(error.plan)
        raise
    with view:
        yield view
        _report(view)


def _list_series(plan: Plan) -> None:
    """List the series to choose from."""
    rows = (
        (each.SeriesInstanceUID, each.Modality, each.instanceCount, each.PatientID)
        for each in islice(plan, _SERIES_SHOWN)
    )
    write(("SeriesInstanceUID", "Modality", "instances", "PatientID"), rows, "table", sys.stderr)
    if plan.series_count > _SERIES_SHOWN:
        click.echo(
            f"and {plan.series_count - _SERIES_SHOWN:,} more; `dataset-dl idc browse` shows all", err=True
        )


def _report(view: SeriesView) -> None:
    """Say what is mixed.

    Raises
    ------
    UnreadableObject
        If some of it could not be read.
    """
    index = view.index
    for remark in index.remarks:
        click.echo(f"Mixed: {remark}. --group chooses; shown is one of {_groups(view)}.", err=True)
    if problems := list(dict.fromkeys(view.problems)):
        for each in problems[:-1]:
            click.echo(each, err=True)
        raise UnreadableObject(view.title, f"{problems[-1]} Everything else is shown.")


def _groups(view: SeriesView) -> str:
    several = {each.Group for each in view.index.instances}
    return counted(len(several), "group")


def _put(made: Image, output: Path | None) -> None:
    """Write a picture to a file, or show it."""
    from dataset_dl.pixels.pictures import encoded, kind_of
    from dataset_dl.pixels.pictures import write as write_picture

    if output is None:
        from dataset_dl.preview.terminal import show

        show(made, sys.stdout)
        return
    data = encoded(made, kind_of(output))
    write_picture(data, output)
    click.echo(f"{output}: {made.width} × {made.height}, {size(len(data))}", err=True)


def _place(position: float | None, number: int | None) -> float | int:
    if position is not None and number is not None:
        raise click.UsageError("--position and --slice exclude each other.")
    return number if number is not None else 0.5 if position is None else position


def _check(output: Path | None) -> None:
    """Reject a wrong file name before anything is fetched."""
    if output is not None:
        from dataset_dl.pixels.pictures import kind_of

        kind_of(output)


@preview.command(cls=Command)
@_looking
@_OUTPUT
@_CONTRAST
@click.option("--columns", type=click.IntRange(1, 100), default=6, show_default=True, help="Tiles in a row.")
@click.option("--rows", type=click.IntRange(1, 100), default=6, show_default=True, help="Rows of tiles.")
@click.option(
    "--width", type=click.IntRange(8, 4096), default=160, show_default=True, help="Pixels of a tile."
)
@click.option("--begin", type=float, default=0.0, metavar="P", help="Only slices from this position on.")
@click.option("--end", type=float, default=1.0, metavar="P", help="Only slices up to this position.")
@click.option("--quick", is_flag=True, help="Read only the slices that are shown; only these are sorted.")
@_SCAN
def mosaic(
    series: str, output: Path | None, contrast: str, columns: int, rows: int, width: int, begin: float,
    end: float, quick: bool, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Show slices of a series, evenly chosen, on one sheet."""
    with _view(series, options, quick=quick, scan=scan) as view:
        _check(output)
        _put(view.mosaic(columns, rows, contrast=contrast, width=width, begin=begin, end=end), output)


@preview.command(cls=Command)
@_looking
@_OUTPUT
@_CONTRAST
@_POSITION
@_SLICE
@click.option("--width", type=click.IntRange(8, 16384), metavar="PIXELS", help="Shrink the picture to this.")
@_SCAN
def image(
    series: str, output: Path | None, contrast: str, position: float | None, number: int | None,
    width: int | None, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Show one slice."""
    with _view(series, options, scan=scan) as view:
        _check(output)
        _put(view.image(_place(position, number), contrast=contrast, width=width), output)


@preview.command(cls=Command)
@_looking
@_OUTPUT
@click.option(
    "--contrast", "contrasts", multiple=True, metavar="NAME|W/L",
    help="May be repeated.  [default: auto, embedded, ct-lung, ct-bone, ct-soft-tissue]",
)  # fmt: skip
@_POSITION
@_SLICE
@click.option("--width", type=click.IntRange(8, 4096), default=320, show_default=True, help="Pixels of each.")
@_SCAN
def contrast(
    series: str, output: Path | None, contrasts: tuple[str, ...], position: float | None,
    number: int | None, width: int, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Show one slice under several contrasts, side by side."""
    several = contrasts or ("auto", "embedded", "ct-lung", "ct-bone", "ct-soft-tissue")
    with _view(series, options, scan=scan) as view:
        _check(output)
        _put(view.contrasts(_place(position, number), several, width=width), output)


@preview.command(cls=Command)
@_looking
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the table here: .parquet, .json or .csv.  [default: print it]",
)  # fmt: skip
@FORMAT
def headers(series: str, output: Path | None, form: Format, **options: Any) -> None:
    """List the whole headers of all instances: a row an instance, a column an element."""
    from dataset_dl.preview.tables import kind_of_table, write_table

    kind = None if output is None else kind_of_table(output)
    with _view(series, options) as view:
        columns, rows = view.header_rows()
        if output is None:
            write(columns, rows, form, sys.stdout, shown=_shown_first(columns))
        else:
            write_table(columns, rows, output, kind or "csv")
            click.echo(f"{output}: {counted(len(rows), 'row')}, {counted(len(columns), 'column')}", err=True)


def _shown_first(columns: list[str]) -> list[str]:
    first = ["Index", "Group", "PrimaryPosition", "InstanceNumber", "SOPInstanceUID", "FileName"]
    return [each for each in first if each in columns]


@preview.command(cls=Command)
@_looking
@_POSITION
@_SLICE
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME",
    help="Only this element, like PatientID or 0008,0060. May be repeated.",
)
@FORMAT
def header(
    series: str,
    position: float | None,
    number: int | None,
    tags: tuple[str, ...],
    form: Format,
    **options: Any,
) -> None:
    """List the whole header of one instance."""
    from dataset_dl.preview.tables import element_rows

    with _view(series, options) as view:
        rows = element_rows(view.header(_place(position, number)), tags)
        if tags and not rows:
            raise SelectionError(", ".join(tags), f"The header has no {', '.join(tags)}.")
        write(("tag", "VR", "keyword", "value"), rows, form, sys.stdout)


@preview.command(cls=Command)
@_looking
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", required=True,
    help="Write the video here: .webp, .gif or .png, or .webm or .mp4 by an ffmpeg on this machine.",
)  # fmt: skip
@_CONTRAST
@click.option(
    "--fps", type=click.FloatRange(0.1, 100), default=10.0, show_default=True, help="Frames a second."
)
@click.option("--width", type=click.IntRange(8, 4096), default=512, show_default=True, help="Pixels at most.")
@click.option("--begin", type=float, default=0.0, metavar="P", help="Only slices from this position on.")
@click.option("--end", type=float, default=1.0, metavar="P", help="Only slices up to this position.")
@click.option(
    "--frames", type=click.IntRange(2), default=600, show_default=True, help="At most so many, evenly chosen."
)
@click.option("--quick", is_flag=True, help="Read only the slices that are shown; only these are sorted.")
@_SCAN
def video(
    series: str, output: Path, contrast: str, fps: float, width: int, begin: float, end: float, frames: int,
    quick: bool, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Run through the slices of a series as a video."""
    from dataset_dl.preview.video import check_kind

    check_kind(output)
    with _view(series, options, quick=quick, scan=scan) as view:
        count = view.video(
            output, contrast=contrast, width=width, begin=begin, end=end, most_frames=frames,
            frames_per_second=fps,
        )  # fmt: skip
        click.echo(f"{output}: {counted(count, 'frame')}, {size(output.stat().st_size)}", err=True)
