"""``dataset-dl cluster …``: one plan on many machines."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import EVICT, FORMAT, Directory, planned, selection
from dataset_dl.cli.tables import Format, write
from dataset_dl.cluster.amounts import Amount
from dataset_dl.cluster.arrays import submit
from dataset_dl.errors import PlanError, SelectionError, TransferIncomplete
from dataset_dl.model.part import MOST_PARTS
from dataset_dl.wording import counted, duration, size, visible

if TYPE_CHECKING:
    from dataset_dl.cluster.standing import PartStanding
    from dataset_dl.model.plan import Plan

_RATE_MBPS, _OBJECT_MS = 100.0, 2.0
_DIRECTORIES = click.argument("directories", nargs=-1, required=True, type=Directory(), metavar="DIR...")


@click.group()
def cluster() -> None:
    """One plan on many machines: parts on the scheduler that is there, or batches on Dask."""


cluster.add_command(submit)


@cluster.command(cls=Command)
@selection
@click.option("-n", "--parts", type=click.IntRange(1, MOST_PARTS), metavar="N", help="How many parts.")
@click.option(
    "--hours",
    type=Amount(),
    metavar="H",
    help="Cut into as many parts as need about so many hours each.",
)
@click.option(
    "--rate",
    "rate_mbps",
    type=Amount(),
    default=_RATE_MBPS,
    show_default=True,
    metavar="MB/S",
    help="What one machine receives.",
)
@click.option(
    "--object-ms",
    type=Amount(zero=True),
    default=_OBJECT_MS,
    show_default=True,
    metavar="MS",
    help="What an object costs besides its bytes.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.parquet",
    help="Save the plan with its cut.",
)  # fmt: skip
@FORMAT
def split(
    sources: tuple[str, ...],
    parts: int | None,
    hours: float | None,
    rate_mbps: float,
    object_ms: float,
    output: Path | None,
    form: Format,
    **options: Any,
) -> None:
    """Cut a plan into parts of equal cost, each of whole series.

    Every machine cuts a plan alike, so `idc download PLAN --part K/N` needs nothing but the plan. Make more
    parts than machines: a machine that is fast then takes more of them.
    """
    from dataset_dl.plans.parts import costs, cut, sizes

    if (parts is None) == (hours is None):
        raise SelectionError("parts", "Into how many parts? Nothing was cut.", "Give either -n or --hours.")
    if output is not None and output.suffix.lower() != ".parquet":
        raise PlanError(
            str(output), f"“{output.name}” cannot hold how a plan is cut; nothing was written.",
            "Use a name that ends in .parquet.",
        )  # fmt: skip
    plan = planned(sources, options)
    object_bytes = round(rate_mbps * 1e6 * object_ms / 1e3)
    if parts is None:
        assert hours is not None, "one of them is given"
        spent = sum(costs(plan.rows, object_bytes)) / (rate_mbps * 1e6)
        parts = max(1, math.ceil(spent / (hours * 3600)))
        if parts > MOST_PARTS:
            raise PlanError(
                "hours", f"That would be {parts:,} parts, and there can be {MOST_PARTS:,}; nothing was cut.",
                "Give more hours.",
            )  # fmt: skip
    made = cut(plan, parts, object_bytes)
    if output is not None:
        made.save(output)
    by_rate = [(*each[:3], each.cost_bytes / (rate_mbps * 1e6)) for each in sizes(made)]
    rows = [(f"{number}/{parts}", *each) for number, each in enumerate(by_rate, 1)]
    columns = ("part", "series", "files", "size_bytes", "seconds")
    if form == "table":
        shown = [(*row[:3], size(row[3]), duration(row[4])) for row in rows]
        write(("part", "series", "files", "size", "time"), shown, form, sys.stdout)
    else:
        write(columns, rows, form, sys.stdout)
    click.echo(_summary([row[4] for row in rows], plan, rate_mbps), err=True)
    if output is not None:
        command = f"dataset-dl idc download {output} --part 1/{parts} --to DIR"
        click.echo(f"Saved as {output}. A part: {command}", err=True)


def _summary(seconds: Sequence[float], plan: Plan, rate_mbps: float) -> str:
    mean = sum(seconds) / len(seconds)
    most = f"the longest takes {duration(max(seconds))}"
    if mean > 0:
        most += f", {max(seconds) / mean:.3f} × the average"
    return (
        f"{counted(plan.series_count, 'series')}, {size(plan.size_bytes)} in {counted(len(seconds), 'part')};"
        f" at {rate_mbps:g} MB/s {most}."
    )


@cluster.command(cls=Command)
@_DIRECTORIES
@FORMAT
def status(directories: tuple[Path, ...], form: Format) -> None:
    """Show how far each part is, while it runs or later. DIR is the destination of all parts, or of each."""
    from dataset_dl.cluster.standing import standings

    found = standings(directories)
    if not found:
        raise SelectionError(
            str(directories[0]), f"{directories[0]} has no parts of a plan.",
            "Name the directory that `idc download --part` went to.",
        )  # fmt: skip
    if form == "table":
        _show(found)
    else:
        columns = tuple(found[0].to_dict())
        write(columns, [tuple(each.to_dict().values()) for each in found], form, sys.stdout)
    if any(each.needs_attention for each in found):
        click.get_current_context().exit(3)


def _show(found: Sequence[PartStanding]) -> None:
    rows = []
    for each in found:
        left = duration(each.seconds_left) if each.seconds_left is not None else ""
        rate = f"{each.throughput_mbps:.1f} MB/s" if each.throughput_mbps else ""
        series = f"{each.series:,} of {each.total_series:,}" if each.total_series is not None else ""
        rows.append(
            (each.part, each.state, each.attempt or "", series, each.failed_series or "",
             size(each.size_bytes), rate, left, each.host, each.message)
        )  # fmt: skip
    columns = ("part", "state", "attempt", "series", "failed", "size", "rate", "left", "host", "why")
    write(columns, rows, "table", sys.stdout, shown=columns)
    counts: dict[str, int] = {}
    for each in found:
        counts[each.state] = counts.get(each.state, 0) + 1
    states = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    rate_mbps = sum(each.throughput_mbps for each in found)
    total = sum(each.total_bytes or 0 for each in found)
    done = sum(each.size_bytes for each in found)
    click.echo(
        f"\n{counted(len(found), 'part')}: {states}. {size(done)} of {size(total)} that were begun,"
        f" {rate_mbps:.1f} MB/s together."
    )
    if any(each.needs_attention for each in found):
        click.echo("Parts that are lost, interrupted, failed or incomplete go on when they are begun again.")


@cluster.command("map", cls=Command)
@click.argument("directory", type=Directory(), metavar="DIR")
@click.option("--to", "consumer", required=True, metavar="CONSUMER", help="The consumer, as for `deliver`.")
@click.option("--on", "address", required=True, metavar="dask://HOST:PORT", help="The scheduler of Dask.")
@EVICT
def map_command(directory: Path, consumer: str, address: str, evict: bool | None) -> None:
    """Hand each verified series of a download to a consumer on the workers of Dask, each once.

    DIR is where the series are, at the same path on all machines. The same command goes on.
    """
    from dataset_dl.cli.deliver import sentence
    from dataset_dl.cluster.connecting import client_of
    from dataset_dl.cluster.mapping import map_series

    with client_of(address) as client:
        delivery = map_series(consumer, directory, client, evict=bool(evict))
    click.echo(f"{sentence(delivery)}.")
    for summary in delivery.summaries:
        click.echo(visible(summary))


@cluster.command(cls=Command)
@_DIRECTORIES
@click.option("--to", "target", type=Directory(), help="Where the series of several directories are moved.")
@click.option(
    "--report-only", is_flag=True,
    help="Only report, from the records of the parts; the series need not be on this machine.",
)  # fmt: skip
@click.option(
    "--trust-journal",
    is_flag=True,
    help="Trust the journals, without a look at the disk.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output.")
def gather(
    directories: tuple[Path, ...],
    target: Path | None,
    report_only: bool,
    trust_journal: bool,
    as_json: bool,
) -> None:
    """Make of all parts one download: one tree, one plan, one journal, one report, one LICENSES.md."""
    from dataset_dl.cluster.gathering import gather as gathered
    from dataset_dl.cluster.gathering import report_of_parts

    if report_only and (target is not None or trust_journal):
        raise SelectionError(
            "report-only",
            "--report-only moves and checks nothing; nothing was changed.",
            "Give it alone.",
        )
    try:
        report = (
            report_of_parts(*directories)
            if report_only
            else gathered(*directories, to=target, trust_journal=trust_journal)
        )
    except TransferIncomplete as error:
        if as_json and error.report is not None:
            _write_json(error.report)
        raise
    from dataset_dl.verbs.complaints import raise_for_report

    if as_json:
        _write_json(report)
    else:
        what = "are complete, their count and bytes checked"
        if report_only or report.trusted_series:
            what = "are complete by the records of the parts, without a look at the disk"
        click.echo(
            visible(
                f"{report.destination}: {report.complete_series:,} of {report.series_count:,} series {what},"
                f" {size(report.complete_bytes)}."
            )
        )
    raise_for_report(report)


def _write_json(report: Any) -> None:
    import json

    click.echo(json.dumps(report.to_dict()))
