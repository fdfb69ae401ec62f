"""What is complete in a destination, durably: a memory that the disk overrules."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from dataset_dl.model import PlannedSeries

# “ddlj”: it marks the file as ours. The version is that of the schema.
_APPLICATION_ID = 0x64646C6A
_VERSION = 1
# A digest in place of the directory keeps the journal of all NLST at 40 MB; the plan has the directory.
_SCHEMA = f"""
    BEGIN;
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {_VERSION};
    CREATE TABLE series (
        crdc_series_uuid TEXT PRIMARY KEY,
        directory_digest BLOB NOT NULL,
        instanceCount INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        md5 INTEGER NOT NULL,
        names TEXT
    ) WITHOUT ROWID;
    CREATE INDEX sharing ON series (directory_digest) WHERE names IS NOT NULL;
    COMMIT;
"""
_COMMIT_SECONDS = 1.0


class Journal:
    """Which series are complete, where, and whether their checksums are those of the store.

    Only the holder of a destination may open its journal. What is recorded is durable within about a
    second, and at the latest when the journal is closed.

    Parameters
    ----------
    path
        The file; made if it is not there.

    Attributes
    ----------
    set_aside
        Where a file was moved to that stood there and is damaged or no journal; None if none was.
    """

    def __init__(self, path: Path) -> None:
        self.set_aside: Path | None = None
        if not _is_sound(path):
            self.set_aside = path.with_suffix(".damaged")
            path.replace(self.set_aside)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        self._connection = _connect(path)
        if not _tables(self._connection):
            self._connection.executescript(_SCHEMA)
        self._began: float | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An error of the work matters more than that of a journal on the same disk.
        with suppress(sqlite3.Error) if error is not None else nullcontext():
            self.close()

    def holds(self, series: PlannedSeries, *, md5: bool = False) -> bool:
        """Whether it has a series as complete where the plan puts it, with its checksums if asked."""
        found = self._connection.execute(
            "SELECT md5 FROM series WHERE crdc_series_uuid = ? AND directory_digest = ?"
            " AND instanceCount = ? AND size_bytes = ?",
            _key(series),
        ).fetchone()
        return found is not None and (not md5 or bool(found[0]))

    def names(self, series: PlannedSeries) -> list[str] | None:
        """The files of a series that shares its directory; None if it is not complete, or alone there."""
        found = self._connection.execute(
            "SELECT names FROM series WHERE crdc_series_uuid = ? AND directory_digest = ?",
            _key(series)[:2],
        ).fetchone()
        return found[0].split("/") if found and found[0] else None

    def total(self, directory: str) -> tuple[int, int]:
        """Instances and bytes of all series with names in a directory, of this plan and of others."""
        instances, size_bytes = self._connection.execute(
            "SELECT coalesce(sum(instanceCount), 0), coalesce(sum(size_bytes), 0) FROM series"
            " WHERE directory_digest = ? AND names IS NOT NULL",
            (_digest(directory),),
        ).fetchone()
        return instances, size_bytes

    def record(self, series: PlannedSeries, names: Iterable[str] | None = None, *, md5: bool = False) -> None:
        """Keep that a series is complete; `names` are its files where it shares its directory."""
        kept = None if names is None else "/".join(sorted(names))  # no name of a file holds a slash
        self._write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)", (*_key(series), md5, kept))

    def forget(self, series: PlannedSeries) -> None:
        """Keep that a series is not complete."""
        self._write("DELETE FROM series WHERE crdc_series_uuid = ?", _key(series)[:1])

    def close(self) -> None:
        """Make everything durable."""
        with closing(self._connection):
            self._commit()

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        now = time.monotonic()
        if self._began is None:
            self._connection.execute("BEGIN")
            self._began = now
        self._connection.execute(sql, values)
        if now - self._began >= _COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        if self._began is not None:
            self._began = None
            self._connection.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    # The lock of the destination keeps others out; network file systems often have no locks for SQLite.
    # An iterator of events may be taken over by another thread, one at a time.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _is_sound(path: Path) -> bool:
    """Whether a file is a journal that can be believed, or is none yet."""
    if not path.exists():
        return True
    try:
        with closing(_connect(path)) as connection:
            if not _tables(connection):
                return True
            marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in
                     ("application_id", "user_version", "quick_check(1)")]  # fmt: skip
    except sqlite3.DatabaseError:
        return False
    return marks == [_APPLICATION_ID, _VERSION, "ok"]


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]


def _key(series: PlannedSeries) -> tuple[str, bytes, int, int]:
    return (
        series.crdc_series_uuid,
        _digest(series.directory),
        series.instanceCount,
        series.size_bytes,
    )


def _digest(directory: str) -> bytes:
    return hashlib.blake2b(directory.encode(), digest_size=8).digest()
