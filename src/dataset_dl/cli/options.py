"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


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
    metavar="CONDITION",
    help="COLUMN=VALUE[,VALUE…], or with != < <= > >= or ~ (contains). May be repeated; all must hold.",
)
LAYOUT = click.option(
    "--layout",
    metavar="TEMPLATE",
    help="Directories below the destination.  [default: %collection_id/%PatientID/%StudyInstanceUID/"
    "%Modality_%SeriesInstanceUID]",
)
SOURCES = click.argument("sources", nargs=-1, metavar="SOURCE...")


def selection(function: Any) -> Any:
    """SOURCE…, ``--where`` and ``--layout``: what a plan is made from."""
    return SOURCES(WHERE(LAYOUT(function)))


def network(function: Any) -> Any:
    """How the network is reached: what commands that ask a store have in common."""
    options = (
        click.option("--endpoint-url", metavar="URL", help="An S3 service that holds the buckets of IDC."),
        click.option("--source", type=click.Choice(["aws", "gcs"]), help="Whose store.  [default: aws]"),
        click.option("--sign", is_flag=True, default=None, help="Sign requests, by the usual AWS chain."),
        click.option("--proxy", metavar="URL", callback=no_password, help="The proxy to go through."),
        click.option(
            "--ca-bundle",
            metavar="PATH",
            help="A PEM file, or a folder of them, with certificate authorities to trust.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def no_password(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an address with a password in it."""
    if value is not None and "@" in value:
        raise click.BadParameter(
            "a password here is seen by every user of this machine; put the address into DATASET_DL_PROXY",
            context,
            parameter,
        )
    return value
