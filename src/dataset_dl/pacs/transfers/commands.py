"""``dataset-dl pacs batch`` and ``dataset-dl pacs jobs …``."""

from __future__ import annotations

import getpass
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, way_out
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import DeliveryIncomplete, SelectionError
from dataset_dl.model.outcome import Delivery
from dataset_dl.pacs.options import conditions, step_options
from dataset_dl.pacs.transfers.nouns import STATES
from dataset_dl.wording import counted, visible

if TYPE_CHECKING:
    from dataset_dl.pacs.transfers.nouns import TransferJob
    from dataset_dl.pacs.transfers.store import Store

_COLUMNS = ("id", "kind", "name", "owner", "state", "tasks", "done", "failed", "priority", "hours", "message")
_SHOWN = ("id", "state", "tasks", "done", "failed", "name", "message", "hours", "owner", "priority")
_OF_TASK = (
    "id", "row", "state", "PatientID", "StudyInstanceUID", "pseudonym", "instances", "done", "failed",
    "warnings", "attempts", "message",
)  # fmt: skip
_JOB = click.argument("job", type=int)


def _with_password(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from urllib.parse import urlsplit

    if value is not None and urlsplit(value).password is not None:
        raise SelectionError(
            "queue",
            "The address of the queue contains a password, which other users of this machine could see.",
            "Leave it out and use PGPASSWORD or ~/.pgpass, or set DATASET_DL_QUEUE.",
        )
    return value


_QUEUE = click.option(
    "--queue", metavar="ADDRESS", callback=_with_password,
    help="postgresql://host/database, for several machines.  [default: a file of this machine]",
)  # fmt: skip
_MAKING = (
    click.option("--name", default="", metavar="TEXT", help="What the job is called."),
    click.option(
        "--pseudonymise", is_flag=True, help="Put pseudonyms into the files on their way, by the key."
    ),
    click.option(
        "--pseudonym-option",
        "step",
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of pseudonyms, like allowed=SR. May be repeated.",
    ),
    click.option("--transcode", is_flag=True, help="Convert what the target does not take as it is."),
    click.option("--priority", type=int, default=0, show_default=True, help="A higher one comes first."),
    click.option("--hours", default="", metavar="HH:MM-HH:MM", help="When it may run."),
    click.option("--start", is_flag=True, help="Start it at once."),
    _QUEUE,
)


def _making(function: Any) -> Any:
    for option in reversed(_MAKING):
        function = option(function)
    return function


@click.command(
    cls=Command,
    examples=("dataset-dl pacs batch studies.xlsx --from WARD --to RESEARCH --pseudonymise --start",),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--from", "source", required=True, metavar="NODE", help="The archive to fetch from.")
@click.option("--to", "target", required=True, metavar="TARGET", help="A node or a directory.")
@_making
def batch(file: Path, source: str, target: str, start: bool, queue: str | None, **given: Any) -> None:
    """Make a job of a spreadsheet with PatientID, StudyInstanceUID, SeriesInstanceUID and Pseudonym.

    Wrong rows are named by number, and nothing is created then. `pacs jobs run` does the work.
    """
    from dataset_dl.pacs.transfers import batch as sheets

    _check(source, target)
    wanted = sheets.read(file, file.read_bytes(), source, target)
    if sheets.pseudonyms_of(wanted) and not given["pseudonymise"]:
        raise SelectionError(
            "Pseudonym",
            f"{file} has pseudonyms, but without --pseudonymise the files would keep their names; nothing was"
            " created.",
            "Add --pseudonymise, or remove the column.",
        )
    given["name"] = given["name"] or file.name
    _create("batch", wanted, start, queue, given)


@click.group()
def jobs() -> None:
    """Transfer jobs: made by `pacs batch`, `pacs jobs add`, the page or the API, done by workers."""


@jobs.command(
    cls=Command,
    examples=(
        "dataset-dl pacs jobs add --from WARD --to RESEARCH --study-date 2024-01-01..2024-01-31 --start",
    ),
)
@click.option("--from", "source", required=True, metavar="NODE", help="The archive to fetch from.")
@click.option("--to", "target", required=True, metavar="TARGET", help="A node or a directory.")
@conditions
@way_out
@_making
def add(
    source: str, target: str, asked: dict[str, str], start: bool, queue: str | None, **given: Any
) -> None:
    """Make a job of the studies that match: a task for each."""
    from dataset_dl.pacs.asking import ask
    from dataset_dl.pacs.query import Query
    from dataset_dl.pacs.transfers.nouns import Wanted
    from dataset_dl.verbs.options import network_of

    node = _check(source, target)
    network = network_of({name: given.pop(name, None) for name in ("proxy", "ca_bundle")})
    found = list(ask(node, Query.of(asked, "study"), network))
    if not found:
        raise SelectionError(source, f"{source} has no such study; nothing was created.")
    wanted = [Wanted(source, target, row.get("PatientID", ""), row["StudyInstanceUID"]) for row in found]
    _create("selective", wanted, start, queue, given)


def _check(source: str, target: str) -> Any:
    """Return the source; refuse what is none, or a target that is none."""
    from dataset_dl.pacs.nodes import Nodes
    from dataset_dl.pacs.transfers.running import target_node

    node = Nodes().find(source)
    if target_node(target).target == node.target:
        raise SelectionError(target, f"{target} is where it comes from; nothing was created.")
    return node


def _create(kind: Any, wanted: Any, start: bool, queue: str | None, given: dict[str, Any]) -> None:
    from dataset_dl.pacs.hours import check_hours
    from dataset_dl.pacs.transfers.steering import Steering

    store = _store(queue)
    options: dict[str, Any] = {"transcode": True} if given["transcode"] else {}
    step = step_options(given["step"])
    if given["pseudonymise"]:
        options["pseudonymise"] = step
    elif step:
        raise click.UsageError("--pseudonym-option needs --pseudonymise.", click.get_current_context())
    job = store.create(
        kind,
        wanted,
        owner=getpass.getuser(),
        name=given["name"],
        options=options,
        priority=given["priority"],
        hours=check_hours(given["hours"]),
    )
    store.log(getpass.getuser(), "create", f"job {job.id}", f"{counted(job.tasks, 'task')}")
    click.echo(f"Transfer job {job.id}: {counted(job.tasks, 'task')}")
    if start:
        Steering(store, getpass.getuser()).act(job.id, "start")
        click.echo("`dataset-dl pacs jobs run` does it, and so does the page.", err=True)
    else:
        click.echo(f"`dataset-dl pacs jobs start {job.id}` starts it.", err=True)


@jobs.command("list", cls=Command)
@_QUEUE
@FORMAT
def list_jobs(queue: str | None, form: Format) -> None:
    """List the transfer jobs, the newest first."""
    found = _store(queue).jobs()
    if form == "json":
        click.echo(json.dumps([job.to_dict() for job in found], indent=2))
        return
    write(_COLUMNS, [_row(job) for job in found], form, sys.stdout, shown=_SHOWN)


def _row(job: TransferJob) -> tuple[Any, ...]:
    counts = job.counts
    failed = counts.get("FAILURE", 0) + counts.get("WARNING", 0)
    return (
        job.id, job.kind, job.name, job.owner, job.state, job.tasks, counts.get("SUCCESS", 0), failed,
        job.priority, job.hours, job.message,
    )  # fmt: skip


@jobs.command(cls=Command)
@_JOB
@click.option("--state", default="", metavar="STATE", help="Only tasks in this state, like FAILURE.")
@click.option("--task", type=int, metavar="TASK", help="The instances of this task, in place of tasks.")
@_QUEUE
@FORMAT
def show(job: int, state: str, task: int | None, queue: str | None, form: Format) -> None:
    """Show the tasks of a job, or the instances of a task with what the target answered."""
    store = _store(queue)
    found = store.job(job)
    if state and state.upper() not in STATES:
        raise SelectionError(state, f"“{state}” is no state; there are {', '.join(STATES)}.")
    if task is not None:
        if store.task(task).job != job:
            raise SelectionError(str(task), f"Transfer job {job} has no task {task}.")
        rows = store.instances(task, limit=1_000_000)
        columns = ("SOPInstanceUID", "SeriesInstanceUID", "target", "status", "words", "size_bytes")
        write(columns, [tuple(row[name] for name in columns) for row in rows], form, sys.stdout)
        return
    tasks = store.tasks(job, state=state.upper(), limit=1_000_000)
    write(_OF_TASK, [tuple(getattr(each, name) for name in _OF_TASK) for each in tasks], form, sys.stdout)
    said = f"Transfer job {job} is {found.state}. {found.message}".strip()
    click.echo(visible(said), err=True)


def _acting(action: str, about: str) -> click.Command:
    @click.argument("several", type=int, nargs=-1, required=True, metavar="JOB...")
    @_QUEUE
    def act(several: tuple[int, ...], queue: str | None) -> None:
        from dataset_dl.pacs.transfers.steering import Steering

        steering = Steering(_store(queue), getpass.getuser())
        for number in several:
            job = steering.act(number, action)
            state = "deleted" if job is None else job.state
            is_ending = action in ("pause", "cancel") and state == "IN_PROGRESS"
            words = "stops as soon as its instances on the way have arrived" if is_ending else f"is {state}"
            click.echo(f"Transfer job {number} {words}.")

    act.__doc__ = about
    return click.command(action, cls=Command)(act)


for _action, _about in (
    ("verify", "Say that somebody has looked at jobs and found them right."),
    ("start", "Start jobs: they wait for a worker from now on."),
    ("pause", "Pause jobs; what was sent stays sent."),
    ("resume", "Go on with jobs that are paused."),
    ("cancel", "Give jobs up; what was sent stays sent."),
    ("retry", "Do again what failed or was canceled; what was sent is not sent again."),
    ("restart", "Do jobs anew from the beginning: everything is sent again."),
    ("delete", "Remove jobs from the list; what was sent stays sent."),
):
    jobs.add_command(_acting(_action, _about))


@jobs.command(cls=Command)
@_JOB
@click.argument("number", type=int)
@_QUEUE
def priority(job: int, number: int, queue: str | None) -> None:
    """Give a job another priority; a higher one comes first."""
    from dataset_dl.pacs.transfers.steering import Steering

    found = Steering(_store(queue), getpass.getuser()).prioritise(job, number)
    click.echo(f"Transfer job {job} has the priority {found.priority}.")


@jobs.command(cls=Command)
@click.option("--at-once", type=click.IntRange(1, 64), default=2, show_default=True, help="Tasks at once.")
@click.option("--stay", is_flag=True, help="Wait for more when nothing is left to do.")
@_QUEUE
def run(at_once: int, stay: bool, queue: str | None) -> None:
    """Do transfer jobs, as a worker: until nothing is left, or until Ctrl-C.

    Any number of workers, on any number of machines with one --queue, share the work.
    """
    from dataset_dl.pacs.transfers.worker import Worker

    store = _store(queue)
    began = time.time()
    worker = Worker(store, at_once=at_once, say=lambda words: click.echo(visible(words), err=True))

    def stop(number: int, frame: object) -> None:
        worker.stop()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        worker.run(until_idle=not stay)
    finally:
        signal.signal(signal.SIGTERM, before)
    failed = [
        job for job in store.jobs() if job.state in ("WARNING", "FAILURE") and (job.ended or 0) >= began
    ]
    if failed:
        names = ", ".join(str(job.id) for job in failed)
        raise DeliveryIncomplete(
            names,
            f"Some of the transfer jobs {names} failed; what the targets have is on record.",
            "`dataset-dl pacs jobs show JOB --state FAILURE` says why, and `dataset-dl pacs jobs retry JOB`"
            " does the rest.",
            delivery=Delivery(("pacs",)),
        )


@jobs.command(cls=Command)
@_QUEUE
@FORMAT
def log(queue: str | None, form: Format) -> None:
    """List who did what with transfers, the latest first."""
    rows = [
        (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at)), *each[1:])
        for each in _store(queue).logged()
    ]
    write(("at", "person", "verb", "subject", "detail"), rows, form, sys.stdout)


def _store(queue: str | None) -> Store:
    from dataset_dl.pacs.transfers.store import Store

    return Store(queue)
