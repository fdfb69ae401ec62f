"""``dataset-dl preview …``: arguments and exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError
from dataset_dl.pixels.kinds import kind_of
from dataset_dl.preview.options import (
    BEGIN,
    COLUMNS,
    CONTRAST,
    END,
    OFFSET,
    OUTPUT,
    POSITION,
    QUICK,
    ROWS,
    SCAN,
    SLICE,
    TILE,
    looking,
    place,
    put,
    viewing,
)
from dataset_dl.wording import counted, size


@click.group()
def preview() -> None:
    """Look at a series without downloading it, by its UID, crdc series uuid, address or directory."""


@preview.command(cls=Command)
@looking
@OUTPUT
@CONTRAST
@COLUMNS
@ROWS
@TILE
@BEGIN
@END
@QUICK
@SCAN
def mosaic(
    series: str, output: Path | None, contrast: str, columns: int, rows: int, width: int, begin: float,
    end: float, quick: bool, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Show slices of a series, evenly chosen, on one sheet."""
    with viewing(series, options, quick=quick, scan=scan) as view:
        put(view.mosaic(columns, rows, contrast=contrast, width=width, begin=begin, end=end), output)


@preview.command(cls=Command)
@looking
@OUTPUT
@CONTRAST
@POSITION
@SLICE
@OFFSET
@click.option("--width", type=click.IntRange(8, 16384), metavar="PIXELS", help="Shrink the picture to this.")
@SCAN
def image(
    series: str, output: Path | None, contrast: str, position: float | None, number: int | None, offset: int,
    width: int | None, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Show one slice."""
    with viewing(series, options, scan=scan) as view:
        put(view.image(place(view, position, number, offset), contrast=contrast, width=width), output)


@preview.command(cls=Command)
@looking
@OUTPUT
@click.option(
    "--contrast", "contrasts", multiple=True, metavar="NAME|W/L",
    help="May be repeated.  [default: auto, embedded, ct-lung, ct-bone, ct-soft-tissue]",
)  # fmt: skip
@POSITION
@SLICE
@OFFSET
@click.option("--width", type=click.IntRange(8, 4096), default=320, show_default=True, help="Pixels of each.")
@SCAN
def contrast(
    series: str, output: Path | None, contrasts: tuple[str, ...], position: float | None,
    number: int | None, offset: int, width: int, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Show one slice under several contrasts, side by side."""
    several = contrasts or ("auto", "embedded", "ct-lung", "ct-bone", "ct-soft-tissue")
    with viewing(series, options, scan=scan) as view:
        put(view.contrasts(place(view, position, number, offset), several, width=width), output)


@preview.command(cls=Command)
@looking
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the table here: .parquet, .json or .csv.  [default: print it]",
)  # fmt: skip
@FORMAT
def headers(series: str, output: Path | None, form: Format, **options: Any) -> None:
    """List the whole headers of all instances: a row an instance, a column an element."""
    from dataset_dl.preview.tables import KINDS, write_table

    kind = "" if output is None else kind_of(output, KINDS)
    with viewing(series, options) as view:
        columns, rows = view.header_rows()
        if output is None:
            write(columns, rows, form, sys.stdout, shown=_shown_first(columns))
        else:
            write_table(columns, rows, output, kind)
            click.echo(f"{output}: {counted(len(rows), 'row')}, {counted(len(columns), 'column')}", err=True)


def _shown_first(columns: list[str]) -> list[str]:
    first = ["Index", "Group", "PrimaryPosition", "InstanceNumber", "SOPInstanceUID", "FileName"]
    return [each for each in first if each in columns]


@preview.command(cls=Command)
@looking
@POSITION
@SLICE
@OFFSET
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
    offset: int,
    tags: tuple[str, ...],
    form: Format,
    **options: Any,
) -> None:
    """List the whole header of one instance."""
    from dataset_dl.preview.tables import element_rows

    with viewing(series, options) as view:
        rows = element_rows(view.header(place(view, position, number, offset)), tags)
        if tags and not rows:
            raise SelectionError(", ".join(tags), f"The header has no {', '.join(tags)}.")
        write(("tag", "VR", "keyword", "value"), rows, form, sys.stdout)


@preview.command(cls=Command)
@looking
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", required=True,
    help="Write the video here: .webp, .gif or .png, or .webm or .mp4 by an ffmpeg on this machine.",
)  # fmt: skip
@CONTRAST
@click.option(
    "--fps", type=click.FloatRange(0.1, 100), default=10.0, show_default=True, help="Frames a second."
)
@click.option("--width", type=click.IntRange(8, 4096), default=512, show_default=True, help="Pixels at most.")
@BEGIN
@END
@click.option(
    "--frames", type=click.IntRange(2), default=600, show_default=True, help="At most so many, evenly chosen."
)
@QUICK
@SCAN
def video(
    series: str, output: Path, contrast: str, fps: float, width: int, begin: float, end: float, frames: int,
    quick: bool, scan: bool, **options: Any,
) -> None:  # fmt: skip
    """Run through the slices of a series as a video."""
    from dataset_dl.preview.video import check_kind

    check_kind(output)
    with viewing(series, options, quick=quick, scan=scan) as view:
        count = view.video(
            output, contrast=contrast, width=width, begin=begin, end=end, most_frames=frames,
            frames_per_second=fps,
        )  # fmt: skip
        click.echo(f"{output}: {counted(count, 'frame')}, {size(output.stat().st_size)}", err=True)


@preview.command(cls=Command)
@looking
@OUTPUT
@click.option(
    "--kind",
    type=click.Choice(["thumbnail", "label", "overview"]),
    help="One of the pictures that come with a slide.",
)
@click.option("--level", type=click.IntRange(min=0), metavar="N", help="A level; 0 is the largest.")
@click.option("--width", type=click.IntRange(8, 16384), metavar="PIXELS", help="Shrink the picture to this.")
@click.option("--list", "lists", is_flag=True, help="List the levels and pictures of the slide.")
@SCAN
@FORMAT
def slide(
    series: str, output: Path | None, kind: str | None, level: int | None, width: int | None, lists: bool,
    scan: bool, form: Format, **options: Any,
) -> None:  # fmt: skip
    """Show a whole slide image: its thumbnail, or else its smallest level."""
    if kind is not None and level is not None:
        raise click.UsageError("--kind and --level exclude each other.")
    with viewing(series, options, scan=scan) as view:
        if not lists:
            put(view.slide(kind if level is None else level, width=width), output)
            return
        rows = (
            (
                each.kind.lower(), each.number if each.number >= 0 else None, each.width, each.height,
                each.columns, each.rows, each.instance.size_bytes, each.instance.SOPInstanceUID,
            )
            for each in view.levels()
        )  # fmt: skip
        names = ("kind", "level", "width", "height", "columns", "rows", "size_bytes", "SOPInstanceUID")
        write(names, rows, form, sys.stdout)


@preview.command(cls=Command)
@looking
@OUTPUT
@click.option(
    "--level", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="0 is the largest."
)
@click.option("--column", type=click.IntRange(min=0), required=True, metavar="N", help="Of the tile, from 0.")
@click.option("--row", type=click.IntRange(min=0), required=True, metavar="N", help="Of the tile, from 0.")
@SCAN
def tile(
    series: str, output: Path | None, level: int, column: int, row: int, scan: bool, **options: Any
) -> None:
    """Show one tile of a whole slide image."""
    with viewing(series, options, scan=scan) as view:
        put(view.tile(column, row, level=level), output)


@preview.command(cls=Command)
@looking
@OUTPUT
@click.option("--on", "images", metavar="SERIES", help="The images.  [default: those that it was drawn on]")
@CONTRAST
@COLUMNS
@ROWS
@TILE
@click.option(
    "--opacity", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the colours."
)
@POSITION
@SLICE
@OFFSET
def overlay(
    series: str, output: Path | None, images: str | None, contrast: str, columns: int, rows: int, width: int,
    opacity: float, position: float | None, number: int | None, offset: int, **options: Any,
) -> None:  # fmt: skip
    """Show a segmentation (SEG) on the images that it was drawn on; with a position, on a single slice."""
    with viewing(series, dict(options)) as drawn:
        segmentation = drawn.segmentation()
        on = images or segmentation.source_series
        if on is None:
            raise SelectionError(series, f"{series} does not say what it was drawn on.", "Name it with --on.")
        with viewing(on, {**options, "group": 0}) as view:
            is_one = position is not None or number is not None
            only = place(view, position, number, offset) if is_one else None
            made = view.overlay(
                segmentation, columns, rows, contrast=contrast, width=width, opacity=opacity, position=only
            )
            put(made, output)
    for each in segmentation.segments.values():
        click.echo(f"{each.number} {each.label}: rgb{each.colour}", err=True)
