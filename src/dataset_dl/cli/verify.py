"""``idc verify``: compare a tree with its plan or the index."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import Directory, network
from dataset_dl.errors import VerificationError
from dataset_dl.wording import counted

if TYPE_CHECKING:
    from dataset_dl.model.checks import Deviation, Verification
    from dataset_dl.model.outcome import Report
    from dataset_dl.verbs.options import NetworkOptions

_DEVIATIONS_SHOWN = 100
_UNCHECKED_SHOWN = 5


@click.command(cls=Command)
@click.argument("directory", type=Directory())
@click.option("--deep", is_flag=True, help="Read the header of each file and compare its UIDs.")
@click.option("--md5", is_flag=True, help="Compare each file with the store's checksum.")
@click.option("--repair", is_flag=True, help="Fetch what is wrong, and nothing else.")
@network
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def verify(
    directory: Path,
    deep: bool,
    md5: bool,
    repair: bool,
    as_json: bool,
    **options: Unpack[NetworkOptions],
) -> None:
    """Check the count and the bytes of every series below a directory.

    The tree is compared with the plan kept in it, or with the index if it keeps none.
    """
    from dataset_dl.verbs import check
    from dataset_dl.verbs.complaints import raise_for_report

    outcome = check.verify(directory, deep=deep, md5=md5, **options)
    report = None
    if repair and not outcome.ok:
        report = check.repair(outcome, **options)
    if as_json:
        document = outcome.to_dict()
        if report is not None:
            document["repair"] = report.to_dict()
        click.echo(json.dumps(document))
    else:
        _show(outcome, report)
    if report is not None:
        raise_for_report(report)
        if strangers := {each.directory for each in outcome.deviations if each.problem == "extra"}:
            raise VerificationError(
                str(directory),
                f"Everything that could be fetched is repaired; {_hold(len(strangers), directory)}"
                " files that do not belong there, which were left as they are.",
                "Remove them if you do not need them.",
            )
    elif not outcome.ok:
        raise VerificationError(
            str(directory),
            f"{_are(_wrong(outcome), directory)} not as {'it' if _wrong(outcome) == 1 else 'they'} should be;"
            f" {outcome.complete_series:,} of {outcome.series_count:,} series are complete.",
            _advice(outcome),
        )


def _are(count: int, directory: Path) -> str:
    return f"{counted(count, 'directory')} below {directory} {'is' if count == 1 else 'are'}"


def _hold(count: int, directory: Path) -> str:
    return f"{counted(count, 'directory')} below {directory} {'holds' if count == 1 else 'hold'}"


def _advice(outcome: Verification) -> str:
    """Return what to do: missing and wrong files can be fetched, extra files must be removed."""
    extra = any(each.problem == "extra" for each in outcome.deviations)
    can_be_fetched = any(each.problem != "extra" and each.expected_instances for each in outcome.deviations)
    if can_be_fetched:
        rest = " Remove files that do not belong there yourself." if extra else ""
        return f"The same command with --repair fetches what is wrong.{rest}"
    return "Remove what does not belong there; there is nothing to fetch."


def _wrong(outcome: Verification) -> int:
    return len({each.directory for each in outcome.deviations})


def _show(outcome: Verification, report: Report | None) -> None:
    from dataset_dl.cli.tables import write
    from dataset_dl.wording import size

    if outcome.deviations:
        shown = outcome.deviations[:_DEVIATIONS_SHOWN]
        rows = [(each.problem, _what(each), f"{each.directory}/{each.file}") for each in shown]
        write(("problem", "there is", "in"), rows, "table", sys.stdout)
        if more := len(outcome.deviations) - len(shown):
            click.echo(f"… and {more:,} more; --json lists them all")
    if outcome.unchecked:
        click.echo(
            f"{len(outcome.unchecked):,} could not be compared with the store's checksums, for example:"
        )
        for path in outcome.unchecked[:_UNCHECKED_SHOWN]:
            click.echo(f"  {path}")
    if outcome.used_series:
        click.echo(f"{outcome.used_series:,} series were delivered and removed since")
    if outcome.ok and (outcome.series_count or not outcome.used_series):
        click.echo(
            f"{outcome.root}: {outcome.series_count:,} series, {size(outcome.size_bytes)}, all complete"
        )
    elif report is not None and report.ok and report.fetched_series:
        click.echo(
            f"{outcome.root}: repaired; {report.fetched_series:,} series, and"
            f" {outcome.complete_series:,} were complete before"
        )


def _what(deviation: Deviation) -> str:
    if deviation.detail or deviation.file:
        return deviation.detail
    if deviation.problem in ("missing", "extra"):
        return f"{deviation.present_instances:,} of {deviation.expected_instances:,} files"
    return f"{deviation.present_bytes:,} of {deviation.expected_bytes:,} bytes"
