"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.cli import completion

if TYPE_CHECKING:
    from dataset_dl.model import Plan

_MISSING_SHOWN = 20


class Directory(click.Path):
    """A directory that need not exist; an empty name, as of an unset variable, is none."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty name, which would be the working directory."""
        if value == "":
            self.fail("an empty name is no directory", param, ctx)
        return super().convert(value, param, ctx)


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
    help="Select as of this IDC version, as far as the tables tell.  [default: the newest here]",
)
LICENSE = click.option(
    "--license",
    "licences",
    multiple=True,
    metavar="NAME",
    help="Only what has this licence; “CC BY” is each of its versions and not CC BY-NC. May be repeated.",
)
SKIP_MISSING = click.option(
    "--skip-missing", is_flag=True, help="Leave out what IDC does not have, instead of an error."
)
WITH_REFERENCES = click.option(
    "--with-references", is_flag=True, help="Add the images that selected annotations were drawn on."
)
WITH_ANNOTATIONS = click.option(
    "--with-annotations", is_flag=True, help="Add the annotations that were drawn on selected images."
)
SOURCES = click.argument("sources", nargs=-1, metavar="SOURCE...", shell_complete=completion.sources)


def selection(function: Any) -> Any:
    """SOURCE… and its options: what a plan is made from, all that `planned` takes."""
    related = WITH_REFERENCES(WITH_ANNOTATIONS(function))
    return SOURCES(WHERE(LICENSE(LAYOUT(IDC_VERSION(SKIP_MISSING(related))))))


def planned(sources: tuple[str, ...], options: dict[str, Any], into: Path | None = None) -> Plan:
    """The plan of a command, after a word on what IDC does not have of it; its options are used up."""
    from dataset_dl.api import plan

    where = [*options.pop("where")]
    if licences := options.pop("licences"):
        from dataset_dl.index.rights import licences_like
        from dataset_dl.model import Condition

        where.append(Condition("license_short_name", "=", tuple(licences_like(licences))))
    names = ("layout", "idc_version", "skip_missing", "with_references", "with_annotations")
    made = plan(sources, where=where, into=into, **{name: options.pop(name) for name in names})
    if made.missing:
        _tell_missing(made)
    if made.unreferenced:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in made.unreferenced.items())
        click.echo(f"No table tells which images in IDC these were drawn on: {kinds} series.", err=True)
    return made


def _tell_missing(plan: Plan) -> None:
    from dataset_dl.manifest.tcia import SERIES_URL, is_uid

    missing = plan.missing
    click.echo(f"IDC v{plan.idc_version} does not have {len(missing):,} of what was asked for:", err=True)
    for each in missing[:_MISSING_SHOWN]:
        where = f"  TCIA may have it: {SERIES_URL.format(each)}" if is_uid(each) else ""
        click.echo(f"  {each}{where}", err=True)
    if len(missing) > _MISSING_SHOWN:
        click.echo(f"  and {len(missing) - _MISSING_SHOWN:,} more", err=True)


def network(function: Any) -> Any:
    """How the network is reached: what commands that ask a store have in common."""
    options = (
        click.option("--endpoint-url", metavar="URL", help="An S3 service that holds the buckets of IDC."),
        click.option("--source", type=click.Choice(["aws", "gcs"]), help="Whose store.  [default: aws]"),
        click.option("--sign", is_flag=True, default=None, help="Sign requests, by the usual AWS chain."),
        way_out,
    )
    for option in reversed(options):
        function = option(function)
    return function


def way_out(function: Any) -> Any:
    """The proxy and the authorities: all that commands need which ask no store."""
    proxy = click.option("--proxy", metavar="URL", callback=no_password, help="The proxy to go through.")
    authorities = click.option(
        "--ca-bundle",
        metavar="PATH",
        help="A PEM file, or a folder of them, with certificate authorities to trust.",
    )
    return proxy(authorities(function))


def no_password(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an address with a password in it."""
    if value is not None and "@" in value:
        raise click.BadParameter(
            "a password here is seen by every user of this machine; put the address into DATASET_DL_PROXY",
            context,
            parameter,
        )
    return value
