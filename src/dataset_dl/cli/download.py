"""``idc download``: from SOURCE to verified files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from dataset_dl.cli.deliver import sentence
from dataset_dl.cli.extensions import extended
from dataset_dl.cli.help import Command
from dataset_dl.cli.options import (
    CONSUMER_PROCESSES,
    DISK_BUDGET,
    DURABLE,
    ENGINE,
    EVICT,
    MAX_RATE,
    RETRIES,
    THEN,
    TO,
    VERIFY,
    Directory,
    network,
    planned,
    selection,
)
from dataset_dl.cli.tables import silence
from dataset_dl.errors import StorageError
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.observers.notices import EXAMPLES, kind_of
from dataset_dl.wording import visible

if TYPE_CHECKING:
    from dataset_dl.model.outcome import Report, SeriesFailure
    from dataset_dl.model.plan import Plan
    from dataset_dl.observers import Observer
    from dataset_dl.verbs.options import DownloadOptions

_REASONS_SHOWN = 20


@click.command(cls=Command)
@selection
@TO
@click.option("--dry-run", is_flag=True, help="Show what would be fetched and fetch nothing.")
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    help="Objects fetched in parallel.  [default: by machine and distance]",
)
@network
@ENGINE
@click.option(
    "--reuse",
    multiple=True,
    type=Directory(),
    help="Copy series from another destination on this machine instead of fetching them. May be repeated.",
)
@RETRIES
@click.option(
    "--stall-timeout",
    "stall_timeout_seconds",
    type=click.FloatRange(1),
    help="Seconds with too few bytes after which the engine is stopped, and a new one fetches the rest."
    f"  [default: {DownloadSettings.stall_timeout_seconds:g}]",
)
@VERIFY
@click.option(
    "--trust-journal",
    is_flag=True,
    default=None,
    help="Trust the journal for series that it lists as complete, without checking the disk.",
)
@MAX_RATE
@DURABLE
@THEN
@EVICT
@DISK_BUDGET
@CONSUMER_PROCESSES
@click.option(
    "--part",
    metavar="K/N",
    help="Download only part K of N, from 1; several machines can so share a plan and a destination.",
)
@click.option(
    "--take-over",
    is_flag=True,
    default=None,
    help="Begin the part although an earlier attempt at it seems to live, and end that one.",
)
@click.option(
    "--shared-rate",
    "shared_rate_mbps",
    type=click.FloatRange(0, min_open=True),
    metavar="MB/S",
    help="Limit of all running parts of the destination together; each takes an equal share.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON event per line on standard output.")
@extended("idc.download")
def download(
    sources: tuple[str, ...],
    destination: Path,
    dry_run: bool,
    as_json: bool,
    observers: list[Observer],
    **options: Any,
) -> None:
    """Download collections, patients, studies, series or manifests; verify every series on disk.

    The same command resumes: it does not fetch complete series again.
    """
    from dataset_dl.observers.display import display
    from dataset_dl.verbs.complaints import raise_for_report
    from dataset_dl.verbs.download import check_consumers, cut, destination_of, run, transferred
    from dataset_dl.verbs.options import settings_of

    made = cut(planned(sources, options, into=destination), options["part"])
    if dry_run:
        check_consumers(made, destination_of(made, None), cast("DownloadOptions", options))
        _show_plan(made, as_json, settings_of(options).disk_budget_bytes)
        if made.missing and not made.skip_missing:
            click.echo(
                "dataset-dl: what IDC has would be fetched; --skip-missing accepts the rest as missing.",
                err=True,
            )
            click.get_current_context().exit(3)
        return
    unwritten: list[OSError] = []

    def on_unwritable(error: OSError) -> None:
        unwritten.append(error)
        if as_json:
            click.echo(
                f"The events can no longer be written ({error.strerror}); the download goes on.", err=True
            )
            silence(sys.stdout)

    stream = sys.stdout if as_json else sys.stderr
    every = [display("json" if as_json else "plain", stream, on_unwritable), *observers]
    report = run(transferred(made, destination_of(made, None), cast("DownloadOptions", options), every))
    if not as_json:
        _show_report(report, options.get("verify") == "md5")
    raise_for_report(report)
    if as_json and unwritten and not isinstance(unwritten[0], BrokenPipeError):
        raise StorageError(
            "standard output",
            f"Everything is on disk, but not all events could be written ({unwritten[0].strerror}).",
            "`dataset-dl idc verify` checks it.",
        )


def _show_plan(plan: Plan, as_json: bool, most_bytes: int | None) -> None:
    from dataset_dl.cli.tables import write
    from dataset_dl.destination.disk import check, check_space, free_bytes, needed_bytes
    from dataset_dl.sources.idc import rights
    from dataset_dl.wording import size

    assert plan.into is not None
    destination = plan.into.absolute()
    check(destination)
    free = free_bytes(destination)
    at_once = plan.size_bytes if most_bytes is None else min(plan.size_bytes, most_bytes)
    needed = needed_bytes(at_once, plan.instance_count)
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
        check_space(destination, at_once, plan.instance_count)
        return
    rows = [(*group[:4], size(group.size_bytes)) for group in plan.groups()]
    rows.append(("total", "", plan.series_count, plan.instance_count, size(plan.size_bytes)))
    write((*columns[:4], "size"), rows, "table", sys.stdout)
    click.echo()
    write(("licence", "it asks", "series", "size"), [
        (name, rights.terms(name), count, size(size_bytes))
        for name, count, size_bytes in rights.by_licence(shares)
    ], "table", sys.stdout)  # fmt: skip
    for line in _unsized(plan):
        click.echo(f"\n{line}")
    fits = "fits" if needed <= free else "DOES NOT FIT"
    if first := next(iter(plan), None):
        click.echo()
        click.echo(visible(f"to {destination}, for example {first.directory or '.'}/"))
    most = "needed for the others" if plan.unsized_series else "needed at most"
    click.echo(f"{size(needed)} {most}, {size(free)} free: {fits}; nothing was fetched")
    check_space(destination, at_once, plan.instance_count)


def _unsized(plan: Plan) -> Iterator[str]:
    """Say of which series the size is not exact before they are fetched, and why."""
    if not plan.unsized_series:
        return
    for scheme, count in Counter(row.scheme for row in plan.rows.unsized()).items():
        if scheme == "s3":
            yield (
                f"{count:,} series are of an earlier IDC version or have files named by address; the"
                " tables do not contain the number and size of their files, so the download asks the store"
            )
        else:
            yield f"{count:,} series come from {scheme}; their exact size is known when they have arrived"


def _show_report(report: Report, md5: bool) -> None:
    from dataset_dl.cli.tables import write
    from dataset_dl.destination.paths import state
    from dataset_dl.wording import duration, size

    missing_series = len(report.failures)
    lacking = sum(
        max(0, each.planned.expected_instances - each.present_instances) for each in report.failures
    )
    rows = [
        ("asked for", report.series_count, report.instance_count, size(report.size_bytes)),
        ("complete", report.complete_series, report.complete_instances, size(report.complete_bytes)),
        ("  fetched now", report.fetched_series, "", size(report.fetched_bytes)),
        ("failed", missing_series, lacking, ""),
    ]
    if report.untried_series:
        rows.append(("not tried", report.untried_series, "", ""))
    if report.missing:
        rows.append((f"not in {report.asked}", len(report.missing), "", ""))
    write(("", "series", "files", "size"), rows, "table", sys.stdout)
    speed = f"{report.fetched_bytes / 1e6 / max(report.elapsed_seconds, 1e-3):.1f} MB/s"
    how = speed if report.fetched_series else "nothing was fetched"
    if len(report.bytes_by_store) > 1:
        how += "".join(f", {size(count)} from {store}" for store, count in report.bytes_by_store.items())
    click.echo(f"\n{report.destination}: {duration(report.elapsed_seconds)}, {how}")
    if (delivery := report.delivery) is not None:
        click.echo(f"{sentence(delivery)}.")
        for summary in delivery.summaries:
            click.echo(visible(summary))
        if not report.failures and delivery.evicted_series:
            return
    if not report.failures:
        click.echo(_all_is_well(report, md5))
        return
    click.echo()
    for line in _failures(report):
        click.echo(visible(line))
    click.echo(f"All of them are in {state(report.destination) / 'failed.csv'}.")


def _failures(report: Report) -> Iterator[str]:
    """Yield a line for each reason, with the number of series that failed and some examples."""
    alike: dict[str, list[SeriesFailure]] = {}
    for failure in report.failures:
        alike.setdefault(kind_of(failure), []).append(failure)
    for failures in sorted(alike.values(), key=len, reverse=True)[:_REASONS_SHOWN]:
        first, count = failures[0], len(failures)
        named = ", ".join(each.planned.title for each in failures[:EXAMPLES])
        example = "for example " if count > EXAMPLES else ""
        yield f"{count:,} series failed ({first.cause}: {first.message}): {example}{named}"
    if len(alike) > _REASONS_SHOWN:
        yield f"and others for {len(alike) - _REASONS_SHOWN:,} more reasons"


def _all_is_well(report: Report, md5: bool) -> str:
    checked = "its count and bytes checked" + (
        ", and its files compared with the store's MD5 sums" if md5 else ""
    )
    if not report.series_count:
        return "There was nothing to download."
    if report.missing:
        lacking = f"{len(report.missing):,} are not in {report.asked}"
        return f"Every series that {report.asked} has is on disk, {checked}; {lacking}."
    trusted, others = report.trusted_series, report.series_count - report.trusted_series
    if not trusted:
        return f"Every series is on disk, {checked}."
    by_journal = f"{trusted:,} series are complete according to the journal, without a check of the disk"
    return (
        f"{by_journal}; each of the other {others:,} is on disk, {checked}." if others else f"{by_journal}."
    )
