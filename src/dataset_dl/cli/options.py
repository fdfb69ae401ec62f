"""Options that several commands share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataset_dl.cli import completion
from dataset_dl.errors import SelectionWarning
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.wording import counted, first_few

if TYPE_CHECKING:
    from dataset_dl.model.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])
_MISSING_SHOWN = 20


class Directory(click.Path):
    """A directory that need not exist; rejects an empty name, as from an unset variable."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reject an empty name, which would mean the working directory."""
        if value == "":
            self.fail("an empty name is not a directory", param, ctx)
        return super().convert(value, param, ctx)


TO = click.option("--to", "destination", required=True, type=Directory(), help="The destination.")
ENGINE = click.option(
    "--engine",
    metavar="NAME",
    help=f"The engine that fetches: auto, or its name.  [default: {DownloadSettings.engine}]",
)
RETRIES = click.option(
    "--retries",
    type=click.IntRange(0, 100),
    help=f"Rounds for series that failed for a transient reason.  [default: {DownloadSettings.retries}]",
)
VERIFY = click.option(
    "--verify",
    type=click.Choice(["size", "md5"]),
    help=f"md5: also compare every file with the store's MD5 sum.  [default: {DownloadSettings.verify}]",
)
MAX_RATE = click.option(
    "--max-rate",
    "max_rate_mbps",
    type=click.FloatRange(0, min_open=True),
    metavar="MB/S",
    help="Fetch no faster than this.",
)
DURABLE = click.option(
    "--durable",
    is_flag=True,
    default=None,
    help="Count a series as complete only once it is on the disk itself and outlasts a power loss.",
)
THEN = click.option(
    "--then",
    multiple=True,
    metavar="CONSUMER",
    help="Hand each series to a consumer as soon as it is verified: NAME, NAME:WHERE or"
    " NAME:WHERE?OPTION=VALUE. May be repeated.",
)
EVICT = click.option(
    "--evict",
    is_flag=True,
    default=None,
    help="Remove a series when every consumer has taken it; a rerun does not fetch it again.",
)
DISK_BUDGET = click.option(
    "--disk-budget",
    metavar="BYTES",
    help="Keep at most so many bytes of series on the disk, like 500GB; needs --evict.",
)
CONSUMER_PROCESSES = click.option(
    "--consumer-processes",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes, or threads, for each consumer.  [default: one a core, or as it says]",
)
FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="A table for people, JSON or CSV for programs.",
)
WHERE = click.option(
    "--where",
    multiple=True,
    shell_complete=completion.condition,
    metavar="CONDITION",
    help="COLUMN=VALUE[,VALUE…], or with != < <= > >= or ~ (contains). May be repeated; all must hold.",
)
LAYOUT = click.option(
    "--layout",
    metavar="TEMPLATE",
    shell_complete=completion.layout,
    help="Directories below the destination.  [default: %collection_id/%PatientID/%StudyInstanceUID/"
    "%Modality_%SeriesInstanceUID]",
)
IDC_VERSION = click.option(
    "--idc-version",
    type=click.IntRange(min=2),
    metavar="N",
    help="Select as of this IDC version, if the tables record it.  [default: the newest installed]",
)
LICENSE = click.option(
    "--license",
    "licences",
    multiple=True,
    metavar="NAME",
    help="Only series with this licence; “CC BY” means all its versions, but not CC BY-NC. May be repeated.",
)
SKIP_MISSING = click.option(
    "--skip-missing", is_flag=True, help="Leave out what IDC does not have instead of failing."
)
WITH_REFERENCES = click.option(
    "--with-references", is_flag=True, help="Add the images that selected annotations were drawn on."
)
WITH_ANNOTATIONS = click.option(
    "--with-annotations", is_flag=True, help="Add the annotations that were drawn on selected images."
)
ORIGINAL_ONLY = click.option(
    "--original-only", is_flag=True, help="Leave out analysis results, which were made from the images."
)
LIMIT = click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the first N series, in the order of the index.",
)
SAMPLE = click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Only N series, chosen at random."
)
SEED = click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="S",
    help="Seed of the sample: the same seed chooses the same series.",
)
STRICT = click.option(
    "--strict", is_flag=True, help="Fail if a value of --where matches nothing, in any column."
)
SOURCES = click.argument("sources", nargs=-1, metavar="SOURCE...", shell_complete=completion.sources)


def index_version(*, hidden: bool = False) -> Callable[[F], F]:
    """Return the option for the version of the index that a command uses."""

    def choose(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            from dataset_dl.sources.idc import releases

            releases.use(value)

    return click.option(
        "--index-version",
        metavar="N",
        hidden=hidden,
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="Use this version of the index, like 25.0.5.  [default: the newest installed]",
    )


def selection(function: Any) -> Any:
    """Add SOURCE… and the options that choose from it: everything that `planned` needs."""
    choosing = (WHERE, LICENSE, ORIGINAL_ONLY, LIMIT, SAMPLE, SEED, STRICT)
    related = (WITH_REFERENCES, WITH_ANNOTATIONS)
    for option in reversed((SOURCES, *choosing, *related, LAYOUT, IDC_VERSION, SKIP_MISSING)):
        function = option(function)
    return function


def planned(sources: tuple[str, ...], options: dict[str, Any], into: Path | None = None) -> Plan:
    """Make the plan of a command and report what is not to be had; removes the options it uses."""
    from dataset_dl.verbs.options import PlanOptions
    from dataset_dl.verbs.plan import plan

    where = [*options.pop("where")]
    if licences := options.pop("licences"):
        from dataset_dl.model.selection import Condition
        from dataset_dl.sources.idc.rights import licences_like

        where.append(Condition("license_short_name", "=", tuple(licences_like(licences))))
    names = set(PlanOptions.__annotations__) - {"where"}
    chosen = {name: options.pop(name) for name in names if name in options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionWarning)  # `_show_notes` reports it
        made = plan(sources, where=where, into=into, **chosen)
    _show_notes(made)
    if made.missing:
        _show_missing(made)
    if made.unreferenced:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in made.unreferenced.items())
        click.echo(f"No table lists the images in IDC that these were drawn on: {kinds} series.", err=True)
    return made


def _show_notes(plan: Plan) -> None:
    """Report how the rows of each file were used, and the notes of the plan."""
    for account in plan.origin.accounts:
        if not account.rows:
            continue
        again = account.rows - account.named
        repeated = f", {again:,} repeated" if again else ""
        click.echo(
            f"{account.read_from}: {counted(account.rows, 'row')}, {account.named:,} named{repeated}",
            err=True,
        )
    if plan.origin.matching_series is not None:
        click.echo(f"{plan.series_count:,} of {plan.origin.matching_series:,} series that match", err=True)
    for note in plan.notes:
        click.echo(note, err=True)
    if plan.excluded:
        what = f"{len(plan.excluded):,} of the named identifiers"
        click.echo(f"No series of {what} meets the conditions: {first_few(plan.excluded)}", err=True)


def _show_missing(plan: Plan) -> None:
    from dataset_dl.manifest.tcia import SERIES_URL, is_uid

    missing = plan.missing
    also_asked, idc = plan.origin.also_asked, f"IDC v{plan.idc_version}"
    who = f"Neither {idc} nor {also_asked} has" if also_asked else f"{idc} does not have"
    click.echo(f"{who} {len(missing):,} of what was asked for:", err=True)
    for each in missing[:_MISSING_SHOWN]:
        where = f"  TCIA may have it: {SERIES_URL.format(each)}" if is_uid(each) and not also_asked else ""
        click.echo(f"  {each}{where}", err=True)
    if len(missing) > _MISSING_SHOWN:
        click.echo(f"  and {len(missing) - _MISSING_SHOWN:,} more", err=True)


def network(function: Any) -> Any:
    """Add the network options of commands that access a store."""
    options = (
        click.option("--endpoint-url", metavar="URL", help="An S3 service that holds the buckets of IDC."),
        click.option(
            "--store",
            type=click.Choice(["aws", "gcs", "auto"]),
            help="The store to fetch from; auto: the nearer one.  [default: aws]",
        ),
        click.option(
            "--sign",
            is_flag=True,
            default=None,
            help="Sign requests with credentials from the usual AWS chain.",
        ),
        way_out,
    )
    for option in reversed(options):
        function = option(function)
    return function


def way_out(function: Any) -> Any:
    """Add the options for the proxy and the certificate authorities, enough for commands without a store."""
    proxy = click.option("--proxy", metavar="URL", callback=no_password, help="The proxy to use.")
    authorities = click.option(
        "--ca-bundle",
        metavar="PATH",
        callback=_for_command,
        help="A PEM file, or a folder of PEM files, with certificate authorities to trust.",
    )
    return proxy(authorities(function))


def no_password(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reject an address that contains a password."""
    if value is not None and "@" in value:
        raise click.BadParameter(
            "every user of this machine can see a password here; put the address into DATASET_DL_PROXY",
            context,
            parameter,
        )
    return _for_command(context, parameter, value)


def _for_command(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Let an option hold for all that the command does, also for sources and consumers."""
    if value is not None:
        from dataset_dl.network.settings import set_for_command

        set_for_command(**{str(parameter.name): value})
    return value
