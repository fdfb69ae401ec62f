"""``dataset-dl pacs …``: nodes, what they have, and what goes to them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, Directory, way_out
from dataset_dl.cli.tables import Format, write
from dataset_dl.pacs.moving import download, send, transfer, upload
from dataset_dl.pacs.querying import query
from dataset_dl.pacs.transfers.commands import batch, jobs
from dataset_dl.wording import counted


@click.group()
def pacs() -> None:
    """Archives by DIMSE or DICOMweb: query, fetch, send and transfer, each instance with an answer."""


for _each in (query, download, send, upload, transfer, batch, jobs):
    pacs.add_command(_each)


@pacs.group()
def nodes() -> None:
    """The archives that are known by name."""


@nodes.command("list", cls=Command)
@FORMAT
def list_nodes(form: Format) -> None:
    """List the nodes."""
    from dataset_dl.pacs.nodes import Nodes

    known = Nodes()
    columns = ("name", "address", "at_once", "max_rate_mbps", "hours", "timeout_seconds")
    rows = [tuple(getattr(node, column) for column in columns) for node in known.all().values()]
    write(columns, rows, form, sys.stdout)
    if form == "table":
        click.echo(f"{counted(len(rows), 'node')} in {known.path}", err=True)


@nodes.command(
    cls=Command,
    examples=(
        "dataset-dl pacs nodes add WARD dimse://WARDPACS@pacs.hospital.example:11112",
        "dataset-dl pacs nodes add RESEARCH https://research.example/dicom-web --hours 20:00-06:00",
        "dataset-dl pacs nodes add EXPORT /data/export",
    ),
)
@click.argument("name")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--tls", is_flag=True, default=None, help="Speak DIMSE through TLS.")
@click.option(
    "--client-certificate",
    type=click.Path(dir_okay=False),
    help="A PEM file with this machine's certificate and its key, if the node asks for one.",
)
@click.option("--calling-ae-title", metavar="TITLE", help="Our AE title for this node only.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Associations or requests at once.  [default: 2]",
)
@click.option(
    "--max-rate",
    "max_rate_mbps",
    type=click.FloatRange(0, min_open=True),
    metavar="MB/S",
    help="Fetch and send no faster than this.",
)
@click.option("--hours", metavar="HH:MM-HH:MM", help="When it may be asked, in local time, like 20:00-06:00.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="Leave it after this long without a sign.  [default: 60]",
)
@click.option(
    "--any-patient-id",
    is_flag=True,
    default=None,
    help="Take and send files with another PatientID than the archive or the plan says.",
)
def add(name: str, addresses: tuple[str, ...], **options: Any) -> None:
    """Add a node, or replace it: dimse://AETITLE@host:port, https://host/dicom-web, both, or a directory."""
    from dataset_dl.pacs.making import made
    from dataset_dl.pacs.nodes import Nodes

    known = Nodes()
    node = made(name, addresses, **options)
    is_new = name not in known.all()
    known.add(node)
    what = "added" if is_new else "replaced, with the options that were given now"
    click.echo(f"{name} {what}: {node.address}; `dataset-dl pacs echo {name}` asks whether it listens.")


@nodes.command(cls=Command)
@click.argument("name")
def remove(name: str) -> None:
    """Remove a node, and what the keyring has for it."""
    from dataset_dl.pacs import secrets
    from dataset_dl.pacs.nodes import Nodes

    Nodes().remove(name)
    secrets.forget(name)


@nodes.command(cls=Command)
@click.argument("name")
@click.option("--token", is_flag=True, help="Ask for a token in place of a user and a password.")
def login(name: str, token: bool) -> None:
    """Keep a user and a password, or a token, for a DICOMweb node in the keyring of this system.

    It asks for them; without a terminal, it reads them as lines of standard input.
    """
    from dataset_dl.pacs import secrets
    from dataset_dl.pacs.nodes import Nodes

    known = Nodes()
    known.find(name)
    if token:
        secrets.keep(name, token=_said("Token", is_hidden=True))
    else:
        user = _said("User", is_hidden=False)
        secrets.keep(name, user=user, password=_said("Password", is_hidden=True))
    known.mark_in_keyring(name)
    click.echo(f"Kept for {name}.", err=True)


def _said(what: str, *, is_hidden: bool) -> str:
    """Ask for something in a terminal; elsewhere read a line."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=is_hidden, err=True))
    if not (text := sys.stdin.readline().strip()):
        raise click.UsageError(f"{what} is not on standard input.", click.get_current_context())
    return text


@nodes.command(cls=Command)
@click.argument("name")
@way_out
@FORMAT
def probe(name: str, form: Format, **options: Any) -> None:
    """Find out which services a node offers, and which transfer syntaxes it takes; nothing is stored."""
    from dataset_dl.pacs.echo import Ability, probe
    from dataset_dl.pacs.nodes import Nodes
    from dataset_dl.verbs.options import network_of

    write(Ability._fields, probe(Nodes().find(name), network_of(options)), form, sys.stdout)


@pacs.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NODE]...")
@way_out
def echo(names: tuple[str, ...], **options: Any) -> None:
    """Ask nodes whether they listen; all nodes if none is named."""
    from dataset_dl.errors import DatasetDlError, SelectionError
    from dataset_dl.pacs.echo import echo
    from dataset_dl.pacs.nodes import Nodes
    from dataset_dl.verbs.options import network_of

    known = Nodes()
    several = [known.find(name) for name in names] or list(known.all().values())
    if not several:
        raise SelectionError(
            "", "No node was added yet.", "`dataset-dl pacs nodes add NAME ADDRESS` adds one."
        )
    network = network_of(options)
    last: DatasetDlError | None = None
    for node in several:
        try:
            click.echo(f"{node.name} listens ({1000 * echo(node, network):.0f} ms): {node.address}")
        except DatasetDlError as error:
            if len(several) == 1:
                raise
            click.echo(f"{node.name}: {error}", err=True)
            last = error
    if last is not None:
        click.get_current_context().exit(last.exit_code)


@pacs.command(cls=Command)
@click.argument("directory", type=Directory(), required=False)
@click.option("--node", metavar="NODE", help="Only of this node.")
@click.option("--all", "every", is_flag=True, help="Also those that were stored without a warning.")
@FORMAT
def status(directory: Path | None, node: str | None, every: bool, form: Format) -> None:
    """List the answers of archives for instances of a directory, or of uploads if none is named.

    It reads the ledger, also while instances are on their way; no archive is asked.
    """
    from dataset_dl.errors import ManifestError
    from dataset_dl.pacs.ledger import folder_of
    from dataset_dl.pacs.status import Standing, standings
    from dataset_dl.pacs.upload import folder

    place = folder() if directory is None else folder_of(directory)
    if not place.is_dir():
        raise ManifestError(
            str(directory or place), f"No archive has answered for instances of {directory or place}."
        )
    counts: Counter[str] = Counter()
    rows = []
    for each in standings(place, node):
        counts[f"{each.direction}: {each.state}"] += 1
        if every or each.state != "stored":
            rows.append(each)
    shown = ("SOPInstanceUID", "state", "direction", "node", "answer", "at")
    write(Standing._fields, rows, form, sys.stdout, shown=shown)
    click.echo(", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "none", err=True)
