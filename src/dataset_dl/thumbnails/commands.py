"""``dataset-dl thumbnails`` and ``dataset-dl label``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, Directory
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError, UnreadableObject
from dataset_dl.thumbnails.settings import Format as Kind
from dataset_dl.thumbnails.settings import Settings, Shape
from dataset_dl.wording import counted, duration, visible

if TYPE_CHECKING:
    from dataset_dl.thumbnails.tree import Summary

_OUT = click.argument("thumbnails", type=Directory(), metavar="DIR")


@click.command(cls=Command)
@click.argument("directory", type=Directory())
@click.option(
    "-o", "--output", type=Directory(), metavar="DIR", help="Where to put them.  [default: DIR-thumbnails]"
)
@click.option(
    "--size", type=int, default=Settings.size, show_default=True, metavar="PIXELS",
    help="The longer side at most; of a square, both sides.",
)  # fmt: skip
@click.option(
    "--shape", type=click.Choice(get_args(Shape)), default=Settings.shape, show_default=True,
    help="As the image is, or in the middle of a square.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(get_args(Kind)), default=Settings.format, show_default=True,
    help="Of the pictures.",
)  # fmt: skip
@click.option(
    "--contrast", default=Settings.contrast, show_default=True, metavar="NAME",
    help="auto, embedded, a preset like ct-lung, or WIDTH/LEVEL.",
)  # fmt: skip
@click.option(
    "--draft", is_flag=True, help="Decode JPEG 2000 only as far as the size needs: faster, less exact."
)
@click.option(
    "--processes", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one a core]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def thumbnails(
    directory: Path,
    output: Path | None,
    size: int,
    shape: str,
    kind: str,
    contrast: str,
    draft: bool,
    processes: int | None,
    as_json: bool,
) -> None:
    """Make thumbnails of every DICOM image below a directory, with a database and a contact sheet.

    The same command makes only what is new or has changed.
    """
    from dataset_dl.observers import observing
    from dataset_dl.observers.display import display
    from dataset_dl.thumbnails.tree import make_thumbnails

    settings = Settings(size, cast(Shape, shape), cast(Kind, kind), contrast, draft)
    with observing([display("plain", sys.stderr)]) as show:
        summary = make_thumbnails(directory, output, settings=settings, processes=processes, show=show)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    else:
        _show(summary)
    if failures := summary.failures + summary.known_failures:
        raise UnreadableObject(
            str(directory),
            f"{failures:,} frames or files could not be shown; the database has each with its cause.",
            "The others are done.",
        )


def _show(summary: Summary) -> None:
    new = summary.files - summary.known_files
    click.echo(f"{summary.target}: {summary.pictures:,} pictures of {counted(new, 'file')}", nl=False)
    if summary.known_files:
        click.echo(f"; {summary.known_files:,} files have not changed", nl=False)
    click.echo()
    for cause, count in summary.causes.most_common():
        click.echo(f"  {cause}: {count:,}")
    for message in summary.messages:
        click.echo(visible(f"    {message}"))
    if not new:
        return
    phases = ", ".join(f"{name} {duration(spent)}" for name, spent in summary.seconds.items())
    rate = summary.pictures / max(summary.elapsed_seconds, 1e-3)
    click.echo(f"{duration(summary.elapsed_seconds)}, {rate:,.0f} pictures a second; all processes: {phases}")
    click.echo(f"Look through them: {summary.target / 'index.html'}")


@click.group()
def label() -> None:
    """Labels and splits of thumbnails."""


@label.command("set", cls=Command)
@_OUT
@click.argument("identifier", metavar="ID")
@click.argument("text", metavar="LABEL")
def set_label(thumbnails: Path, identifier: str, text: str) -> None:
    """Label the pictures of an id, a path, or a UID of an instance, a series or a study; "" removes it."""
    with _database(thumbnails) as database:
        found = database.pictures_of(identifier) if identifier and identifier.isprintable() else []
        if not found:
            raise SelectionError(identifier, f"{thumbnails} has no picture of {identifier}.")
        database.label(dict.fromkeys(found, text))
        _renew(database)
    click.echo(f"{counted(len(found), 'picture')} labelled", err=True)


@label.command("import", cls=Command)
@_OUT
@click.argument("file", type=click.File(encoding="utf-8-sig"))
def import_labels(thumbnails: Path, file: Iterable[str]) -> None:
    """Read labels from a CSV file with the columns id and label, like the contact sheet exports."""
    labels: dict[str, str | None] = {}
    try:
        reader = csv.DictReader(file)
        if not {"id", "label"} <= set(reader.fieldnames or ()):
            raise SelectionError("id", "The file has no columns id and label.", "No label was set.")
        for row in reader:
            if row["label"] is None or row["id"] in labels:
                what = "has no label" if row["label"] is None else f"names {row['id']} a second time"
                raise SelectionError("id", f"Line {reader.line_num} {what}.", "No label was set.")
            labels[row["id"]] = row["label"] or None
    except (csv.Error, UnicodeDecodeError) as error:
        raise SelectionError(
            "file", f"The file is no CSV in UTF-8: {error}.", "No label was set; save it as CSV UTF-8."
        ) from None
    with _database(thumbnails) as database:
        database.label(labels)
        _renew(database)
    click.echo(f"{counted(len(labels), 'picture')} labelled", err=True)


@label.command("export", cls=Command)
@_OUT
@click.option("--all", "everything", is_flag=True, help="Also pictures without a label.")
@FORMAT
def export_labels(thumbnails: Path, everything: bool, form: Format) -> None:
    """Write labels with what is known of each picture."""
    columns = (
        "id", "label", "split", "path", "frame", "PatientID", "StudyInstanceUID", "SeriesInstanceUID",
        "SOPInstanceUID", "Modality",
    )  # fmt: skip
    with _database(thumbnails) as database:
        rows = [
            tuple(row[name] for name in columns)
            for row in database.rows()
            if row["id"] and (everything or row["label"])
        ]
    write(columns, rows, form, sys.stdout)


@label.command("split", cls=Command)
@_OUT
@click.argument("parts", nargs=-1, required=True, metavar="NAME=FRACTION...")
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="S", help="Another one divides otherwise."
)
def split(thumbnails: Path, parts: tuple[str, ...], seed: int) -> None:
    """Divide the patients, now and those that come later; no patient is ever in two parts."""
    from dataset_dl.thumbnails.splits import Splits

    pairs = [_fraction(each) for each in parts]
    fractions = dict(pairs)
    if len(fractions) < len(pairs) or "" in fractions:
        raise SelectionError("parts", "Each part needs a name of its own.", "Write train=0.8 test=0.2.")
    with _database(thumbnails) as database:
        counts = database.split(Splits(fractions, seed))
        _renew(database)
    write(
        ("split", "pictures"),
        sorted((name or "", count) for name, count in counts.items()),
        "table",
        sys.stdout,
    )


def _fraction(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise SelectionError(text, f"“{text}” is no part.", "Write them like train=0.8 test=0.2.") from None


def _database(thumbnails: Path) -> Any:
    from dataset_dl.thumbnails.database import Database

    return Database(thumbnails, must_exist=True)


def _renew(database: Any) -> None:
    """Write again what is made from the database."""
    from dataset_dl.thumbnails.sheet import write_sheet

    database.export()
    write_sheet(database)
