"""``idc manifest``: a plan as a file."""

from __future__ import annotations

from pathlib import Path

import click

from dataset_dl.cli.options import selection


@click.command()
@selection
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="FILE.parquet, FILE.csv or FILE.s5cmd.",
)
def manifest(sources: tuple[str, ...], where: tuple[str, ...], layout: str | None, output: Path) -> None:
    """Write what a download would fetch, and where to, into a file that pins it."""
    from dataset_dl.api import plan
    from dataset_dl.ui.units import size

    made = plan(sources, where=where, layout=layout)
    made.save(output)
    click.echo(
        f"{output}: {made.series_count:,} series, {made.instance_count:,} files, {size(made.size_bytes)},"
        f" IDC v{made.idc_version}",
        err=True,
    )
