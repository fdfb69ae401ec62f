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

from dataset_dl.wording import visible

Format = Literal["table", "json", "csv"]

_UID_CHARACTERS = 64
_NUMBER = re.compile(r"|-?[0-9][0-9,]*(\.[0-9]+)?( [kMGT]?B)?")


def write(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    form: Format,
    stream: IO[str],
    *,
    shown: Sequence[str] | None = None,
) -> None:
    """Write rows in one of the formats.

    Parameters
    ----------
    columns
        The names of the columns.
    rows
        The values of each row.
    form
        ``table``, ``json`` (one array of objects) or ``csv``.
    stream
        The stream to write to.
    shown
        The columns of a table, the most important first: a narrow terminal leaves out the last ones. JSON
        and CSV contain all columns.
    """
    try:
        if form == "csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        elif form == "json":
            _write_json(columns, rows, stream)
        elif left_out := _write_table(columns, rows, stream, shown):
            stream.write(
                f"(not shown for lack of room: {', '.join(left_out)}; --format json or csv has them)\n"
            )
        stream.flush()
    except BrokenPipeError:
        silence(stream)  # a reader like head has closed the pipe


def silence(stream: IO[str]) -> None:
    """Discard everything still written to a stream, so that Python's final flush does not fail."""
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
) -> list[str]:
    """Write the columns that fit; return the others, but none if the caller chose which to show."""
    # Not with rich: it takes a quarter of a second, as long as the whole command.
    names = list(shown or columns)
    places = [columns.index(name) for name in names]
    cells = [[_cell(row[place]) for place in places] for row in rows]
    by_column = [list(column) for column in zip(names, *cells, strict=True)]
    numeric = [all(map(_NUMBER.fullmatch, column[1:])) for column in by_column]
    widths = [max(map(len, column)) for column in by_column]
    if stream.isatty():
        room = shutil.get_terminal_size().columns
        # Names and UIDs stay in one piece, because people copy them from a table.
        least = [
            width if place == 0 or numeric[place] else _longest_word(column)
            for place, (width, column) in enumerate(zip(widths, by_column, strict=True))
        ]
        while len(widths) > 1 and sum(least[: len(widths)]) + 2 * (len(widths) - 1) > room:
            del widths[-1]
        _narrow(widths, least, room)
    rule = "─" if _can_say(stream, "─") else "-"
    aligns = [str.rjust if right else str.ljust for right in numeric]
    for cells_of_row in (names, [rule * width for width in widths], *cells):
        # Not strict: zip drops the columns that do not fit.
        wrapped = [
            [cell] if len(cell) <= width else _wrapped(cell, width)
            for cell, width in zip(cells_of_row, widths, strict=False)
        ]
        for line in zip_longest(*wrapped, fillvalue=""):
            parts = (align(text, width) for align, text, width in zip(aligns, line, widths, strict=False))
            stream.write("  ".join(parts).rstrip() + "\n")
    return [] if shown else names[len(widths) :]


def _can_say(stream: IO[str], text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _longest_word(column: Sequence[str]) -> int:
    """Return the width that keeps every word whole, except words longer than a UID can be."""
    longest = max(len(word) for cell in column for word in (cell.split() or [""]))
    return min(longest, _UID_CHARACTERS)


def _wrapped(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def _narrow(widths: list[int], least: Sequence[int], room: int) -> None:
    """Narrow the widest columns until the table fits, but none below its entry in `least`."""
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    while excess > 0:
        places = [place for place, width in enumerate(widths) if width > least[place]]
        if not places:
            return
        widest = max(places, key=lambda place: widths[place])
        lower = [widths[place] for place in places if widths[place] < widths[widest]]
        cut = min(excess, widths[widest] - max([least[widest], *lower]))
        widths[widest] -= cut
        excess -= cut


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return visible(str(value))
