"""``idc collections``, ``indices``, ``columns``, ``query``, ``browse``: look without downloading."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from dataset_dl.cli import completion
from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, network
from dataset_dl.cli.tables import Format, write
from dataset_dl.wording import shortened

if TYPE_CHECKING:
    from dataset_dl.verbs.options import NetworkOptions

_DESCRIPTION_SHOWN = 120


@click.command(cls=Command)
@click.option(
    "--search", metavar="TEXT", help="Only collections whose name, cancer types or description contain it."
)
@FORMAT
def collections(search: str | None, form: Format) -> None:
    """List the collections with their totals."""
    from dataset_dl.sources.idc import listing
    from dataset_dl.wording import size

    found = listing.collections(search)
    columns = listing.Listed._fields
    if form != "table":
        write(columns, found, form, sys.stdout)
        return
    place = columns.index("size_bytes")
    rows = [
        (
            *row[:place],
            size(row.size_bytes),
            *(str(text or "").replace(",", ", ") for text in row[place + 1 : -1]),
            _beginning(row.description),
        )
        for row in found
    ]
    names = [*columns[:place], "size", *columns[place + 1 :]]
    shown = ["id", "subjects", "series", "size", "modalities", "cancer_types", "licenses", "instances"]
    shown.append("description")
    write(names, rows, form, sys.stdout, shown=shown)
    if not rows:
        click.echo(f"No collection contains “{search}”.", err=True)


def _beginning(description: str | None) -> str:
    """Shorten a description for a table; programs get all of it."""
    return shortened(description or "", _DESCRIPTION_SHOWN)


@click.group(invoke_without_command=True)
@FORMAT
@click.pass_context
def indices(context: click.Context, form: Format) -> None:
    """List every table that IDC publishes, and whether it is on this machine."""
    from dataset_dl.sources.idc import catalog

    if context.invoked_subcommand is None:
        write(("name", "here", "description"), catalog.indices(), form, sys.stdout)


@indices.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="INDEX...", shell_complete=completion.tables)
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path),
    help="Read the table from this file (clinical_index: directory), for a machine that cannot fetch it.",
)
@network
def fetch(names: tuple[str, ...], file: Path | None, **options: Unpack[NetworkOptions]) -> None:
    """Fetch tables that are not part of the package, once for each version of the index."""
    from dataset_dl.verbs.look import fetch_index

    if file is not None and len(names) > 1:
        raise click.UsageError("A file holds one table; give a single name with --from.")
    for name in names:
        click.echo(f"{name}: {fetch_index(name, from_file=file, **options)}", err=True)


@indices.command(cls=Command)
@click.option("--version", metavar="N", help="The version, like 25.0.5.  [default: the newest published]")
@click.option(
    "--from",
    "directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Read the files from this directory, for a machine that cannot fetch them.",
)
@network
def update(version: str | None, directory: Path | None, **options: Unpack[NetworkOptions]) -> None:
    """Install a newer or an older index with its tables."""
    from dataset_dl.verbs.look import update_index

    found = update_index(version, from_directory=directory, **options)
    click.echo(found.sentence)


@click.command(cls=Command)
@click.argument("index", shell_complete=completion.tables)
@FORMAT
def columns(index: str, form: Format) -> None:
    """List the columns of a table: name, type, description."""
    from dataset_dl.sources.idc import catalog

    write(("name", "type", "description"), catalog.columns(index), form, sys.stdout)


@click.command(cls=Command)
@click.argument("sql")
@FORMAT
def query(sql: str, form: Format) -> None:
    """Run one SELECT over the tables, by their names. It can read nothing else and write nothing."""
    from dataset_dl.sources.idc import tables

    result = tables.query(sql)
    write(result.columns, result, form, sys.stdout)


@click.command(cls=Command)
@click.argument("identifier", metavar="[ID]", required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the address and open nothing.")
def browse(identifier: str | None, only_print: bool) -> None:
    """Open the page of a collection, or the viewer for a study or series."""
    from dataset_dl.sources.idc.catalog import PORTAL_URL
    from dataset_dl.verbs.look import page_url

    url = page_url(identifier) if identifier else f"{PORTAL_URL}/explore/"
    if only_print or not _opened(url):
        click.echo(url)


def _opened(url: str) -> bool:
    import webbrowser

    # Without a screen, a text browser would take over the terminal.
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    return webbrowser.open(url)
