"""``idc manifest``: write a plan to a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.cli.extensions import extended
from dataset_dl.cli.help import Command
from dataset_dl.cli.options import planned, selection
from dataset_dl.errors import PlanError

if TYPE_CHECKING:
    from dataset_dl.observers import Observer


@click.command(cls=Command)
@selection
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="FILE.parquet, FILE.csv or FILE.s5cmd.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@extended("idc.manifest")
def manifest(
    sources: tuple[str, ...], output: Path, force: bool, observers: list[Observer], **options: Any
) -> None:
    """Write the series that a download would fetch, and their directories, to a file that pins them."""
    from dataset_dl.wording import size

    if os.path.lexists(output) and not force:
        raise PlanError(
            str(output), f"{output} already exists, so nothing was written.", "--force replaces it."
        )
    made = planned(sources, options)
    made.save(output)
    click.echo(
        f"{output}: {made.series_count:,} series, {made.instance_count:,} files, {size(made.size_bytes)},"
        f" IDC v{made.idc_version}",
        err=True,
    )
    if made.origin.file_template and output.suffix.lower() != ".parquet":
        click.echo(f"{output} does not store the names that files will get; a .parquet file does.", err=True)
    if made.unsized_series:
        click.echo(
            f"Not counted: the files of {made.unsized_series:,} series, which only the store can list.",
            err=True,
        )
    if made.missing and not made.skip_missing:
        click.echo(
            "dataset-dl: what IDC has was written; --skip-missing accepts the rest as missing.", err=True
        )
        click.get_current_context().exit(3)
