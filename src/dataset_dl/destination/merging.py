"""Bring entries of one journal into another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_dl.destination.journal import Journal

_TABLES = ("series", "pinned", "renamed", "receipts", "evicted")


def merge(journal: Journal, source: Path) -> None:
    """Add all entries of another journal that nobody writes; where both know a series, the other one counts.

    Either all are added or none.
    """
    with Journal(source) as other:  # brings it to the current form, and sets it aside if it is damaged
        if other.set_aside is not None:
            return
    with _attached(journal.connection, source) as connection, connection:
        connection.execute("BEGIN")
        connection.execute(
            "INSERT OR IGNORE INTO main.runs (run_id, began, ended, report)"
            " SELECT run_id, began, ended, report FROM other.runs ORDER BY number"
        )
        connection.execute("DELETE FROM main.evicted WHERE key IN (SELECT key FROM other.series)")
        connection.execute("DELETE FROM main.series WHERE key IN (SELECT key FROM other.evicted)")
        _copy(connection, "true")


def inherit(source: Path, target: Path, keys: Iterable[str]) -> None:
    """Create a journal with what another one knows of some series."""
    with Journal(target) as journal:
        connection = journal.connection
        connection.execute("CREATE TEMP TABLE wanted (key TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.execute("BEGIN")
        connection.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((key,) for key in keys))
        connection.execute("COMMIT")
        with Journal(source) as other:
            if other.set_aside is not None:
                return
        with _attached(connection, source), connection:
            connection.execute("BEGIN")
            _copy(connection, "key IN (SELECT key FROM temp.wanted)")


def _copy(connection: sqlite3.Connection, which: str) -> None:
    """Copy rows of all tables; the run of an entry gets the number that it has here."""
    connection.execute(
        f"""INSERT OR REPLACE INTO main.series
            SELECT key, digest, instanceCount, shared_directory, names,
                   (SELECT own.number FROM main.runs AS own JOIN other.runs AS was USING (run_id)
                    WHERE was.number = run)
            FROM other.series WHERE {which}"""
    )
    for table in _TABLES[1:]:
        connection.execute(f"INSERT OR REPLACE INTO main.{table} SELECT * FROM other.{table} WHERE {which}")


@contextmanager
def _attached(connection: sqlite3.Connection, source: Path) -> Iterator[sqlite3.Connection]:
    connection.execute("ATTACH ? AS other", (f"{source.absolute().as_uri()}?nolock=1",))
    try:
        yield connection
    finally:
        connection.execute("DETACH other")
