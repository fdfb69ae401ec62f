"""``cluster submit``: an array job for the scheduler that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import TO
from dataset_dl.cluster.amounts import Amount
from dataset_dl.errors import PlanError, SelectionError

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(cls=Command)
@click.argument("plan", type=_FILE)
@TO
@click.option("--slurm", is_flag=True, help="Write and submit an array job of Slurm.")
@click.option("--kubernetes", is_flag=True, help="Print an indexed Job of Kubernetes.")
@click.option("--aws-batch", is_flag=True, help="Print an array job of AWS Batch.")
@click.option(
    "--template", type=_FILE, metavar="FILE", help="Print this template filled in; with --slurm submit it."
)
@click.option("--print", "only_print", is_flag=True, help="With --slurm: only print what would be submitted.")
@click.option(
    "--show-template",
    is_flag=True,
    help="Print the template itself, to be changed and given as --template.",
)
@click.option(
    "--plan-path", metavar="PATH", help="Where the machines see the plan.  [default: its absolute path]"
)
@click.option(
    "--at-once", type=click.IntRange(1), default=16, show_default=True, metavar="N", help="Parts at a time."
)
@click.option("--name", default="dataset-dl", show_default=True, metavar="NAME", help="The name of the job.")
@click.option("--cpus", type=click.IntRange(1), default=2, show_default=True, help="Cores of a part.")
@click.option(
    "--memory", "memory_mib", type=click.IntRange(256), default=2048, show_default=True, metavar="MIB",
    help="Memory of a part, in MiB.",
)  # fmt: skip
@click.option(
    "--time-limit", "hours", type=Amount(), default=24.0, show_default=True,
    metavar="HOURS", help="After so long a part is ended, and goes on elsewhere.",
)  # fmt: skip
@click.option(
    "--grace", "grace_seconds", type=click.IntRange(1), default=120, show_default=True, metavar="SECONDS",
    help="How long before its end a part is told.",
)  # fmt: skip
@click.option(
    "--restarts", type=click.IntRange(0, 100), default=5, show_default=True, metavar="N",
    help="How often a part that did not end well is begun again.",
)  # fmt: skip
@click.option(
    "--shared-rate", type=Amount(), metavar="MB/S",
    help="Limit of all running parts together; each takes an equal share.",
)  # fmt: skip
@click.option("--image", default="", metavar="IMAGE", help="The image of the containers; it has dataset-dl.")
@click.option(
    "--volume",
    default="",
    metavar="NAME",
    help="The claim of a volume, or the file system, with PLAN and DIR.",
)
@click.option("--mount", default="", metavar="PATH", help="Where the volume is in the container.")
@click.option("--queue", default="", metavar="NAME", help="The queue of AWS Batch.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTION...]")
def submit(
    plan: Path,
    destination: Path,
    slurm: bool,
    kubernetes: bool,
    aws_batch: bool,
    template: Path | None,
    only_print: bool,
    show_template: bool,
    plan_path: str | None,
    hours: float,
    shared_rate: float | None,
    more: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Run the parts of a plan as an array job. PLAN is from `cluster split`, DIR is shared by all machines.

    What is behind -- goes to each `idc download`, like `-- --durable`.
    """
    from dataset_dl.cluster.submitting import Request, filled, program, submit_to_slurm, template_of
    from dataset_dl.plans.opening import origin_of

    wanted = {"slurm": slurm, "kubernetes": kubernetes, "aws-batch": aws_batch}
    kinds = [name for name, is_wanted in wanted.items() if is_wanted]
    if len(kinds) > 1:
        words = f"{' and '.join(kinds)} are several schedulers; nothing was submitted."
        raise SelectionError(kinds[0], words, "Name one.")
    kind = kinds[0] if kinds else "array"
    text = _text_of(template) if template is not None else template_of(kind)
    if show_template:
        click.echo(text, nl=False)
        return
    _check_options(more)
    cut = origin_of(plan).cut
    if cut is None or cut.number:
        raise PlanError(
            str(plan), f"{plan} is not cut into parts, so there is no array to submit.",
            f"`dataset-dl cluster split {plan} -n N -o FILE.parquet` cuts it.",
        )  # fmt: skip
    logs = plan.absolute().with_suffix(".logs")
    options = [*more, *(() if shared_rate is None else ("--shared-rate", f"{shared_rate:g}"))]
    is_here = kind in ("slurm", "array")
    request = Request(
        plan=plan_path or str(plan.absolute()),
        destination=str(destination.absolute() if is_here else destination),
        parts=cut.total,
        time_limit_seconds=max(1, round(hours * 3600)),
        logs=str(logs),
        options=options,
        **chosen,
    )
    script = filled(kind, text, request, program() if is_here else ["dataset-dl"])
    click.echo(script, nl=False)
    if kind == "slurm" and only_print:
        click.echo(f"Nothing was submitted. Slurm writes to {logs}, which must be there.", err=True)
    if kind == "slurm" and not only_print:
        said = submit_to_slurm(script, plan.absolute().with_suffix(".slurm.sh"), logs)
        click.echo(f"{said}. Logs: {logs}. How far it is: dataset-dl cluster status {destination}", err=True)


def _text_of(template: Path) -> str:
    try:
        return template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            str(template), f"The template {template} cannot be read ({error}); nothing was submitted."
        ) from None


def _check_options(more: tuple[str, ...]) -> None:
    """Refuse now what each part would refuse, and what would send it elsewhere.

    Raises
    ------
    SelectionError, click.UsageError
        If an option is unknown or wrong, or one that the array sets itself.
    """
    from dataset_dl.cli.download import download

    with download.make_context("idc download", ["PLAN", "--to", "DIR", *more]) as context:
        given = context.params
    own = given["part"] is not None or given["take_over"] or given["shared_rate_mbps"] is not None
    if given["sources"] != ("PLAN",) or given["destination"] != Path("DIR") or given["dry_run"] or own:
        raise SelectionError(
            " ".join(more),
            f"“{' '.join(more)}” would make other downloads of the parts; nothing was submitted.",
            "Behind -- stand options of `idc download` other than --to, --dry-run, --part, --take-over and"
            " --shared-rate.",
        )
