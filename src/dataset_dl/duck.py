"""DuckDB: sessions, quoting, and the one way a stranger's SQL is answered. The only user of duckdb."""

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

# Its errors, for those who read files with it.
DuckError = duckdb.Error
DuckFileError = duckdb.IOException
DuckNameError = duckdb.BinderException

_BATCH_ROWS = 2_000
_MOST_LITERALS = 100


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


def unlocked_session() -> duckdb.DuckDBPyConnection:
    """A DuckDB of the caller's own, which may do what DuckDB may."""
    return duckdb.connect()


def select_only(sql: str, views: Mapping[str, Path]) -> Result:
    """Answer one SELECT over Parquet files by the names of their views; nothing else can be reached.

    Raises
    ------
    QueryError
        If the statement is not a single SELECT, or reaches for another file.
    DuckError
        If DuckDB finds it wrong.
    """
    connection = _instance()
    connection.execute("SET allowed_paths = $1", [[str(path) for path in views.values()]])
    for name, path in views.items():
        connection.execute(f'CREATE VIEW "{name}" AS FROM read_parquet({quote(str(path))})')
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
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
    raise QueryError(
        sql, "Only a single SELECT is answered here, so nothing was run.", "The tables are read-only."
    )


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


def first_line(error: Exception) -> str:
    """What DuckDB says first; the rest points into the statement."""
    return str(error).strip().splitlines()[0]
