"""DuckDB on the published Parquet files, and the one way a stranger's SQL reaches them."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from dataset_dl.errors import QueryError, SelectionError, StorageError, TransferError
from dataset_dl.wording import shortened

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

MAIN_INDEX = "idc_index"
# Tables that are too large for the package are files of its releases.
ASSETS_URL = "https://github.com/ImagingDataCommons/idc-index-data/releases"
_NOT_HERE = "The table “{0}” is published by IDC but is not on this machine."
_FETCH_IT = "`dataset-dl idc indices fetch {0}` fetches it."
_BATCH_ROWS = 2_000
_MOST_LITERALS = 100


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


class Result:
    """Rows of a query, read in batches as they are asked for."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self.columns = _distinct([each[0] for each in cursor.description or ()])

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while batch := self._fetch():
            yield from batch

    def _fetch(self) -> list[tuple[Any, ...]]:
        with enough_memory():
            return self._cursor.fetchmany(_BATCH_ROWS)

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a frame."""
        with enough_memory():
            return self._cursor.df()

    def arrow(self) -> pyarrow.Table:
        """All rows as a table of Arrow."""
        with enough_memory():
            answer = self._cursor.arrow()
            # A reader of it since DuckDB 1.5, the table itself before.
            return answer.read_all() if hasattr(answer, "read_all") else answer


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say it plainly when memory runs out.

    Raises
    ------
    StorageError
        In place of the error of DuckDB or Python.
    """
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError):
        raise StorageError(
            "memory",
            "This machine has too little free memory for that, so it was not done.",
            "Close other programs, raise the limit (ulimit -v), or narrow the selection.",
        ) from None


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Names of columns with a number behind each that stood before."""
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        is_new = name not in found and name not in names[: number - 1]
        found[name if is_new else f"{name}_{number}"] = None
    return tuple(found)


class Database:
    """A DuckDB session of our own over the tables; nothing is loaded before it is asked for."""

    def __init__(self) -> None:
        # A cursor is a session with temporary tables of its own, and may be used in its own thread.
        self._connection = _shared().cursor()

    def run(self, sql: str, parameters: Sequence[object] = ()) -> Result:
        """Run one of this package's own statements; every value is bound, or written by `literals`.

        It ends the result before it, so two results at once need two databases.
        """
        try:
            with enough_memory():
                return Result(self._execute(sql, list(parameters)))
        except UnicodeEncodeError as error:
            text = str(error.object).encode(errors="backslashreplace").decode()
            raise SelectionError(
                text, f"“{shortened(text)}” is no text in UTF-8, so nothing in IDC is called so."
            ) from None

    def _execute(self, sql: str, parameters: list[object]) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(sql, parameters)

    def write(
        self,
        select: str,
        path: Path,
        options: str,
        parameters: Sequence[object] = (),
        *,
        threads: int | None = None,
    ) -> None:
        """Write the rows of a SELECT to a file, in their order; on as many threads as there are cores."""
        copy = f"COPY ({select}) TO {quote(str(path))} ({options})"
        if threads is None:
            self.run(copy, parameters)
            return
        self._connection.execute(f"SET threads = {threads}")
        try:
            self.run(copy, parameters)
        finally:
            self._connection.execute("RESET threads")

    def column(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """The first column of a query."""
        return [row[0] for row in self.run(sql, parameters)]


# One DuckDB instance a process: starting one takes as long as answering a small question. A forked child
# cannot use its parent's, whose threads it does not have, nor close it.
_instances: dict[int, duckdb.DuckDBPyConnection] = {}


def _shared() -> duckdb.DuckDBPyConnection:
    process = os.getpid()
    if process not in _instances:
        _instances[process] = _instance()
    return _instances[process]


def _instance() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for setting in (
        "autoinstall_known_extensions",
        "autoload_known_extensions",
        "python_enable_replacements",
    ):
        connection.execute(f"SET {setting} = false")
    # In a notebook without ipywidgets DuckDB has no bar, and refuses even to switch it off.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")
    return connection


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
    except duckdb.Error as error:
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


def source(name: str = MAIN_INDEX) -> str:
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
    version: int = Database().column(f"SELECT max(idc_version) FROM {source('version_metadata_index')}")[0]
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
    described = Database().run(f"DESCRIBE SELECT * FROM {source(name)}")
    return {row[0]: row[1] for row in described}


def unlocked_session() -> duckdb.DuckDBPyConnection:
    """A DuckDB of the caller's own, which may do what DuckDB may."""
    return duckdb.connect()


def query(sql: str) -> Result:
    """Answer one SELECT over the tables by name, with everything but reading them switched off.

    Raises
    ------
    QueryError
        If the statement is wrong, is not a single SELECT, or reaches for a file.
    """
    connection = _locked(sql.lower())
    try:
        # Old DuckDB reads files while it parses some statements, so even this is done behind the lock.
        statements = connection.extract_statements(sql)
        if len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT:
            with enough_memory():
                return Result(_interruptibly(connection, statements[0]))
    except duckdb.PermissionException:
        raise QueryError(
            sql, "The statement reaches for a file, so it was not run.", "Only the IDC tables can be read."
        ) from None
    except duckdb.Error as error:
        missing = re.search(r"Table with name (\w+) does not exist", str(error))
        if missing and missing[1] in tables():
            raise QueryError(sql, _NOT_HERE.format(missing[1]), _FETCH_IT.format(missing[1])) from None
        raise QueryError(sql, first_line(error), _hint_of(error)) from None
    raise QueryError(
        sql, "Only a single SELECT is answered here, so nothing was run.", "The tables are read-only."
    )


def _hint_of(error: duckdb.Error) -> str:
    """What may have been meant: DuckDB names what is spelt nearly like it."""
    if match := re.search(r"Table with name (\w+) does not exist", str(error)):
        near = difflib.get_close_matches(match[1].lower(), tables(), n=2)
    else:
        match = re.search(r"Candidate bindings: ([^\n]*)", str(error))
        near = re.findall(r'"([^"]+)"', match[1]) if match else []
    if near:
        return f"Did you mean {' or '.join(dict.fromkeys(near))}?"
    return "`dataset-dl idc indices` lists the tables that are here, `idc columns` their columns."


def _interruptibly(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement
) -> duckdb.DuckDBPyConnection:
    """Run a statement so that Ctrl-C ends it; DuckDB itself stops looking for signals after a while."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(connection.execute, statement)
        try:
            while True:
                with suppress(TimeoutError):
                    return answer.result(timeout=0.2)
        except BaseException:
            connection.interrupt()
            raise


def _locked(sql: str) -> duckdb.DuckDBPyConnection:
    """An instance that can read the tables that a statement names, and do nothing else."""
    connection = _instance()
    here = {
        name: table.parquet_path
        for name, table in tables().items()
        if table.parquet_path and name.lower() in sql
    }
    connection.execute("SET allowed_paths = $1", [[str(path) for path in here.values()]])
    for name, path in here.items():
        connection.execute(f'CREATE VIEW "{name}" AS FROM read_parquet({quote(str(path))})')
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def literals(values: Sequence[str]) -> str | None:
    """Texts as SQL, to compare a column with; None where they have to be bound.

    DuckDB 1 compares a column with a constant while it decodes the file, and with a parameter afterwards,
    which takes three times as long.
    """
    if len(values) > _MOST_LITERALS or any("\0" in value for value in values):
        return None
    return ", ".join(map(quote, values))


def quote(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


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


def first_line(error: Exception) -> str:
    """What DuckDB says first; the rest points into the statement."""
    return str(error).strip().splitlines()[0]
