"""``doctor``: find what prevents a download."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import Directory, network

if TYPE_CHECKING:
    from dataset_dl.verbs.options import NetworkOptions


@click.command(cls=Command)
@click.option("--to", "destination", type=Directory(), help="Also check a destination.")
@network
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output, for a ticket.")
@click.pass_context
def doctor(
    context: click.Context, destination: Path | None, as_json: bool, **options: Unpack[NetworkOptions]
) -> None:
    """Check the program, the index, s5cmd, the network and a destination; say what to do."""
    from dataset_dl.cli.tables import write
    from dataset_dl.verbs.doctor import examine

    checks = list(examine(options, destination))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks]))
    else:
        rows = [dataclasses.astuple(check)[:4] for check in checks]
        write(("check", "outcome", "detail", "what to do"), rows, "table", sys.stdout)
    failed = [check.exit_code for check in checks if check.outcome == "failed"]
    if failed:
        context.exit(failed[0])
