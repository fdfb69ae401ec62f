"""``dataset-dl pacs query``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, way_out
from dataset_dl.cli.tables import Format, write
from dataset_dl.pacs.options import conditions
from dataset_dl.wording import counted

_LEVEL = click.option(
    "--level",
    type=click.Choice(["patient", "study", "series"]),
    default="study",
    show_default=True,
    help="What a row of the answer is.",
)


@click.command(
    cls=Command,
    examples=(
        "dataset-dl pacs query WARD --study-date 2024-01-01..2024-01-31 --modality CT",
        "dataset-dl pacs query WARD --patient-id 'P12*' --level series --format csv",
        "dataset-dl pacs query WARD --batch cases.xlsx -o answers.xlsx",
    ),
)
@click.argument("node", metavar="NODE")
@conditions
@_LEVEL
@click.option(
    "--batch",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A spreadsheet (.xlsx, .csv): a query in each row.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where the answers to --batch go."
)
@way_out
@FORMAT
def query(
    node: str,
    asked: dict[str, str],
    level: str,
    batch: Path | None,
    output: Path | None,
    form: Format,
    **options: Any,
) -> None:
    """Ask an archive for patients, studies or series (C-FIND, QIDO-RS)."""
    from dataset_dl.pacs.asking import ask
    from dataset_dl.pacs.nodes import Nodes
    from dataset_dl.pacs.query import COLUMNS, SHOWN, Query
    from dataset_dl.verbs.options import network_of

    found = Nodes().find(node)
    if batch is not None or output is not None:
        _answer_batch(found, batch, output, asked, level, options)
        return
    wanted = Query.of(asked, level)
    columns = COLUMNS[wanted.level]
    rows = [tuple(row.get(name, "") for name in columns) for row in ask(found, wanted, network_of(options))]
    write(columns, rows, form, sys.stdout, shown=SHOWN[wanted.level])
    click.echo(f"{counted(len(rows), wanted.level)} of {node}", err=True)


def _answer_batch(
    node: Any,
    batch: Path | None,
    output: Path | None,
    asked: dict[str, str],
    level: str,
    options: dict[str, Any],
) -> None:
    from dataset_dl.pacs import spreadsheets
    from dataset_dl.pacs.asking import Batch
    from dataset_dl.verbs.options import network_of

    if batch is None or output is None:
        raise click.UsageError("--batch and -o belong together.", click.get_current_context())
    if asked:
        raise click.UsageError(
            "--batch asks what its rows say; leave the others out.", click.get_current_context()
        )
    spreadsheets.refuse_target(output)
    rows = Batch(batch, level)
    rows.answer(node, network_of(options), output)
    click.echo(f"{rows.answered:,} of {counted(rows.asked, 'row')} answered in {output}.", err=True)
    if rows.failed:
        click.echo(f"dataset-dl: {counted(rows.failed, 'row')} failed; {output} says why.", err=True)
        click.get_current_context().exit(3)
