"""``dataset-dl xnat …``: series into a project of XNAT, where they stand, and a container for XNAT."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from dataset_dl.cli.deliver import deliver as deliver_series
from dataset_dl.cli.download import download
from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, Directory
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError
from dataset_dl.wording import counted
from dataset_dl.xnat.names import SESSION, SUBJECT

_NAME = "img.zip"
_LAYOUT = "%StudyInstanceUID/%SeriesInstanceUID"
_STATES = ("confirmed", "committed", "uploaded", "skipped", "verified", "absent")


@click.group()
def xnat() -> None:
    """XNAT: verified series into a project, each once.

    The account comes from XNAT_USER and XNAT_PASS, also an alias token and its secret, or from ~/.netrc.
    """


EXISTING = click.option(
    "--existing",
    type=click.Choice(["error", "skip", "append", "replace"]),
    default="error",
    show_default=True,
    help="If the archive has a session already: fail, leave it, add what it lacks, or replace its files.",
)
INTO = click.option(
    "--into",
    type=click.Choice(["archive", "prearchive"]),
    default="archive",
    show_default=True,
    help="Where sessions end; from the prearchive, people archive them.",
)


@xnat.command(
    cls=Command,
    examples=(
        "dataset-dl xnat deliver data --to xnat:https://xnat.example.org/LUNG --dry-run",
        "dataset-dl idc download cohort.csv --to data --then xnat:https://xnat.example.org/LUNG --evict",
    ),
)
@click.argument("directory", type=Directory())
@click.option(
    "--to",
    required=True,
    metavar="xnat:URL/PROJECT",
    help="The project; xnat:PROJECT is one of the server that XNAT_HOST names.",
)
@click.option("--subject", default=SUBJECT, show_default=True, metavar="TEMPLATE", help="Labels of subjects.")
@click.option("--session", default=SESSION, show_default=True, metavar="TEMPLATE", help="Labels of sessions.")
@EXISTING
@INTO
@click.option("--create-project", is_flag=True, help="Make the project if it does not exist.")
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Keep this file, and the filled manifest, in the resource TCIA of the project.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@click.option("--evict", is_flag=True, help="Remove a series when XNAT has all of it.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Series at once, of several sessions.  [default: 4]",
)
@click.option(
    "--retries", type=click.IntRange(0, 100), default=5, show_default=True, help="After passing failures."
)
@click.option(
    "--disk-budget",
    metavar="BYTES",
    default="20GB",
    show_default=True,
    help="For a tree of zips: unpack at most so much at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON event per line on standard output.")
@click.pass_context
def deliver(
    context: click.Context,
    directory: Path,
    to: str,
    subject: str,
    session: str,
    existing: str,
    into: str,
    create_project: bool,
    manifest: Path | None,
    dry_run: bool,
    evict: bool,
    at_once: int | None,
    retries: int,
    disk_budget: str,
    as_json: bool,
) -> None:
    """Send every complete series of a directory to a project; archive each session when it is whole.

    The directory is that of a download, or a tree of zips (STUDY/SERIES/img.zip). The same command resumes.
    """
    if not to.startswith("xnat:") or "?" in to:
        raise SelectionError(
            to,
            f"“{to}” is no project of XNAT; nothing was started.",
            "Write xnat:https://HOST/PROJECT; what follows “?” elsewhere are options here, like --existing.",
        )
    if evict and _is_of_zips(directory):
        raise SelectionError(
            "evict",
            "Zips are not removed after they were delivered; nothing was started.",
            "Leave --evict out.",
        )
    given = {"subject": subject, "session": session, "existing": existing, "into": into}
    given |= {"create": "yes"} if create_project else {}
    given |= {"manifest": os.fspath(manifest.absolute())} if manifest else {}
    consumer = f"{to}?{urlencode(given, quote_via=quote)}"
    if dry_run:
        _show(directory, consumer)
    elif _is_of_zips(directory):
        from dataset_dl.xnat.standing import OF_ZIPS

        context.invoke(
            download, sources=(_address(directory),), destination=directory / OF_ZIPS, layout=_LAYOUT,
            then=(consumer,), evict=True, disk_budget=disk_budget, retries=retries,
            consumer_processes=at_once, as_json=as_json,
        )  # fmt: skip
    else:
        context.invoke(
            deliver_series, directory=directory, to=(consumer,), evict=evict, consumer_processes=at_once,
            retries=retries, as_json=as_json,
        )  # fmt: skip


@xnat.command(cls=Command)
@click.argument("directory", type=Directory())
@FORMAT
def status(directory: Path, form: Format) -> None:
    """Tell where each series stands: verified, uploaded, committed, confirmed.

    It reads the records of the directory, also while a delivery runs; XNAT is not asked.
    """
    from dataset_dl.xnat.standing import Standing, standings

    rows = list(standings(directory))
    shown = ("SeriesInstanceUID", "state", "session", "subject", "instances", "at")
    write(Standing._fields, rows, form, sys.stdout, shown=shown)
    counts = Counter(row.state for row in rows)
    parts = [f"{counts[state]:,} {state}" for state in _STATES if counts[state]]
    click.echo(f"{counted(len(rows), 'series')}: {', '.join(parts) or 'none'}.", err=True)


@xnat.command(cls=Command)
@click.argument("directory", type=Directory())
@click.option(
    "--image",
    default="dataset-dl:latest",
    show_default=True,
    metavar="NAME:TAG",
    help="What the image will be called; XNAT wants a tag.",
)
def container(directory: Path, image: str) -> None:
    """Write command.json and a Containerfile, by which XNAT fetches manifests into its own projects."""
    from dataset_dl.xnat.container import write_files

    for path in write_files(directory, image):
        click.echo(path)


def _show(directory: Path, consumer: str) -> None:
    from dataset_dl.xnat.rehearsal import COLUMNS, rehearse

    address = _address(directory) if _is_of_zips(directory) else None
    rows = rehearse(directory, consumer, address)
    write(COLUMNS, rows, "table", sys.stdout)
    click.echo("Nothing was sent.", err=True)


def _is_of_zips(directory: Path) -> bool:
    from dataset_dl.destination.records import kept_plan

    return kept_plan(directory, checked=False) is None and next(directory.rglob(_NAME), None) is not None


def _address(directory: Path) -> str:
    return f"zip://{quote(os.fspath(directory.absolute()))}"
