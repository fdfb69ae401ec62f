"""``jobs``: the queue of downloads, and of what follows them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import (
    ENGINE,
    FORMAT,
    MAX_RATE,
    RETRIES,
    THEN,
    TO,
    VERIFY,
    Directory,
    planned,
    selection,
)
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError
from dataset_dl.wording import duration, size, visible

if TYPE_CHECKING:
    from dataset_dl.model.job import Job
    from dataset_dl.verbs.jobs import Jobs

_COLUMNS = ("id", "kind", "state", "series", "bytes", "rate", "destination", "message")
_SHOWN = ("id", "state", "series", "bytes", "destination", "kind", "rate", "message")


@click.group()
def jobs() -> None:
    """The jobs of this machine: downloads in a queue on disk, shared with the page and with Python."""


@jobs.command(cls=Command)
@selection
@TO
@ENGINE
@click.option("--workers", type=click.IntRange(1, 4096), help="Objects fetched in parallel.")
@RETRIES
@VERIFY
@MAX_RATE
@THEN
def add(sources: tuple[str, ...], destination: Path, **options: Any) -> None:
    """Plan a download and put it in the queue; `jobs run` or the page runs it."""
    asked = {"what": list(sources), "where": list(options["where"])}
    made = planned(sources, options, into=destination)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    job = _jobs().add_plan(made, destination, asked, **given)
    click.echo(
        f"Job {job.id}: {made.series_count:,} series, {size(made.size_bytes)}, to {visible(str(destination))}"
    )
    click.echo("`dataset-dl jobs run` runs it, and so does the page.", err=True)


@jobs.command("list", cls=Command)
@FORMAT
def list_jobs(form: Format) -> None:
    """List the jobs, the newest first."""
    found = _jobs().jobs()
    if form == "json":
        click.echo(json.dumps([job.to_dict() for job in found], indent=2))
        return
    write(_COLUMNS, [_row(job, form) for job in found], form, sys.stdout, shown=_SHOWN)


@jobs.command(cls=Command)
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Everything that is known of it, as JSON.")
def show(job: int, as_json: bool) -> None:
    """Show one job: what was asked for, how far it is, and what failed."""
    found = _jobs().job(job)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    for line in _lines(found):
        click.echo(visible(line))


def _moving(name: str, words: str) -> click.Command:
    """Return a command that changes the state of jobs."""

    def move(job: tuple[int, ...]) -> None:
        known = _jobs()
        for number in job:
            moved = getattr(known, name)(number)
            state = "removed" if moved is None else moved.state
            click.echo(f"Job {number}: {state}{_soon(name, state)}")

    return Command(
        name,
        callback=move,
        params=[click.Argument(["job"], type=int, nargs=-1, required=True, metavar="JOB...")],
        help=words,
    )


def _soon(name: str, state: str) -> str:
    if name in ("pause", "cancel") and state == "IN_PROGRESS":
        return ", and is being stopped"
    if name in ("resume", "retry"):
        return "; `dataset-dl jobs run` or the page runs it"
    return ""


jobs.add_command(_moving("pause", "Stop jobs; `resume` goes on where they were."))
jobs.add_command(_moving("resume", "Put paused jobs back in the queue."))
jobs.add_command(_moving("cancel", "Give jobs up; series that are complete stay."))
jobs.add_command(_moving("retry", "Put jobs back in the queue that failed, in part or whole."))
jobs.add_command(_moving("remove", "Remove jobs from the list; files that they fetched stay."))


@jobs.command(cls=Command)
@click.argument("kind", type=click.Choice(["verify", "repair", "update"]))
@click.argument("directory", type=Directory())
@click.option("--md5", is_flag=True, help="Also compare each file with the store's MD5 sum.")
def check(kind: str, directory: Path, md5: bool) -> None:
    """Put work on a downloaded tree in the queue: verify it, repair it, or bring it up to date."""
    if md5 and kind == "update":
        raise SelectionError(
            "md5", "An update compares no MD5 sums; nothing was started.", "Leave --md5 out."
        )
    job = _jobs().add_check(kind, directory, **({"md5": True} if md5 else {}))
    click.echo(f"Job {job.id}: {kind} {visible(str(directory))}")


@jobs.command(cls=Command)
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs at the same time."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line for each change.")
def run(at_once: int, as_json: bool) -> None:
    """Run the jobs that wait, until none does. Ctrl-C pauses those that are running."""
    shown: dict[int, str] = {}

    def say(job: Job) -> None:
        if as_json:
            click.echo(json.dumps(job.to_dict()))
        elif shown.get(job.id) != job.state:
            shown[job.id] = job.state
            told = f": {job.message}" if job.message else ""
            click.echo(visible(f"Job {job.id} ({job.kind}, {job.destination}): {job.state}{told}"))

    ended = _jobs().run(at_once=at_once, on_change=say)
    if not ended and not as_json:
        click.echo("No job waits.", err=True)
    raise_for_jobs(ended)


def raise_for_jobs(ended: Iterable[Job]) -> None:
    """Exit as the worst of some jobs calls for."""
    context = click.get_current_context()
    codes = [int(job.outcome.get("exit_code", 3)) for job in ended if job.state in ("FAILURE", "WARNING")]
    if codes:
        context.exit(codes[0] if len(codes) == 1 else 3)


def _jobs() -> Jobs:
    from dataset_dl.verbs.jobs import Jobs

    return Jobs()


def _row(job: Job, form: Format) -> tuple[Any, ...]:
    progress = job.progress
    done = 0 if progress is None else progress.completed_bytes
    rate = 0.0 if progress is None or job.state != "IN_PROGRESS" else progress.throughput_mbps
    series = "" if progress is None else f"{progress.completed_series}/{progress.total_series}"
    if form != "table":
        return (job.id, job.kind, job.state, series, done, rate, job.destination, job.message)
    told = f"{rate:.1f} MB/s" if rate else ""
    return (job.id, job.kind, job.state, series, size(done), told, job.destination, job.message)


def _lines(job: Job) -> Iterable[str]:
    yield f"Job {job.id}: {job.kind} to {job.destination}"
    yield f"{job.state}{f': {job.message}' if job.message else ''}"
    request: Mapping[str, Any] = job.request
    if "series_count" in request:
        named = [each for each in request.get("what", ()) if each]
        more = request.get("what_count", len(named)) - len(named)
        words = [*named, *([f"and {more:,} more"] if more > 0 else [])]
        what = " ".join([*words, *(f"--where {each}" for each in request.get("where", ()))])
        asked = f"{request['series_count']:,} series, {size(request['size_bytes'])}"
        yield f"asked for: {what.strip() or 'a plan'} ({asked})"
    if (progress := job.progress) is not None:
        yield (
            f"{progress.completed_series:,} of {progress.total_series:,} series,"
            f" {size(progress.completed_bytes)} of {size(progress.total_bytes)},"
            f" {duration(progress.elapsed_seconds)}"
        )
    for failure in job.outcome.get("failures", ()):
        name = failure["SeriesInstanceUID"] or failure["crdc_series_uuid"]
        yield f"failed: {name} ({failure['cause']}: {failure['message']})"
    if (count := job.outcome.get("failure_count", 0)) > len(job.outcome.get("failures", ())):
        yield f"{count:,} series failed in all; failed.csv in the destination lists them."
