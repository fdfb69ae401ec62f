"""``idc facets``: exact counts under a filter, at once."""

from __future__ import annotations

import sys

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError
from dataset_dl.model.selection import Condition


@click.command(cls=Command)
@click.argument("facet", required=False)
@click.option(
    "--where",
    multiple=True,
    metavar="FACET=VALUE[,VALUE…]",
    help="Only series with one of these values. May be repeated; all must hold.",
)
@FORMAT
def facets(facet: str | None, where: tuple[str, ...], form: Format) -> None:
    """Count patients, studies, series and bytes for each value of a facet; without one, list the facets."""
    from dataset_dl.sources.idc.cube import FACETS, Totals, cube
    from dataset_dl.wording import size

    conditions = [_chosen(each) for each in where]
    chosen = dict(conditions)
    if len(chosen) < len(conditions):
        raise SelectionError(
            "where", "A facet has two conditions.", "Write one, with all of its values: FACET=VALUE,VALUE."
        )
    held = cube()
    held.check(chosen)
    if facet is None:
        names: tuple[str, ...] = ("facet", "values", *Totals._fields)
        total = held.totals(chosen)
        rows = [(each, len(held.counts(each, chosen)), *total) for each in FACETS]
    else:
        names = ("value", *Totals._fields)
        rows = [(value or "(empty)", *totals) for value, totals in held.counts(facet, chosen).items()]  # type: ignore[misc]
    if form == "table":
        names = (*names[:-1], "size")
        rows = [(*row[:-1], size(row[-1])) for row in rows]  # type: ignore[misc]
    write(names, rows, form, sys.stdout)


def _chosen(text: str) -> tuple[str, tuple[str, ...]]:
    condition = Condition.parse(text)
    if condition.operator != "=":
        raise SelectionError(
            text, f"“{text}” is not FACET=VALUE.", "`dataset-dl idc query` counts under any condition."
        )
    return condition.column, condition.values
