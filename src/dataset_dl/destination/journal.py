"""What is complete in a destination, durably: a memory that the disk overrules."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from dataset_dl.model.series import PlannedSeries

# “ddlj”: it marks the file as ours. The version is that of the schema.
_APPLICATION_ID = 0x64646C6A
_VERSION = 1
# Digests in place of what the plan has anyway keep the journal of all NLST at 40 MB: one of everything that
# must not have changed, and one of the directory where series share it.
_RENAMED = (
    "CREATE TABLE renamed (crdc_series_uuid TEXT PRIMARY KEY, files TEXT NOT NULL, template TEXT NOT NULL)"
    " WITHOUT ROWID"
)
_SCHEMA = f"""
    BEGIN;
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {_VERSION};
    CREATE TABLE series (
        crdc_series_uuid TEXT PRIMARY KEY,
        digest INTEGER NOT NULL,
        instanceCount INTEGER NOT NULL,
        shared_directory INTEGER,
        names TEXT
    ) WITHOUT ROWID;
    {_RENAMED};
    CREATE INDEX sharing ON series (shared_directory) WHERE shared_directory IS NOT NULL;
    COMMIT;
"""
_COMMIT_SECONDS = 1.0


class Journal:
    """Which series are complete, and where; of those that share a directory, also which files are theirs.

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
        self._made_in = os.getpid()
        self.set_aside: Path | None = None
        if not _is_sound(path):
            self.set_aside = path.with_suffix(".damaged")
            path.replace(self.set_aside)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        self._connection = _connect(path)
        if not (tables := _tables(self._connection)):
            self._connection.executescript(_SCHEMA)
        elif "renamed" not in tables:  # as the first journals were
            self._connection.execute(_RENAMED)
        self._began: float | None = None
        # Sorted, and read when first asked for: a look-up in the file takes ten times as long.
        self._digests: array[int] | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An error of the work matters more than that of a journal on the same disk.
        with suppress(sqlite3.Error) if error is not None else nullcontext():
            self.close()

    def holds(self, series: PlannedSeries) -> bool:
        """Whether it has a series as complete where the plan puts it.

        The answer is of the time when this was first asked; what is recorded later is not in it.
        """
        if self._digests is None:
            rows = self._connection.execute("SELECT digest FROM series")
            self._digests = array("q", sorted(row[0] for row in rows))
        digest = _digest_of(series)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest

    def names(self, series: PlannedSeries) -> list[str] | None:
        """The files of a series that shares its directory; None if it is not complete, or alone there."""
        found = self._connection.execute(
            "SELECT names FROM series WHERE crdc_series_uuid = ? AND digest = ?",
            (series.crdc_series_uuid, _digest_of(series)),
        ).fetchone()
        return found[0].split("/") if found and found[0] else None

    def instances(self, directory: str) -> int:
        """Files of all series that it knows the names of in a directory, of this plan and of others."""
        count: int = self._connection.execute(
            "SELECT coalesce(sum(instanceCount), 0) FROM series WHERE shared_directory = ?",
            (_digest(directory),),
        ).fetchone()[0]
        return count

    def record(self, series: PlannedSeries, names: Iterable[str] | None = None) -> None:
        """Keep that a series is complete; `names` are its files where it shares its directory."""
        kept = directory = None
        if names is not None:
            kept, directory = "/".join(sorted(names)), _digest(series.directory)  # no name holds a slash
        values = (series.crdc_series_uuid, _digest_of(series), series.instanceCount, directory, kept)
        self._write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?)", values)

    def forget(self, series: PlannedSeries) -> None:
        """Keep that a series is not complete."""
        self._write("DELETE FROM series WHERE crdc_series_uuid = ?", (series.crdc_series_uuid,))

    def renamed(self, uuid: str) -> dict[str, str]:
        """The objects of a series with the names of their files; what is noted may not be done yet."""
        return _renamed(self._connection, uuid)

    def template(self, uuid: str) -> str:
        """The template that the files of a series were named by; empty if they were not."""
        sql = "SELECT template FROM renamed WHERE crdc_series_uuid = ?"
        found = self._connection.execute(sql, (uuid,)).fetchone()
        return found[0] if found else ""

    def rename(self, uuid: str, files: Mapping[str, str], template: str) -> None:
        """Note the names of the files of a series, durably, before they get them."""
        text = "/".join(f"{name}:{file}" for name, file in files.items())  # no name holds either sign
        self._write("INSERT OR REPLACE INTO renamed VALUES (?, ?, ?)", (uuid, text, template))
        self._commit()

    def close(self) -> None:
        """Make everything durable."""
        if os.getpid() != self._made_in:
            return  # a fork has the object, but the file is its parent's
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


@contextmanager
def reading_names(path: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """`Journal.renamed` of a journal that somebody else may hold; nothing where there is none."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&nolock=1", uri=True)
    except sqlite3.OperationalError:
        yield lambda uuid: {}
        return
    with closing(connection):
        try:
            knows = "renamed" in _tables(connection)
        except sqlite3.DatabaseError:
            knows = False
        yield (lambda uuid: _renamed(connection, uuid)) if knows else (lambda uuid: {})


def _renamed(connection: sqlite3.Connection, uuid: str) -> dict[str, str]:
    found = connection.execute("SELECT files FROM renamed WHERE crdc_series_uuid = ?", (uuid,)).fetchone()
    pairs = (each.split(":", 1) for each in found[0].split("/")) if found else ()
    return dict(pairs)


def _connect(path: Path) -> sqlite3.Connection:
    # The lock of the destination keeps others out; network file systems often have no locks for SQLite.
    # An iterator of events may be taken over by another thread, one at a time.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
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


def _digest_of(series: PlannedSeries) -> int:
    """A digest of what makes a series complete: which, where, how many files and bytes."""
    text = f"{series.crdc_series_uuid} {series.instanceCount} {series.size_bytes} {series.directory}"
    return _digest(text if series.files is None else f"{text} {series.files}")


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)
