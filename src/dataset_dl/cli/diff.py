"""``idc diff``: compare a tree with today's index, and bring it up to date."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, Directory, network

if TYPE_CHECKING:
    from dataset_dl.cli.tables import Format
    from dataset_dl.model.checks import Difference
    from dataset_dl.verbs.options import NetworkOptions


@click.command(cls=Command)
@click.argument("directory", type=Directory())
@click.option("--update", is_flag=True, help="Bring the tree up to date.")
@FORMAT
@network
def diff(directory: Path, update: bool, form: Format, **options: Unpack[NetworkOptions]) -> None:
    """List what the installed index has revised, added or withdrawn since a tree was downloaded."""
    from dataset_dl.destination.paths import files_of
    from dataset_dl.verbs import renew as renewal
    from dataset_dl.verbs.complaints import raise_for_report

    difference = renewal.diff(directory)
    _show(difference, form)
    if not update:
        return
    report = renewal.update(difference, **options)
    if form == "table":
        click.echo(
            f"\n{report.fetched_series:,} series were fetched; {report.complete_series:,} of"
            f" {report.series_count:,} are complete on disk."
        )
        replaced = files_of(difference.root).replaced
        if replaced.is_dir():
            click.echo(f"Replaced and withdrawn files are in {replaced}.")
    raise_for_report(report)


def _show(difference: Difference, form: Format) -> None:
    from dataset_dl.cli.tables import write
    from dataset_dl.model.checks import Change
    from dataset_dl.wording import size

    if form == "json":
        click.echo(json.dumps(difference.to_dict()))
        return
    if form == "csv":
        write(Change._fields, difference.changes, form, sys.stdout)
        return
    series: Counter[tuple[str, str]] = Counter()
    size_bytes: Counter[tuple[str, str]] = Counter()
    for each in difference.changes:
        group = each.change, each.collection_id or ""
        series[group] += 1
        size_bytes[group] += each.size_bytes or 0
    if difference.is_current:
        click.echo(
            f"{difference.root}: {difference.series_count:,} series asked for, all as in IDC"
            f" v{difference.idc_version}; `dataset-dl idc verify` says whether they are on disk"
        )
    else:
        rows = [(*group, count, size(size_bytes[group])) for group, count in series.items()]
        write(("change", "collection_id", "series", "size"), rows, "table", sys.stdout)
        click.echo(
            f"\n{difference.root}: planned from IDC v{difference.downloaded_version}; the index here is of"
            f" v{difference.idc_version}. --format csv lists every series, --update fetches what is new"
        )
    if any(each.change == "files revised" for each in difference.changes):
        click.echo(
            "“files revised”: single files were asked for, so they stay; ask for the new files by name."
        )
    if not difference.knows_request:
        click.echo("It was planned from a manifest or from series alone, so added series cannot be detected.")
