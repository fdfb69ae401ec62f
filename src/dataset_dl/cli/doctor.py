"""``doctor``: what stands in the way."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from dataset_dl.cli.options import Directory, network

if TYPE_CHECKING:
    from dataset_dl.options import NetworkOptions

_NETWORK_EXIT_CODE = 4


@click.command()
@click.option("--to", "destination", type=Directory(), help="Look at a destination too.")
@network
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output, for a ticket.")
@click.pass_context
def doctor(
    context: click.Context, destination: Path | None, as_json: bool, **options: Unpack[NetworkOptions]
) -> None:
    """Check the program, the index, s5cmd, the endpoint and a destination; say what to do."""
    from dataset_dl.doctor import examine
    from dataset_dl.ui.tables import write

    checks = list(examine(options, destination))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks]))
    else:
        rows = [dataclasses.astuple(check) for check in checks]
        write(("check", "outcome", "detail", "what to do"), rows, "table", sys.stdout)
    if any(check.outcome == "failed" for check in checks):
        context.exit(_NETWORK_EXIT_CODE)
