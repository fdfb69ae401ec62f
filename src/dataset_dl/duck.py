"""DuckDB sessions, quoting, and a safe way to run untrusted SQL. The only user of duckdb."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from dataset_dl.errors import QueryError, SelectionError, StorageError
from dataset_dl.wording import shortened

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

# DuckDB's errors, for callers that read files with it.
DuckError = duckdb.Error
DuckFileError = duckdb.IOException
DuckNameError = duckdb.BinderException

_BATCH_ROWS = 2_000
_MOST_LITERALS = 100
_PREPARABLE = ("SELECT", "WITH", "FROM", "INSERT", "COPY")


class Result:
    """Rows of a query, fetched lazily in batches."""

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
        """Return all rows as a pandas frame."""
        with enough_memory():
            return self._cursor.df()

    def arrow(self) -> pyarrow.Table:
        """Return all rows as an Arrow table."""
        with enough_memory():
            answer = self._cursor.arrow()
            # DuckDB 1.5 and later return a reader, earlier versions the table itself.
            return answer.read_all() if hasattr(answer, "read_all") else answer


@contextmanager
def enough_memory() -> Iterator[None]:
    """Translate out-of-memory errors.

    Raises
    ------
    StorageError
        Instead of the error of DuckDB or Python.
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
    """Make column names unique: append its position to a name that occurred before."""
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        is_new = name not in found and name not in names[: number - 1]
        found[name if is_new else f"{name}_{number}"] = None
    return tuple(found)


class Database:
    """A DuckDB session with its own temporary tables."""

    def __init__(self) -> None:
        # A cursor is a session with its own temporary tables, and may be used in its own thread.
        self._connection = _shared().cursor()

    def run(self, sql: str, parameters: Sequence[object] = ()) -> Result:
        """Run one of this package's own statements; every value is bound, or quoted by `literals`.

        A new statement closes the previous result, so two open results need two databases.
        """
        try:
            with enough_memory():
                return Result(self._execute(sql, list(parameters)))
        except UnicodeEncodeError as error:
            text = str(error.object).encode(errors="backslashreplace").decode()
            raise SelectionError(
                text, f"“{shortened(text)}” is not valid UTF-8, so it matches nothing in IDC."
            ) from None

    def _execute(self, sql: str, parameters: list[object]) -> duckdb.DuckDBPyConnection:
        # DuckDB imports pandas for each parameter that is bound from Python, which takes half a second.
        if parameters and sql.split(maxsplit=1)[0] in _PREPARABLE and (values := _written(parameters)):
            self._connection.execute(f"PREPARE asked AS {sql}")
            return self._connection.execute(f"EXECUTE asked({values})")
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
        """Write the rows of a SELECT to a file, in order; on one thread per core if `threads` is None."""
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
        """Return the first column of a query."""
        return [row[0] for row in self.run(sql, parameters)]


# One DuckDB instance per process, because starting one takes as long as a small query. A forked child can
# neither use nor close its parent's instance, because the threads of that instance are not forked.
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
    # In a notebook without ipywidgets DuckDB has no progress bar, and raises even on switching it off.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")
    return connection


def unlocked_session() -> duckdb.DuckDBPyConnection:
    """Return a separate DuckDB connection without restrictions."""
    return duckdb.connect()


def select_only(sql: str, views: Mapping[str, Path]) -> Result:
    """Run one SELECT over Parquet files, which appear as views; nothing else is accessible.

    Raises
    ------
    QueryError
        If the statement is not a single SELECT, or accesses another file.
    DuckError
        If DuckDB rejects the statement.
    """
    connection = _instance()
    paths = ", ".join(quote(str(path)) for path in views.values())
    connection.execute(f"SET allowed_paths = [{paths}]")
    for name, path in views.items():
        connection.execute(f'CREATE VIEW "{name}" AS FROM read_parquet({quote(str(path))})')
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    try:
        # Old DuckDB versions read files while parsing some statements, so lock before parsing.
        statements = connection.extract_statements(sql)
        if len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT:
            with enough_memory():
                return Result(_interruptibly(connection, statements[0]))
    except duckdb.PermissionException:
        raise QueryError(
            sql, "The statement accesses a file, so it was not run.", "Only the IDC tables can be read."
        ) from None
    raise QueryError(
        sql, "Only a single SELECT statement is allowed, so nothing was run.", "The tables are read-only."
    )


def _interruptibly(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement
) -> duckdb.DuckDBPyConnection:
    """Run a statement that Ctrl-C can interrupt; DuckDB itself stops checking for signals after a while."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(connection.execute, statement)
        try:
            while True:
                with suppress(TimeoutError):
                    return answer.result(timeout=0.2)
        except BaseException:
            connection.interrupt()
            raise


def _written(parameters: Sequence[object]) -> str | None:
    """Write parameters as SQL; return None if some have to be bound."""
    written = []
    for value in parameters:
        if isinstance(value, list):
            if len(value) > _MOST_LITERALS or (inside := _written(value)) is None:
                return None
            written.append(f"[{inside}]")
        elif isinstance(value, str) and "\0" not in value:
            written.append(quote(value))
        elif isinstance(value, int):  # bool included
            written.append(str(value))
        elif value is None:
            written.append("NULL")
        else:
            return None
    return ", ".join(written)


def literals(values: Sequence[str]) -> str | None:
    """Quote texts as an SQL list; return None if they have to be bound as parameters.

    DuckDB 1 compares a column with constants while it decodes the file, but with parameters only afterwards,
    which takes three times as long.
    """
    if len(values) > _MOST_LITERALS or any("\0" in value for value in values):
        return None
    return ", ".join(map(quote, values))


def quote(text: str) -> str:
    """Quote a text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    """Return the first line of a DuckDB error; the rest points into the statement."""
    return str(error).strip().splitlines()[0]
