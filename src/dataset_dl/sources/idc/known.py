"""The columns that conditions can name: those of all tables, and facets."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from dataset_dl.duck import identifier
from dataset_dl.errors import SelectionError
from dataset_dl.sources.idc.columns import FACETS_OF_COLLECTION, ORIGIN, YEAR
from dataset_dl.sources.idc.tables import MAIN_INDEX, table_columns, table_sql, tables

# Columns that join a table to the main index, best first: its own → that of the main index.
_JOINING = {
    "SeriesInstanceUID": "SeriesInstanceUID",
    "StudyInstanceUID": "StudyInstanceUID",
    "PatientID": "PatientID",
    "dicom_patient_id": "PatientID",  # of clinical tables
    "collection_id": "collection_id",
}
_COLLECTIONS = "collections_index"


class Column(NamedTuple):
    """A column that conditions can name: one of a table, or a facet, which is made from one.

    Attributes
    ----------
    table, name, type_name
        Where it is, its name as IDC spells it, and its DuckDB type.
    sql
        Its value in a row.
    rows
        The rows that have it, to select from.
    reads
        The published column behind it.
    is_list
        Whether a row of the table may have several values: then `rows` has a row for each.
    """

    table: str
    name: str
    type_name: str
    sql: str
    rows: str
    reads: str
    is_list: bool = False


# Facets of series that no column holds → the column behind, and the value in SQL.
_MADE = {"year": ("StudyDate", YEAR), "origin": ("analysis_result_id", ORIGIN)}


def known_column(name: str) -> Column:
    """Find a column, ignoring letter case.

    Parameters
    ----------
    name
        A column of the main index, ``TABLE.COLUMN`` for another table, or a facet.

    Raises
    ------
    SelectionError
        If no column has that name; the message suggests similar ones.
    """
    table, _, name = name.rpartition(".")
    if not table and (facet := _facet(name.lower())) is not None:
        return facet
    table = table.lower() or MAIN_INDEX
    columns = table_columns(table)
    lowered = {column.lower(): column for column in columns}
    column = lowered.get(name.lower())
    if column is None:
        if table == MAIN_INDEX:
            lowered |= {each: each for each in (*_MADE, *FACETS_OF_COLLECTION)}
        near = [lowered[each] for each in difflib.get_close_matches(name.lower(), lowered, n=3)]
        elsewhere = _tables_with(name) if table == MAIN_INDEX else []
        hint = f"`dataset-dl idc columns {table}` lists the columns."
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        elif elsewhere:
            hint = f"Did you mean {' or '.join(elsewhere[:3])}?"
        what = "The IDC index" if table == MAIN_INDEX else f"The table {table}"
        raise SelectionError(name, f"{what} has no column “{name}”, so nothing was selected.", hint)
    return Column(table, column, columns[column], identifier(column), table_sql(table), column)


def _facet(name: str) -> Column | None:
    if name in _MADE:
        reads, sql = _MADE[name]
        return Column(MAIN_INDEX, name, "VARCHAR", sql, table_sql(), reads)
    if name in FACETS_OF_COLLECTION:
        values = f"trim(unnest(string_split(coalesce({name}, ''), ',')))"
        rows = f"(SELECT collection_id, {values} AS {name} FROM {table_sql(_COLLECTIONS)})"
        return Column(_COLLECTIONS, name, "VARCHAR", name, rows, name, is_list=True)
    return None


def _tables_with(name: str) -> list[str]:
    """The columns of that name in all tables, on this machine or not."""
    return [
        f"{table}.{column['name']}"
        for table, described in tables().items()
        for column in described.schema()["columns"]
        if column["name"].lower() == name.lower()
    ]


def joining_columns(table: str) -> tuple[str, str]:
    """The columns that join the main index and a table, the most exact pair: (main, own).

    Raises
    ------
    SelectionError
        If the table has no such column.
    """
    for own, key in _JOINING.items():
        if own in table_columns(table):
            return key, own
    raise SelectionError(
        table, f"The table {table} has no column that identifies series, so it cannot select any."
    )
