"""The ledger of instances: one answer of an archive for each that was sent to it or came from it.

A row is committed before the next instance goes out, so a process that is killed leaves at most one batch
without answers. Every machine that writes into a destination has a file of its own, because the locks of
SQLite do not hold between machines; all are read.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from dataset_dl.destination import paths
from dataset_dl.errors import StorageError

Direction = Literal["sent", "received"]

_FOLDER, _SUFFIX = "instances", ".sqlite"
_BUSY_SECONDS = 60.0
_AT_ONCE = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    direction TEXT, node TEXT, address TEXT,
    SOPInstanceUID TEXT, SeriesInstanceUID TEXT, StudyInstanceUID TEXT,
    status INTEGER, words TEXT, digest BLOB, size_bytes INTEGER, at REAL,
    PRIMARY KEY (direction, node, address, SOPInstanceUID)
) WITHOUT ROWID
"""


class Entry(NamedTuple):
    """What became of an instance.

    Attributes
    ----------
    direction, node, address
        Whether it was sent or received, the node, and its address: another archive may get the same name.
    SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID
        Which one.
    status
        The status of the answer (PS3.7, annex C), or the reason of STOW-RS (PS3.18, I.2.2); 0 is a success,
        None no answer.
    words
        What the archive said.
    digest
        A checksum of the data set that was sent; empty for one that came, which is here.
    size_bytes
        Of the data set that was sent, or of the file that came.
    at
        Seconds since 1970.
    """

    direction: Direction
    node: str
    address: str
    SOPInstanceUID: str
    SeriesInstanceUID: str
    StudyInstanceUID: str
    status: int | None
    words: str
    digest: bytes
    size_bytes: int
    at: float


class AnyLedger(Protocol):
    """Remembers answers for instances."""

    def record(self, entries: Iterable[Entry]) -> None:
        """Write entries, and commit."""

    def find(self, direction: Direction, node: str, address: str, uids: Iterable[str]) -> dict[str, Entry]:
        """Return the latest entries of instances, by SOPInstanceUID."""

    def close(self) -> None:
        """Let go of it."""


class Ledger:
    """The ledger of a folder, for all threads of this process.

    Parameters
    ----------
    folder
        Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        host = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())[:60] or "host"
        self._path = folder / f"{host}{_SUFFIX}"
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._others: list[sqlite3.Connection] | None = None

    @classmethod
    def of(cls, destination: Path) -> Ledger:
        """Return the ledger in the records of a destination."""
        return cls(folder_of(destination))

    def record(self, entries: Iterable[Entry]) -> None:
        """Write entries, and commit.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        with self._lock:
            connection = self._writing()
            try:
                with connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", entries
                    )
            except sqlite3.Error as error:
                raise _unwritable(self._path, str(error)) from None

    def find(self, direction: Direction, node: str, address: str, uids: Iterable[str]) -> dict[str, Entry]:
        """Return the latest entries of instances, by SOPInstanceUID."""
        wanted = list(uids)
        found: dict[str, Entry] = {}
        with self._lock:
            for connection in self._readable():
                try:
                    several = list(_entries_of(connection, direction, node, address, wanted))
                except sqlite3.Error as error:
                    if connection is self._connection:
                        raise _unreadable(self._path, str(error)) from None
                    # What another machine has recorded saves work, and is not needed.
                    continue
                for entry in several:
                    if entry.SOPInstanceUID not in found or entry.at > found[entry.SOPInstanceUID].at:
                        found[entry.SOPInstanceUID] = entry
        return found

    def close(self) -> None:
        """Close its files."""
        with self._lock:
            for each in (self._connection, *(self._others or ())):
                if each is not None:
                    each.close()
            self._connection = self._others = None

    def _readable(self) -> Iterator[sqlite3.Connection]:
        if self._others is None:
            several = sorted(self._path.parent.glob(f"*{_SUFFIX}")) if self._path.parent.is_dir() else []
            self._others = [_reading(path) for path in several if path != self._path]
        yield from self._others
        if self._connection is not None or self._path.exists():
            yield self._open()

    def _writing(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._open()
        except OSError as error:
            raise _unwritable(self._path, error.strerror) from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                made = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
                # A killed process loses nothing so; only a power failure may lose the last moments, and what
                # is sent twice then is the same.
                made.execute("PRAGMA journal_mode = WAL")
                made.execute("PRAGMA synchronous = NORMAL")
                made.execute(_SCHEMA)
            except sqlite3.Error as error:
                raise _unwritable(self._path, str(error)) from None
            self._connection = made
        return self._connection


def folder_of(destination: Path) -> Path:
    """Return where the ledger of a destination is."""
    return paths.state(destination) / _FOLDER


def entries(folder: Path) -> Iterator[Entry]:
    """Yield the entries of all files of a folder, the oldest first within each.

    Raises
    ------
    StorageError
        If a file is damaged.
    """
    for path in sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else ():
        with closing(_reading(path)) as connection:
            try:
                has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'instances'")
                if has_table.fetchone() is not None:
                    yield from map(Entry._make, connection.execute("SELECT * FROM instances ORDER BY at"))
            except sqlite3.Error as error:
                raise _unreadable(path, str(error)) from None


def _entries_of(
    connection: sqlite3.Connection, direction: Direction, node: str, address: str, wanted: list[str]
) -> Iterator[Entry]:
    for begin in range(0, len(wanted), _AT_ONCE):
        several = wanted[begin : begin + _AT_ONCE]
        marks = ", ".join("?" * len(several))
        rows = connection.execute(
            "SELECT * FROM instances WHERE direction = ? AND node = ? AND address = ?"
            f" AND SOPInstanceUID IN ({marks})",
            (direction, node, address, *several),
        )
        yield from map(Entry._make, rows)


def now() -> float:
    """Return the time for an entry."""
    return time.time()


def _reading(path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    with suppress(sqlite3.Error):
        made.execute("PRAGMA query_only = TRUE")
    return made


def _unreadable(path: Path, reason: str) -> StorageError:
    return StorageError(
        os.fspath(path),
        f"The record of the instances, {path}, is damaged ({reason}).",
        "Move it away: what it recorded is then sent again, which does no harm.",
    )


def _unwritable(path: Path, reason: str | None) -> StorageError:
    return StorageError(
        os.fspath(path),
        f"The record of the instances, {path}, cannot be written: {reason}; nothing more was sent or taken.",
        "Make space there, then run the same command again.",
    )
