"""``dataset-dl aignostics …``: arguments and exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import (
    DISK_BUDGET,
    DURABLE,
    EVICT,
    MAX_RATE,
    RETRIES,
    THEN,
    TO,
    way_out,
)
from dataset_dl.wording import counted, duration, size, visible

if TYPE_CHECKING:
    from dataset_dl.aignostics.planning import Samples
    from dataset_dl.model.outcome import Report
    from dataset_dl.verbs.options import DownloadOptions

_SHOWN = 20


@click.group()
def aignostics() -> None:
    """Samples in Google Cloud Storage, by the key of your own service account."""


@aignostics.command(
    cls=Command,
    examples=(
        "dataset-dl aignostics download gs://BUCKET/SLIDE.tiff --to data --credentials key.json",
        "dataset-dl aignostics download gs://BUCKET/FOLDER/ --to data --dry-run",
    ),
)
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@TO
@click.option("--dry-run", is_flag=True, help="List what would be fetched and fetch nothing.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The JSON file with the key of a service account.  [default: $GOOGLE_APPLICATION_CREDENTIALS]",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Objects fetched at once.  [default: 4]")
@RETRIES
@MAX_RATE
@DURABLE
@THEN
@EVICT
@DISK_BUDGET
@way_out
@click.option("--json", "as_json", is_flag=True, help="One JSON event per line on standard output.")
def download(
    addresses: tuple[str, ...],
    destination: Path,
    dry_run: bool,
    credentials: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Download objects, gs://BUCKET/KEY, or all below a folder, gs://BUCKET/FOLDER/.

    Each is compared with the CRC32C of the store. The same command resumes.
    """
    from dataset_dl.aignostics.planning import Samples
    from dataset_dl.observers.display import display
    from dataset_dl.verbs.complaints import raise_for_report
    from dataset_dl.verbs.download import check_consumers, run

    given = cast("DownloadOptions", options)
    samples = Samples.plan_for(addresses, destination, credentials, given)
    if dry_run:
        check_consumers(samples.plan, samples.destination, samples.options)
        _show_plan(samples, as_json)
        return
    stream = sys.stdout if as_json else sys.stderr
    report = run(samples.events([display("json" if as_json else "plain", stream)]))
    if not as_json:
        _show_report(report)
    raise_for_report(report)


def _show_plan(samples: Samples, as_json: bool) -> None:
    from dataset_dl.destination.disk import check, check_space, free_bytes

    plan, destination = samples.plan, samples.destination
    check(destination)
    free = free_bytes(destination)
    if as_json:
        objects = [
            {"address": row.address, "size_bytes": row.size_bytes, "path": f"{row.directory}/{name}"}
            for row in plan
            for name in row.wanted() or ()
        ]
        totals = {"destination": str(destination), "size_bytes": plan.size_bytes, "free_bytes": free}
        click.echo(json.dumps({**totals, "objects": objects}))
    else:
        from dataset_dl.cli.tables import write

        rows = [
            (size(row.expected_bytes), row.address, f"{row.directory}/{name}")
            for row in plan
            for name in row.wanted() or ()
        ]
        write(("size", "object", "path"), rows, "table", sys.stdout)
        what = f"{counted(plan.series_count, 'object')}, {size(plan.size_bytes)}"
        click.echo(visible(f"\n{what}, to {destination}, which has {size(free)} free; nothing was fetched"))
    check_space(destination, plan.size_bytes, plan.instance_count)


def _show_report(report: Report) -> None:
    fetched = f"{counted(report.fetched_series, 'object')} ({size(report.fetched_bytes)}) fetched now"
    click.echo(
        f"{report.destination}: {report.complete_series:,} of {counted(report.series_count, 'object')}"
        f" complete, {fetched} in {duration(report.elapsed_seconds)}"
    )
    if report.delivery is not None:
        from dataset_dl.cli.deliver import sentence

        click.echo(f"{sentence(report.delivery)}.")
    for failure in report.failures[:_SHOWN]:
        click.echo(visible(f"failed: {failure.planned.title} ({failure.cause}: {failure.message})"))
    if (more := len(report.failures) - _SHOWN) > 0:
        click.echo(f"and {more:,} more; {report.destination}/.dataset-dl/failed.csv lists all")
    if report.ok and report.fetched_series:
        click.echo("Each that was fetched has the CRC32C that the store lists.")
