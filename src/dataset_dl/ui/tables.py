"""Listings: a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
from collections.abc import Iterable, Sequence
from typing import IO, Any, Literal

Format = Literal["table", "json", "csv"]


def write(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    form: Format,
    stream: IO[str],
    *,
    shown: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Write rows as they come.

    Parameters
    ----------
    columns
        Their names.
    rows
        The values.
    form
        ``table``, ``json`` (one array of objects) or ``csv``.
    stream
        Where to.
    shown
        The columns that a table shows; programs get all of them.
    title
        A line above the table.
    """
    if form == "csv":
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    elif form == "json":
        _write_json(columns, rows, stream)
    else:
        _write_table(columns, rows, stream, shown or columns, title)


def _write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], stream: IO[str]) -> None:
    separator = "["
    for row in rows:
        text = json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=_plain)
        stream.write(f"{separator}\n{text}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def _plain(value: object) -> object:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _write_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    stream: IO[str],
    shown: Sequence[str],
    title: str | None,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = list(rows)
    places = [columns.index(name) for name in shown]
    # In a pipe there is no width to fit into, and nothing may be cut off.
    console = Console(file=stream) if stream.isatty() else Console(file=stream, width=10_000)
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for name, place in zip(shown, places, strict=True):
        numeric = any(isinstance(row[place], int | float) and row[place] is not True for row in kept)
        table.add_column(
            Text(name), justify="right" if numeric else "left", no_wrap=numeric or place == 0, overflow="fold"
        )
    for row in kept:
        table.add_row(*(Text(_cell(row[place])) for place in places))
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
