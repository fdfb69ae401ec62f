"""``idc verify``: a tree against its plan or the index."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from dataset_dl.cli.options import Directory
from dataset_dl.errors import VerificationError


@click.command()
@click.argument("directory", type=Directory())
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def verify(directory: Path, as_json: bool) -> None:
    """Check the count and the bytes of every series below a directory."""
    from dataset_dl.api import verify as verify_tree
    from dataset_dl.model import Deviation
    from dataset_dl.ui.tables import write
    from dataset_dl.ui.units import size

    outcome = verify_tree(directory)
    if as_json:
        click.echo(json.dumps(outcome.to_dict()))
    elif outcome.deviations:
        names = list(Deviation.__slots__)
        rows = [[getattr(deviation, name) for name in names] for deviation in outcome.deviations]
        write(names, rows, "table", sys.stdout)
    if not outcome.ok:
        raise VerificationError(
            str(directory),
            f"{len(outcome.deviations):,} directories below {directory} are not as they should be;"
            f" {outcome.complete_series:,} of {outcome.series_count:,} series are complete.",
            "The download command that made them fetches what is missing.",
        )
    if not as_json:
        click.echo(f"{directory}: {outcome.series_count:,} series, {size(outcome.size_bytes)}, all complete")
