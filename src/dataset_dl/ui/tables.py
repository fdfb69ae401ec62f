"""Listings: a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import IO, Any, Literal

Format = Literal["table", "json", "csv"]

_NARROWEST = 12


def write(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    form: Format,
    stream: IO[str],
    *,
    shown: Sequence[str] | None = None,
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
    """
    try:
        if form == "csv":
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows(rows)
        elif form == "json":
            _write_json(columns, rows, stream)
        else:
            _write_table(columns, rows, stream, shown or columns)
        stream.flush()
    except BrokenPipeError:
        # A reader like head has seen enough; Python must not complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
) -> None:
    # rich draws the same in a quarter of a second, which is as long as the whole answer takes.
    places = [columns.index(name) for name in shown]
    kept = [[row[place] for place in places] for row in rows]
    numeric = [
        any(isinstance(value, int | float) and not isinstance(value, bool) for value in column)
        for column in zip(*kept, strict=True)
    ]
    cells = [[_cell(value) for value in row] for row in kept]
    natural = [max(map(len, column)) for column in zip(shown, *cells, strict=True)]
    widths = _fit(natural, shutil.get_terminal_size().columns) if stream.isatty() else natural
    aligns = [str.rjust if right else str.ljust for right in numeric or [False] * len(shown)]
    for cells_of_row in ([*shown], ["─" * width for width in widths], *cells):
        wrapped = [
            [cell] if len(cell) <= width else textwrap.wrap(cell, width) or [""]
            for cell, width in zip(cells_of_row, widths, strict=True)
        ]
        for line in zip_longest(*wrapped, fillvalue=""):
            parts = (align(text, width) for align, text, width in zip(aligns, line, widths, strict=True))
            stream.write("  ".join(parts).rstrip() + "\n")


def _fit(widths: list[int], room: int) -> list[int]:
    """Narrow the widest columns until the table fits; a table of many columns may not."""
    widths = list(widths)
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    while excess > 0 and (widest := max(widths)) > _NARROWEST:
        place = widths.index(widest)
        second = max([_NARROWEST, *(width for width in widths if width < widest)])
        cut = min(excess, widest - second)
        widths[place] -= cut
        excess -= cut
    return widths


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
