"""Counts and lists what identifiers and conditions select, without making a plan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.model.plan import Share
from dataset_dl.model.selection import Condition
from dataset_dl.sources.idc import releases
from dataset_dl.sources.idc.columns import FACETS_OF_SERIES, SIZE_BYTES
from dataset_dl.sources.idc.conditions import where_sql
from dataset_dl.sources.idc.cube import Totals, document
from dataset_dl.sources.idc.resolve import resolve
from dataset_dl.sources.idc.tables import table_sql

LISTED = (
    "SeriesInstanceUID", "collection_id", "PatientID", "StudyInstanceUID", "StudyDate", "Modality",
    "BodyPartExamined", "SeriesDescription", "Manufacturer", "license_short_name", "instanceCount",
)  # fmt: skip


class Counted(NamedTuple):
    """What a selection has: totals, and the part of each cell of the cube (number, series, files, bytes)."""

    totals: Totals
    cells: list[tuple[int, int, int, int]]


def count(identifiers: Sequence[str], where: Sequence[Condition]) -> Counted:
    """Count exactly, under conditions on any column of any table.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown.
    """
    database = Database()
    clauses, bound = _clauses(database, identifiers, where)
    dimensions = ", ".join(f"{sql} AS {name}" for name, sql in FACETS_OF_SERIES.items())
    names = ", ".join(FACETS_OF_SERIES)
    database.run(
        f"CREATE OR REPLACE TEMP TABLE asked AS SELECT {dimensions}, PatientID, StudyInstanceUID,"
        f" instanceCount, {SIZE_BYTES} AS size_bytes FROM {table_sql()} WHERE {clauses}",
        bound,
    )
    numbers = _cells(releases.chosen())
    rows = database.run(
        f"SELECT {names}, count(*), sum(instanceCount)::BIGINT, sum(size_bytes)::BIGINT FROM asked"
        f" GROUP BY {names}"
    )
    place = len(FACETS_OF_SERIES)
    cells = [(numbers[row[:place]], *row[place:]) for row in rows]
    distinct = database.run(
        "SELECT (SELECT count(*) FROM (SELECT DISTINCT collection_id, PatientID FROM asked)),"
        " (SELECT count(*) FROM (SELECT DISTINCT StudyInstanceUID FROM asked))"
    )
    patients, studies = next(iter(distinct))
    sums = [sum(cell[part] for cell in cells) for part in (1, 2, 3)]
    return Counted(Totals(patients, studies, *sums), cells)


@lru_cache(maxsize=1)
def _cells(version: str) -> dict[tuple[str, ...], int]:
    """Return the number of each cell of the cube, by its values."""
    known = document()
    values = [known["values"][name] for name in FACETS_OF_SERIES]
    return {
        tuple(several[number] for several, number in zip(values, cell, strict=True)): place
        for place, cell in enumerate(known["cells"])
    }


def series(
    identifiers: Sequence[str], where: Sequence[Condition], *, limit: int, offset: int = 0
) -> list[dict[str, Any]]:
    """List series, in the order of collections, patients and dates; with `LISTED` and ``size_bytes``.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown.
    """
    database = Database()
    clauses, bound = _clauses(database, identifiers, where)
    # The order is found with few columns; the others are read for the rows that are shown.
    chosen = (
        f"SELECT file_row_number FROM {table_sql()[:-1]}, file_row_number = true) WHERE {clauses}"
        " ORDER BY collection_id, PatientID, StudyDate, StudyInstanceUID, SeriesInstanceUID"
        f" LIMIT {int(limit)} OFFSET {int(offset)}"
    )
    rows = database.run(f"SELECT file_row_number FROM ({chosen})", bound)
    numbers = [row[0] for row in rows]
    if not numbers:
        return []
    found = database.run(
        f"SELECT file_row_number, {', '.join(LISTED)}, {SIZE_BYTES} AS size_bytes"
        f" FROM {table_sql()[:-1]}, file_row_number = true)"
        f" WHERE file_row_number IN ({', '.join(map(str, numbers))})"
    )
    by_number = {row[0]: dict(zip(found.columns[1:], row[1:], strict=True)) for row in found}
    return [by_number[number] for number in numbers]


def shares(identifiers: Sequence[str], where: Sequence[Condition]) -> list[Share]:
    """Return how much each collection, licence and DOI contributes.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown.
    """
    database = Database()
    clauses, bound = _clauses(database, identifiers, where)
    rows = database.run(
        f"SELECT collection_id, license_short_name, source_DOI, count(*), sum({SIZE_BYTES})::BIGINT"
        f" FROM {table_sql()} WHERE {clauses} GROUP BY ALL",
        bound,
    )
    return [Share(*row) for row in rows]


def count_instances(identifiers: Sequence[str], where: Sequence[Condition]) -> int:
    """Return how many files a selection has.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown.
    """
    database = Database()
    clauses, bound = _clauses(database, identifiers, where)
    sql = f"SELECT coalesce(sum(instanceCount), 0)::BIGINT FROM {table_sql()} WHERE {clauses}"
    return int(database.column(sql, bound)[0])


def _clauses(
    database: Database, identifiers: Sequence[str], where: Sequence[Condition]
) -> tuple[str, list[object]]:
    """Return a selection as one condition on the main index, and what to bind to it."""
    several, bound = where_sql(where)
    if not identifiers:
        return " AND ".join(several) or "true", bound
    matches = resolve(database, identifiers)
    if matches.has_earlier or matches.files:
        raise SelectionError(
            identifiers[0],
            "Some of this is a single file, or of an earlier IDC version, which cannot be counted here.",
            "`dataset-dl idc download` takes it.",
        )
    terms, parameters = matches.terms()
    return " AND ".join([f"({' OR '.join(terms)})", *several]), [*parameters, *bound]
