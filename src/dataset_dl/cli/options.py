"""Options that several commands share."""

from __future__ import annotations

from typing import Any

import click

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
