"""Listings: a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import IO, Any, Literal

Format = Literal["table", "json", "csv"]

_NARROWEST = 10
_NUMBER = re.compile(r"|-?[0-9][0-9,]*(\.[0-9]+)?( [kMGT]?B)?")


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
        The columns that a table shows, the most wanted first: the last ones are left out of a narrow
        terminal. Programs get all columns.
    """
    try:
        if form == "csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        elif form == "json":
            _write_json(columns, rows, stream)
        else:
            _write_table(columns, rows, stream, shown)
        stream.flush()
    except BrokenPipeError:
        # A reader like head has seen enough; Python must not complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], stream: IO[str]) -> None:
    separator = "["
    for row in rows:
        values = (None if isinstance(value, float) and not math.isfinite(value) else value for value in row)
        text = json.dumps(dict(zip(columns, values, strict=True)), ensure_ascii=False, default=_plain)
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
    shown: Sequence[str] | None,
) -> None:
    # rich draws the same in a quarter of a second, which is as long as the whole answer takes.
    names = list(shown or columns)
    places = [columns.index(name) for name in names]
    cells = [[_cell(row[place]) for place in places] for row in rows]
    by_column = [list(column) for column in zip(names, *cells, strict=True)]
    numeric = [all(map(_NUMBER.fullmatch, column[1:])) for column in by_column]
    widths = [max(map(len, column)) for column in by_column]
    if stream.isatty():
        room = shutil.get_terminal_size().columns
        # What is copied from a table, its first column, stays in one piece.
        soft = [place > 0 and not right for place, right in enumerate(numeric)]
        while shown and len(widths) > 1 and _excess(widths, soft, room) > 0:
            del widths[-1], soft[-1]
        _narrow(widths, soft, room)
    aligns = [str.rjust if right else str.ljust for right in numeric]
    for cells_of_row in (names, ["─" * width for width in widths], *cells):
        # zip leaves out the columns that were dropped.
        wrapped = [
            [cell] if len(cell) <= width else textwrap.wrap(cell, width) or [""]
            for cell, width in zip(cells_of_row, widths, strict=False)
        ]
        for line in zip_longest(*wrapped, fillvalue=""):
            parts = (align(text, width) for align, text, width in zip(aligns, line, widths, strict=False))
            stream.write("  ".join(parts).rstrip() + "\n")


def _excess(widths: list[int], soft: list[bool], room: int) -> int:
    """How much too wide a table is even with its soft columns at their narrowest."""
    least = (
        min(width, _NARROWEST) if may_wrap else width for width, may_wrap in zip(widths, soft, strict=True)
    )
    return sum(least) + 2 * (len(widths) - 1) - room


def _narrow(widths: list[int], soft: list[bool], room: int) -> None:
    """Narrow the widest soft columns until the table fits."""
    places = [place for place, may_wrap in enumerate(soft) if may_wrap and widths[place] > _NARROWEST]
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    while excess > 0 and places:
        widest = max(places, key=lambda place: widths[place])
        lower = [widths[place] for place in places if widths[place] < widths[widest]]
        cut = min(excess, widths[widest] - max([_NARROWEST, *lower]))
        if cut == 0:
            return
        widths[widest] -= cut
        excess -= cut


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
