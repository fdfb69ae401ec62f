"""``idc cite``: how to give credit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, Unpack

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import SOURCES, way_out

if TYPE_CHECKING:
    from dataset_dl.verbs.options import NetworkOptions


@click.command(cls=Command)
@SOURCES
@click.option(
    "--style",
    type=click.Choice(["apa", "bibtex", "json"]),
    default="apa",
    show_default=True,
    help="For people, for LaTeX, or CSL JSON for programs.",
)
@click.option("--offline", is_flag=True, help="Use only the tables of IDC, make no request.")
@way_out
def cite(
    sources: tuple[str, ...],
    style: Literal["apa", "bibtex", "json"],
    offline: bool,
    **options: Unpack[NetworkOptions],
) -> None:
    """List the works to cite for collections, series or manifests."""
    import logging

    from dataset_dl.verbs import look

    logging.getLogger("dataset_dl").addHandler(logging.StreamHandler())
    found = look.cite(sources, style=style, offline=offline, **options)
    if style == "json":
        click.echo(json.dumps([json.loads(each) for each in found], indent=1, ensure_ascii=False))
    else:
        click.echo("\n\n".join(found))
