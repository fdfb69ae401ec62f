"""Read a journal that another process may hold."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dataset_dl.destination.consumers import Receipt
from dataset_dl.destination.journal import digest_of, is_complete, is_evicted, renamed_files
from dataset_dl.destination.schema import VERSION, schema_version, tables
from dataset_dl.model.series import PlannedSeries, Size


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a journal that another process may hold, read-only; None if there is no readable one."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&nolock=1", uri=True)
    except sqlite3.OperationalError:
        yield None
        return
    with closing(connection):
        try:
            is_ours = "series" in tables(connection)
        except sqlite3.DatabaseError:
            is_ours = False
        yield connection if is_ours else None


@contextmanager
def reading_names(path: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """Give `Journal.renamed` of a journal that another process may hold; empty if there is none."""
    with reading(path) as connection:
        if connection is None or "renamed" not in tables(connection):
            yield lambda key: {}
        else:
            yield lambda key: renamed_files(connection, key)


@contextmanager
def reading_complete(path: Path) -> Iterator[Callable[[PlannedSeries], bool]]:
    """Give `Journal.holds` of a journal that another process may hold; False if there is none."""
    with reading(path) as connection:
        if connection is None or schema_version(connection) < 2:
            yield lambda series: False
        else:
            yield lambda series: is_complete(connection, series)


@contextmanager
def reading_evicted(path: Path) -> Iterator[Callable[[PlannedSeries], bool]]:
    """Give `Journal.is_evicted` of a journal that another process may hold; False if there is none."""
    with reading(path) as connection:
        if connection is None or "evicted" not in tables(connection):
            yield lambda series: False
        else:
            yield lambda series: is_evicted(connection, series)


class Entries:
    """What a journal that another process may hold says of the series of a part, read at once.

    Parameters
    ----------
    path
        The journal; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._complete: dict[str, tuple[int, str | None]] = {}
        self._evicted: dict[str, int] = {}
        with reading(path) as connection:
            if connection is None or schema_version(connection) < VERSION:
                return
            for key, digest, names in connection.execute("SELECT key, digest, names FROM series"):
                self._complete[key] = digest, names
            self._evicted.update(connection.execute("SELECT key, digest FROM evicted"))

    def is_complete(self, series: PlannedSeries) -> bool:
        """Whether a series is complete in the directory that the plan gives it."""
        return series.key in self._complete and self._complete[series.key][0] == digest_of(series)

    def is_evicted(self, series: PlannedSeries) -> bool:
        """Whether a series was delivered and then removed."""
        return series.key in self._evicted and self._evicted[series.key] == digest_of(series)

    def names(self, series: PlannedSeries) -> list[str] | None:
        """Return the files of a series that shares its directory; None if it is alone there."""
        names = self._complete.get(series.key, (0, None))[1]
        return names.split("/") if names else None


def receipts_of(path: Path, kind: str) -> list[Receipt]:
    """Return the receipts of a journal for consumers of a kind, like ``xnat``; empty without a journal."""
    with reading(path) as connection:
        if connection is None or schema_version(connection) < 2:
            return []
        rows = connection.execute(
            "SELECT consumer, key, options_digest, delivered_at, made, run_id FROM receipts"
            " WHERE consumer = ? OR consumer LIKE ?",
            (kind, f"{kind}:%"),
        )
        return [Receipt(*row)._replace(made=json.loads(row[4])) for row in rows]


def pinned_sizes(path: Path) -> dict[str, Size]:
    """Return what `Journal.pin` recorded, by key; empty if there is no journal."""
    with reading(path) as connection:
        if connection is None or schema_version(connection) < 2:
            return {}
        rows = connection.execute("SELECT key, instanceCount, size_bytes, files FROM pinned")
        return {key: Size(*size) for key, *size in rows}


def last_report(path: Path) -> str | None:
    """Return the report of the last run that has one, as JSON; None if there is none."""
    with reading(path) as connection:
        if connection is None or schema_version(connection) < 2:
            return None
        sql = "SELECT report FROM runs WHERE report IS NOT NULL ORDER BY number DESC LIMIT 1"
        found = connection.execute(sql).fetchone()
        return found[0] if found else None
