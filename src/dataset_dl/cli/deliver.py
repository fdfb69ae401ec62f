"""``deliver``: hand what was downloaded to consumers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import CONSUMER_PROCESSES, Directory
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.wording import counted, duration, visible

if TYPE_CHECKING:
    from dataset_dl.model.events import Delivered
    from dataset_dl.model.outcome import Delivery


@click.command(cls=Command)
@click.argument("directory", type=Directory())
@click.option(
    "--to",
    multiple=True,
    required=True,
    metavar="CONSUMER",
    help="NAME, NAME:WHERE or NAME:WHERE?OPTION=VALUE. May be repeated.",
)
@click.option("--evict", is_flag=True, help="Remove a series when every consumer has taken it.")
@CONSUMER_PROCESSES
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=DownloadSettings.retries,
    show_default=True,
    help="How often to try again after a transient failure.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON event per line on standard output.")
def deliver(
    directory: Path,
    to: tuple[str, ...],
    evict: bool,
    consumer_processes: int | None,
    retries: int,
    as_json: bool,
) -> None:
    """Hand every complete series of a destination to consumers, each once.

    The same command resumes: it hands over only what has no receipt yet.
    """
    from dataset_dl.observers.display import display
    from dataset_dl.verbs.deliver import delivered, raise_for_delivery, run

    observers = [display("json" if as_json else "plain", sys.stdout if as_json else sys.stderr)]
    last = run(delivered(directory, directory, list(to), evict, consumer_processes, retries, observers))
    if not as_json:
        _show(directory, last)
    raise_for_delivery(directory, last)


def _show(directory: Path, last: Delivered) -> None:
    click.echo(f"{directory}: {duration(last.elapsed_seconds)}, {sentence(last.delivery)}")
    for summary in last.delivery.summaries:
        click.echo(visible(summary))


def sentence(delivery: Delivery) -> str:
    """Return what was delivered, as part of a sentence."""
    from dataset_dl.wording import size

    names = " and ".join(delivery.consumers)
    parts = [f"{counted(delivery.delivered, 'series')} delivered to {names}"]
    if delivery.delivered_before:
        parts.append(f"{delivery.delivered_before:,} delivered before")
    if delivery.failures:
        parts.append(f"{len(delivery.failures):,} failed")
    if delivery.evicted_series:
        parts.append(f"{delivery.evicted_series:,} removed since ({size(delivery.evicted_bytes)})")
    return ", ".join(parts)
