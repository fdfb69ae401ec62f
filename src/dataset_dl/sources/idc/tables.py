"""DuckDB on the published Parquet files, and the one way a stranger's SQL reaches them."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_dl.duck import Database, DuckError, Result, first_line, quote, select_only
from dataset_dl.errors import QueryError, SelectionError, TransferError

MAIN_INDEX = "idc_index"
# Tables that are too large for the package are files of its releases.
ASSETS_URL = "https://github.com/ImagingDataCommons/idc-index-data/releases"
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


@functools.cache
def tables() -> dict[str, IndexTable]:
    """Every table that the installed idc-index-data publishes, and the clinical ones here, by name."""
    directory, fetched = _data_directory(), cache_directory()
    found: dict[str, IndexTable] = {}
    for schema_path in [
        *sorted(directory.glob("*_schema.json")),
        *sorted(clinical_directory().glob("*_schema.json")),
    ]:
        name = schema_path.name.removesuffix("_schema.json")
        file = f"{name}.parquet"
        places = (schema_path.with_name(file), fetched / file, schema_path.with_name(name) / file)
        here = next((path for path in places if path.is_file()), None)
        found.setdefault(name, IndexTable(name, schema_path, here))
    return found


def look_again() -> None:
    """Forget which tables are here."""
    tables.cache_clear()
    table_columns.cache_clear()


def not_the_table(path: Path, name: str) -> str | None:
    """What is wrong with a file that should be a table that IDC publishes; None if nothing is."""
    try:
        columns = {row[0] for row in Database().run(f"DESCRIBE FROM read_parquet({quote(str(path))})")}
        Database().column(f"SELECT count(*) FROM read_parquet({quote(str(path))})")
    except DuckError as error:
        return first_line(error)
    lacking = [column["name"] for column in tables()[name].schema()["columns"]]
    lacking = [column for column in lacking if column not in columns]
    return f"it lacks the columns {', '.join(lacking[:5])} of {name}" if lacking else None


def assets_url() -> str:
    """Where the optional tables are fetched from: a folder with one for each version."""
    return (os.environ.get("DATASET_DL_ASSETS_URL") or f"{ASSETS_URL}/download").rstrip("/")


def cache_directory() -> Path:
    """Where tables go that are fetched: a folder for each version of idc-index-data."""
    if named := os.environ.get("DATASET_DL_CACHE"):
        folder = Path(named).expanduser()
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("dataset-dl", appauthor=False)
    # The metadata of a package takes longer to read than to answer most questions.
    text = (_data_directory() / "_version.py").read_text(encoding="utf-8")
    version = re.search(r"""^__version__.*?['"]([^'"]+)['"]""", text, re.MULTILINE)
    return folder / "idc-index-data" / (version[1] if version else "unknown")


def clinical_directory() -> Path:
    """Where the clinical tables of this version go, each a Parquet file with its schema beside it."""
    return cache_directory() / "clinical"


def table_sql(name: str = MAIN_INDEX) -> str:
    """The table as a source for SQL.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or it is not on this machine.
    """
    return f"read_parquet({quote(str(parquet(name)))})"


@functools.cache
def idc_version() -> int:
    """The IDC version of the installed tables."""
    version: int = Database().column(f"SELECT max(idc_version) FROM {table_sql('version_metadata_index')}")[0]
    return version


def main_columns() -> dict[str, str]:
    """Name and DuckDB type of each column of the main index, in its order."""
    return table_columns(MAIN_INDEX)


@functools.cache
def table_columns(name: str) -> dict[str, str]:
    """The same of any table that is here.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or it is not on this machine.
    """
    described = Database().run(f"DESCRIBE SELECT * FROM {table_sql(name)}")
    return {row[0]: row[1] for row in described}


def query(sql: str) -> Result:
    """Answer one SELECT over the tables by name, with everything but reading them switched off.

    Raises
    ------
    QueryError
        If the statement is wrong, is not a single SELECT, or reaches for a file.
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
    """What may have been meant: DuckDB names what is spelt nearly like it."""
    if match := re.search(r"Table with name (\w+) does not exist", str(error)):
        near = difflib.get_close_matches(match[1].lower(), tables(), n=2)
    else:
        match = re.search(r"Candidate bindings: ([^\n]*)", str(error))
        near = re.findall(r'"([^"]+)"', match[1]) if match else []
    if near:
        return f"Did you mean {' or '.join(dict.fromkeys(near))}?"
    return "`dataset-dl idc indices` lists the tables that are here, `idc columns` their columns."


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


@functools.cache
def _data_directory() -> Path:
    # Importing idc_index_data would parse every schema; only its place is wanted.
    spec = importlib.util.find_spec("idc_index_data")
    if spec is None or spec.origin is None:
        raise TransferError(
            "idc-index-data", "The package idc-index-data is not installed.", "`pip install idc-index-data`"
        )
    return Path(spec.origin).parent
