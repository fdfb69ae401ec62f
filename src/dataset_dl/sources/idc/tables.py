"""The tables that IDC publishes: list them, find those on this machine, query them in SQL."""

from __future__ import annotations

import difflib
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_dl.duck import Database, DuckError, Result, first_line, quote, select_only
from dataset_dl.errors import QueryError, SelectionError
from dataset_dl.sources.idc import releases

MAIN_INDEX = "idc_index"
_NOT_HERE = "The table “{0}” is published by IDC but is not on this machine."
_FETCH_IT = "`dataset-dl idc indices fetch {0}` fetches it."


@dataclass(frozen=True, slots=True)
class IndexTable:
    """A table that IDC publishes.

    Attributes
    ----------
    name
        As IDC names it, for example ``idc_index``.
    schema_path
        Its published schema: description, columns with type and description.
    parquet_path
        The table itself; None if it is not on this machine.
    """

    name: str
    schema_path: Path
    parquet_path: Path | None

    def schema(self) -> dict[str, Any]:
        """The published schema, with ``table_description`` and ``columns``."""
        loaded: dict[str, Any] = json.loads(self.schema_path.read_text(encoding="utf-8"))
        return loaded


def tables() -> dict[str, IndexTable]:
    """Every table of the version in use, and the clinical tables on this machine, by name."""
    return _tables(releases.chosen())


@functools.cache
def _tables(version: str) -> dict[str, IndexTable]:
    fetched = releases.cache_directory()
    schemas = schemas_in(releases.data_directory()) | schemas_in(clinical_directory())
    found: dict[str, IndexTable] = {}
    for name, schema_path in schemas.items():
        file = f"{name}.parquet"
        places = (schema_path.with_name(file), fetched / file, schema_path.with_name(name) / file)
        here = next((path for path in places if path.is_file()), None)
        found.setdefault(name, IndexTable(name, schema_path, here))
    return found


def schemas_in(directory: Path) -> dict[str, Path]:
    """Each schema in a directory, by the name of its table."""
    return {path.name.removesuffix("_schema.json"): path for path in sorted(directory.glob("*_schema.json"))}


def look_again() -> None:
    """Clear all caches of tables and versions on this machine."""
    releases.look_again()
    for function in (_tables, _table_columns, _idc_version):
        function.cache_clear()


def not_the_table(path: Path, name: str) -> str | None:
    """The reason why a file is not the table of that name; None if it is."""
    return problem_of(path, tables()[name].schema_path)


def problem_of(path: Path, schema: Path) -> str | None:
    """The reason why a file is not the table of a schema; None if it is."""
    try:
        columns = {row[0] for row in Database().run(f"DESCRIBE FROM read_parquet({quote(str(path))})")}
        Database().column(f"SELECT count(*) FROM read_parquet({quote(str(path))})")
    except DuckError as error:
        return first_line(error)
    wanted = json.loads(schema.read_text(encoding="utf-8"))["columns"]
    lacking = [column["name"] for column in wanted if column["name"] not in columns]
    name = schema.name.removesuffix("_schema.json")
    return f"it lacks the columns {', '.join(lacking[:5])} of {name}" if lacking else None


def clinical_directory() -> Path:
    """The cache for the clinical tables of the version in use, each with its schema beside it."""
    return releases.cache_directory() / "clinical"


def table_sql(name: str = MAIN_INDEX) -> str:
    """SQL that reads a table.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or it is not on this machine.
    """
    return f"read_parquet({quote(str(parquet(name)))})"


def idc_version() -> int:
    """The IDC version of the tables."""
    return _idc_version(releases.chosen())


@functools.cache
def _idc_version(version: str) -> int:
    sql = f"SELECT max(idc_version) FROM {table_sql('version_metadata_index')}"
    found: int = Database().column(sql)[0]
    return found


def main_columns() -> dict[str, str]:
    """Name and DuckDB type of each column of the main index, in its order."""
    return table_columns(MAIN_INDEX)


def table_columns(name: str) -> dict[str, str]:
    """Like `main_columns`, for any table on this machine.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or it is not on this machine.
    """
    return _table_columns(releases.chosen(), name)


@functools.cache
def _table_columns(version: str, name: str) -> dict[str, str]:
    described = Database().run(f"DESCRIBE SELECT * FROM {table_sql(name)}")
    return {row[0]: row[1] for row in described}


def query(sql: str) -> Result:
    """Run one SELECT over the tables, by name; everything but reading them is disabled.

    Raises
    ------
    QueryError
        If the statement is wrong, is not a single SELECT, or reads another file.
    """
    lowered = sql.lower()
    views = {
        name: table.parquet_path
        for name, table in tables().items()
        if table.parquet_path and name.lower() in lowered
    }
    try:
        return select_only(sql, views)
    except DuckError as error:
        missing = re.search(r"Table with name (\w+) does not exist", str(error))
        if missing and missing[1] in tables():
            raise QueryError(sql, _NOT_HERE.format(missing[1]), _FETCH_IT.format(missing[1])) from None
        raise QueryError(sql, first_line(error), _hint_of(error)) from None


def _hint_of(error: DuckError) -> str:
    """A hint with similar names; for columns, DuckDB suggests them."""
    if match := re.search(r"Table with name (\w+) does not exist", str(error)):
        near = difflib.get_close_matches(match[1].lower(), tables(), n=2)
    else:
        match = re.search(r"Candidate bindings: ([^\n]*)", str(error))
        near = re.findall(r'"([^"]+)"', match[1]) if match else []
    if near:
        return f"Did you mean {' or '.join(dict.fromkeys(near))}?"
    return "`dataset-dl idc indices` lists the tables, `idc columns` their columns."


def parquet(name: str) -> Path:
    """The file of a table.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or it is not on this machine.
    """
    known = tables()
    if name not in known:
        raise SelectionError(
            name, f"IDC publishes no table “{name}”.", "`dataset-dl idc indices` lists them."
        )
    path = known[name].parquet_path
    if path is None:
        raise SelectionError(name, _NOT_HERE.format(name), _FETCH_IT.format(name))
    return path
