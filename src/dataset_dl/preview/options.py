"""What the commands of ``dataset-dl preview`` share: SERIES, options, and how a picture is put out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataset_dl.cli.options import network
from dataset_dl.cli.tables import write
from dataset_dl.errors import UnreadableObject
from dataset_dl.pixels.kinds import PICTURES, kind_of
from dataset_dl.wording import counted, size

if TYPE_CHECKING:
    from PIL.Image import Image

    from dataset_dl.model.plan import Plan
    from dataset_dl.preview.view import SeriesView

F = TypeVar("F", bound=Callable[..., Any])
_SERIES_SHOWN = 50
_SERIES = click.argument("series", metavar="SERIES")


def _picture(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Reject a file name without the ending of a picture, before anything is fetched."""
    if value is not None:
        kind_of(value, PICTURES)
    return value


OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", callback=_picture,
    help="Write the picture here: .png, .webp or .jpg.  [default: show it in the terminal]",
)  # fmt: skip
CONTRAST = click.option(
    "--contrast", default="default", metavar="NAME|W/L",
    help="auto, embedded, a preset like lung, or width/level like 1500/-500.  [default: embedded, else auto]",
)  # fmt: skip
POSITION = click.option(
    "--position", type=float, metavar="P", help="0.0 is the first slice, 1.0 the last.  [default: 0.5]"
)
SLICE = click.option(
    "--slice", "number", type=int, metavar="N", help="The slice by number, from 0; -1 is the last."
)
OFFSET = click.option(
    "--offset", type=int, default=0, metavar="N", help="So many slices further, or back if negative."
)
COLUMNS = click.option(
    "--columns", type=click.IntRange(1, 100), default=6, show_default=True, help="Tiles in a row."
)
ROWS = click.option(
    "--rows", type=click.IntRange(1, 100), default=6, show_default=True, help="Rows of tiles."
)
TILE = click.option(
    "--width", type=click.IntRange(8, 4096), default=160, show_default=True, help="Pixels of a tile."
)
BEGIN = click.option(
    "--begin", type=float, default=0.0, metavar="P", help="Only slices from this position on."
)
END = click.option("--end", type=float, default=1.0, metavar="P", help="Only slices up to this position.")
QUICK = click.option(
    "--quick", is_flag=True, help="Read only the slices that are shown; only these are sorted."
)
_GROUP = click.option(
    "--group", type=click.IntRange(min=0), default=0, metavar="N",
    help="Which of several groups of slices that do not belong together; 0 is the largest.",
)  # fmt: skip
_MAX_BYTES = click.option(
    "--max-bytes", type=click.IntRange(min=1), metavar="N",
    help="Read objects whole only up to this size, on servers that send no parts.  [default: 67108864]",
)  # fmt: skip
SCAN = click.option(
    "--scan", is_flag=True, help="Read a whole object if no table tells where its frames are."
)


def looking(function: F) -> F:
    """Add SERIES and the options of all commands that look at one."""
    for option in reversed((_SERIES, _GROUP, _MAX_BYTES, network)):
        function = option(function)
    return function


@contextmanager
def viewing(series: str, options: dict[str, Any], **more: Any) -> Iterator[SeriesView]:
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
        raise UnreadableObject(view.title, problems[-1])


def _groups(view: SeriesView) -> str:
    several = {each.Group for each in view.index.instances}
    return counted(len(several), "group")


def put(made: Image, output: Path | None) -> None:
    """Write a picture to a file, or show it."""
    from dataset_dl.pixels.pictures import encoded
    from dataset_dl.scratch import written_whole

    if output is None:
        from dataset_dl.preview.terminal import show

        show(made, sys.stdout)
        return
    data = encoded(made, kind_of(output, PICTURES))
    with written_whole(output) as unfinished:
        unfinished.write_bytes(data)
    click.echo(f"{output}: {made.width} × {made.height}, {size(len(data))}", err=True)


def place(view: SeriesView, position: float | None, number: int | None, offset: int = 0) -> float | int:
    """Return the place that --position or --slice and --offset name."""
    if position is not None and number is not None:
        raise click.UsageError("--position and --slice exclude each other.")
    chosen = number if number is not None else 0.5 if position is None else position
    if not offset:
        return chosen
    moved = view.number_of(chosen) + offset
    if moved < 0:
        raise click.UsageError(f"There is no slice {moved}; --offset leads out of the series.")
    return moved
