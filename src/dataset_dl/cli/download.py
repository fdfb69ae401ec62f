"""``idc download``: from SOURCE to verified files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.cli.options import Directory, network, planned, selection

if TYPE_CHECKING:
    from dataset_dl.model import Plan, Report

_FAILURES_SHOWN = 20


@click.command()
@selection
@click.option("--to", "destination", required=True, type=Directory(), help="Where to.")
@click.option("--dry-run", is_flag=True, help="Show what would be fetched, fetch nothing.")
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    help="Objects fetched at once.  [default: by machine and distance]",
)
@network
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    help="Rounds for series that failed for a reason that may pass.",
)
@click.option(
    "--stall-timeout",
    "stall_timeout_seconds",
    type=click.FloatRange(1),
    default=120,
    show_default=True,
    help="Seconds without a byte after which s5cmd is ended and what is left goes on anew.",
)
@click.option(
    "--verify",
    type=click.Choice(["size", "md5"]),
    default="size",
    show_default=True,
    help="Compare every file with the store's MD5 sums, too.",
)
@click.option(
    "--trust-journal",
    is_flag=True,
    help="Believe the journal for what it has as complete, without a look at the disk.",
)
@click.option(
    "--max-rate",
    "max_rate_mbps",
    type=click.FloatRange(0, min_open=True),
    metavar="MB/S",
    help="Fetch no faster than this, in MB a second.",
)
@click.option("--json", "as_json", is_flag=True, help="One event a line on standard output.")
def download(
    sources: tuple[str, ...],
    destination: Path,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Download collections, patients, studies, series or manifests; check every file on disk.

    The same command resumes: what is complete is not fetched again.
    """
    from dataset_dl.api import download_events, raise_for_report, watch
    from dataset_dl.ui.observer import observer

    made = planned(sources, options, into=destination)
    if dry_run:
        _show_plan(made, as_json)
        return
    events = download_events(made, **options)
    stream = sys.stdout if as_json else sys.stderr
    with observer("json" if as_json else "plain", stream) as show:
        report = watch(events, show)
    if not as_json:
        _show_report(report, options.get("verify") == "md5")
    raise_for_report(report)


def _show_plan(plan: Plan, as_json: bool) -> None:
    from dataset_dl.destination import check, free_bytes, needed_bytes
    from dataset_dl.index import rights
    from dataset_dl.ui.tables import write
    from dataset_dl.ui.units import size

    assert plan.into is not None
    destination = plan.into.absolute()
    check(destination)
    free = free_bytes(destination)
    needed = needed_bytes(plan.size_bytes, plan.instance_count)
    columns = ("collection_id", "Modality", "series", "instances", "size_bytes")
    shares = rights.shares(plan)
    if as_json:
        totals = {
            "destination": str(destination),
            "idc_version": plan.idc_version,
            "series_count": plan.series_count,
            "instance_count": plan.instance_count,
            "size_bytes": plan.size_bytes,
            "unsized_series": plan.unsized_series,
            "missing": list(plan.missing),
            "needed_bytes": needed,
            "free_bytes": free,
            "groups": [dict(zip(columns, group, strict=True)) for group in plan.groups()],
            "licenses": [share._asdict() for share in shares],
        }
        click.echo(json.dumps(totals))
        return
    rows = [(*group[:4], size(group.size_bytes)) for group in plan.groups()]
    rows.append(("total", "", plan.series_count, plan.instance_count, size(plan.size_bytes)))
    write((*columns[:4], "size"), rows, "table", sys.stdout)
    click.echo()
    write(("licence", "it asks", "series", "size"), [
        (name, rights.terms(name), count, size(size_bytes))
        for name, count, size_bytes in rights.by_licence(shares)
    ], "table", sys.stdout)  # fmt: skip
    if plan.unsized_series:
        click.echo(
            f"\nof {plan.unsized_series:,} series, of an earlier IDC version or with files named by address,"
            " the tables do not tell the number and size of files: the store is asked"
        )
    fits = "fits" if needed <= free else "DOES NOT FIT"
    click.echo(f"\nto {destination}, for example {next(iter(plan)).directory or '.'}/")
    most = "needed besides" if plan.unsized_series else "needed at most"
    click.echo(f"{size(needed)} {most}, {size(free)} free: {fits}; nothing was fetched")


def _show_report(report: Report, md5: bool) -> None:
    from dataset_dl.destination import state
    from dataset_dl.ui.tables import write
    from dataset_dl.ui.units import duration, size

    missing_series = len(report.failures)
    lacking = sum(max(0, each.planned.instanceCount - each.present_instances) for each in report.failures)
    rows = [
        ("asked for", report.series_count, report.instance_count, size(report.size_bytes)),
        ("complete", report.complete_series, report.complete_instances, size(report.complete_bytes)),
        ("  fetched now", report.fetched_series, "", size(report.fetched_bytes)),
        ("failed", missing_series, lacking, ""),
    ]
    if report.untried_series:
        rows.append(("not tried", report.untried_series, "", ""))
    if report.missing:
        rows.append(("not in IDC", len(report.missing), "", ""))
    write(("", "series", "files", "size"), rows, "table", sys.stdout)
    speed = f"{report.fetched_bytes / 1e6 / max(report.elapsed_seconds, 1e-3):.1f} MB/s"
    how = speed if report.fetched_series else "nothing was fetched"
    click.echo(f"\n{report.destination}: {duration(report.elapsed_seconds)}, {how}")
    if not report.failures:
        click.echo(_all_is_well(report, md5))
        return
    columns = ("SeriesInstanceUID", "cause", "message")
    shown = [
        (each.planned.SeriesInstanceUID, each.cause, each.message)
        for each in report.failures[:_FAILURES_SHOWN]
    ]
    click.echo()
    write(columns, shown, "table", sys.stdout)
    click.echo(f"All of them are in {state(report.destination) / 'failed.csv'}.")


def _all_is_well(report: Report, md5: bool) -> str:
    checked = "its count and bytes checked" + (
        ", and its files held against the store's MD5 sums" if md5 else ""
    )
    trusted, others = report.trusted_series, report.series_count - report.trusted_series
    if not trusted:
        return f"Every series is on disk, {checked}."
    by_journal = f"{trusted:,} series are complete by the journal, without a look at the disk"
    return (
        f"{by_journal}; each of the other {others:,} is on disk, {checked}." if others else f"{by_journal}."
    )
