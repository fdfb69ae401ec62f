"""``dataset-dl pacs download | send | upload | transfer``."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from dataset_dl.cli.deliver import deliver as deliver_series
from dataset_dl.cli.download import download as idc_download
from dataset_dl.cli.help import Command
from dataset_dl.cli.options import Directory, way_out
from dataset_dl.errors import SelectionError
from dataset_dl.pacs.options import conditions, step_options
from dataset_dl.wording import counted, first_few, visible

if TYPE_CHECKING:
    from dataset_dl.pacs.nodes import Node

_TRANSCODE = click.option(
    "--transcode", is_flag=True, help="Convert, without loss of pixels, what the node does not take as it is."
)
_PSEUDONYMISE = click.option(
    "--pseudonymise", is_flag=True, help="Put pseudonyms into the files on their way, by the key."
)
_PSEUDONYM = click.option(
    "--pseudonym", metavar="NAME", help="The new PatientID, with --pseudonymise.  [default: by the key]"
)
_STEP = click.option(
    "--pseudonym-option", "step", multiple=True, metavar="NAME=VALUE",
    help="An option of pseudonyms, like allowed=SR. May be repeated.",
)  # fmt: skip
_AGAIN = click.option("--again", is_flag=True, help="Send also what was sent before.")
_RETRIES = click.option(
    "--retries", type=click.IntRange(0, 100), default=5, show_default=True, help="After passing failures."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON event per line on standard output.")
# Options of `idc download` that hold for archives, too.
_OF_DOWNLOAD = (
    "destination", "dry_run", "workers", "proxy", "ca_bundle", "engine", "retries", "stall_timeout_seconds",
    "max_rate_mbps", "durable", "then", "evict", "disk_budget", "consumer_processes", "as_json", "layout",
)  # fmt: skip


def _of_download(function: Any) -> Any:
    several = [each for each in idc_download.params if each.name in _OF_DOWNLOAD]
    function.__click_params__ = [*getattr(function, "__click_params__", []), *reversed(several)]
    return function


@click.command(
    cls=Command,
    examples=(
        "dataset-dl pacs download WARD --patient-id P1234 --to data",
        "dataset-dl pacs download WARD --study-date today --to data --then pacs:RESEARCH --evict",
    ),
)
@click.argument("node", metavar="NODE")
@conditions
@_of_download
@click.pass_context
def download(context: click.Context, /, node: str, asked: dict[str, str], **options: Any) -> None:
    """Fetch what matches from an archive: by WADO-RS, else C-GET, else C-MOVE.

    The instances are asked for first, and each that came is checked. The same command resumes.
    """
    context.invoke(idc_download, sources=(_address(node, asked),), **options)


@click.command(cls=Command, examples=("dataset-dl pacs send data --to RESEARCH",))
@click.argument("directory", type=Directory())
@click.option("--to", required=True, metavar="NODE", help="The node.")
@_TRANSCODE
@_AGAIN
@_PSEUDONYMISE
@_PSEUDONYM
@_STEP
@click.option("--evict", is_flag=True, help="Remove a series when the node has all of it.")
@_RETRIES
@way_out
@_JSON
@click.pass_context
def send(
    context: click.Context,
    /,
    directory: Path,
    to: str,
    transcode: bool,
    again: bool,
    pseudonymise: bool,
    pseudonym: str | None,
    step: tuple[str, ...],
    evict: bool,
    retries: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Send what was downloaded to a directory to a node; each instance once, with an answer.

    The same command resumes. `pacs upload` sends directories that no download went to.
    """
    consumer = _consumer(_node(to), transcode, again, _step(pseudonymise, pseudonym, step))
    context.invoke(
        deliver_series, directory=directory, to=(consumer,), evict=evict, retries=retries, as_json=as_json
    )


@click.command(cls=Command, examples=("dataset-dl pacs upload CD1 CD2 --to RESEARCH",))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--to", required=True, metavar="NODE", help="The node.")
@_TRANSCODE
@_AGAIN
@_RETRIES
@way_out
@_JSON
def upload(
    paths: tuple[Path, ...],
    to: str,
    transcode: bool,
    again: bool,
    retries: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Send loose DICOM files and directories of them to a node; the same command resumes."""
    from dataset_dl.observers import observed
    from dataset_dl.observers.display import display
    from dataset_dl.pacs.nodes import Nodes
    from dataset_dl.pacs.upload import Uploaded, upload
    from dataset_dl.verbs.options import network_of

    node, result = Nodes().find(to), Uploaded()
    observers = [display("json" if as_json else "plain", sys.stdout if as_json else sys.stderr)]
    events = upload(
        paths, node, network_of(options), result, transcode=transcode, again=again, retries=retries
    )
    for _ in observed(events, observers):
        pass
    said = f"{counted(result.files, 'file')}: {result.sent:,} sent to {to}, {result.before:,} sent before"
    click.echo(f"{said}, {len(result.problems):,} failed.", err=as_json)
    if result.warnings:
        told = first_few([f"{uid}: {words}" for uid, words in result.warnings.items()], 3)
        click.echo(visible(f"{len(result.warnings):,} were taken with a warning: {told}"), err=as_json)
    if result.others:
        names = first_few([path.name for path in result.others], 3)
        click.echo(visible(f"{len(result.others):,} without DICOM left out: {names}"), err=as_json)
    if result.skipped:
        names = first_few([path.name for path in result.skipped], 3)
        click.echo(visible(f"{len(result.skipped):,} links or others not looked into: {names}"), err=as_json)
    result.raise_for(to)


@click.command(
    cls=Command,
    examples=(
        "dataset-dl pacs transfer --from WARD --to RESEARCH --patient-id P1234",
        "dataset-dl pacs transfer --from WARD --to case7.zip --study 1.2.826.0.1.3680043.8.1",
    ),
)
@click.option("--from", "source", required=True, metavar="NODE", help="The archive to fetch from.")
@click.option(
    "--to", required=True, metavar="TARGET", help="A node, a directory, or a file that ends in .zip."
)
@conditions
@click.option("--via", type=Directory(), help="Where instances are on their way.  [default: with the jobs]")
@click.option(
    "--disk-budget", metavar="BYTES", default="20GB", show_default=True, help="Keep at most so many there."
)
@_TRANSCODE
@_AGAIN
@_PSEUDONYMISE
@_PSEUDONYM
@_STEP
@_RETRIES
@way_out
@_JSON
@click.pass_context
def transfer(
    context: click.Context,
    /,
    source: str,
    to: str,
    asked: dict[str, str],
    via: Path | None,
    disk_budget: str,
    transcode: bool,
    again: bool,
    pseudonymise: bool,
    pseudonym: str | None,
    step: tuple[str, ...],
    retries: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Fetch from an archive and send to another one, a directory or a file, as one run that resumes."""
    from dataset_dl.pacs.transferring import LAYOUT, Target, beside, pack, staging

    address, target = _address(source, asked), Target(to)
    given_step = _step(pseudonymise, pseudonym, step)
    given = {"sources": (address,), "retries": retries, "as_json": as_json, "layout": LAYOUT, **options}
    if target.node is not None:
        if target.node.name == source:
            raise SelectionError(to, f"{to} is where it comes from; nothing was started.")
        consumer = _consumer(target.node, transcode, again, given_step)
        place = staging(address, to, via)
        given |= {"then": (consumer,), "evict": True, "disk_budget": disk_budget}
        context.invoke(idc_download, destination=place, **given)
        return
    assert target.path is not None, "a target is a node or a path"
    if not target.is_file and not given_step:
        context.invoke(idc_download, destination=target.path, **given)
        return
    place = staging(address, str(target.path.absolute()), via)
    source_of_file = place
    if given_step:
        source_of_file = beside(place, given_step) if target.is_file else target.path.absolute()
        given |= {
            "then": (f"pseudonyms:{source_of_file}?{urlencode(given_step)}",),
            "evict": not target.is_file,
        }
    context.invoke(idc_download, destination=place, **given)
    if not target.is_file:
        return
    count = pack(place, source_of_file, target.path)
    click.echo(f"{counted(count, 'instance')} in {target.path}.", err=as_json)


def _node(name: str) -> Node:
    from dataset_dl.pacs.nodes import Nodes

    return Nodes().find(name)


def _step(pseudonymise: bool, pseudonym: str | None, step: tuple[str, ...]) -> dict[str, str]:
    """Return the options of the consumer, or of the step before it, that put pseudonyms in; none without."""
    if not pseudonymise:
        if pseudonym is not None or step:
            raise click.UsageError("--pseudonym… needs --pseudonymise.", click.get_current_context())
        return {}
    return {**step_options(step), "pseudonym": pseudonym or ""}


def _consumer(node: Node, transcode: bool, again: bool, step: dict[str, str]) -> str:
    """Return the consumer for a node, and say so if it has to wait."""
    if node.waits_seconds():
        opens_at = node.opens_at(datetime.now())
        click.echo(f"{node.name} takes instances from {opens_at:%Y-%m-%d %H:%M} on ({node.hours}).", err=True)
    given = {"transcode": "yes"} if transcode else {}
    given |= {"again": str(time.time_ns())} if again else {}
    if step:
        given |= {"through": "pseudonyms", **{f"through.{name}": value for name, value in step.items()}}
    return f"pacs:{node.name}" + (f"?{urlencode(given)}" if given else "")


def _address(name: str, asked: dict[str, str]) -> str:
    """Return the address of what is asked for."""
    from dataset_dl.pacs.address import Address
    from dataset_dl.pacs.query import Query

    node = _node(name)
    return str(Address(node.scheme, node.name, Query.of(asked, "series").conditions))
