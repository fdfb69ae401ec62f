"""What a directory remembers of the files in it, without a word of what they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from filelock import FileLock, Timeout

from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.model.series import STATE_DIRECTORY
from dataset_dl.pseudonyms.keys import Key

_NAME = "pseudonyms.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (mark BLOB PRIMARY KEY, path TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (mark TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS patients (pseudonym TEXT PRIMARY KEY, mark BLOB) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60.0


class Memory:
    """Digests of the files that were done, under the key; one writer at a time.

    Parameters
    ----------
    target
        The directory.
    key
        The key; a directory has the pseudonyms of one.

    Raises
    ------
    SelectionError
        If the directory has pseudonyms of another key.
    StorageError
        If another run writes there, or it cannot be written.
    """

    def __init__(self, target: Path, key: Key) -> None:
        self._target = target
        self.path = target / STATE_DIRECTORY / _NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(f"{self.path}.lock")
            self._lock.acquire(timeout=0)
            self._open(key)
        except Timeout:
            raise StorageError(
                str(target), f"Another run writes into {target}; nothing was started.", "Wait for its end."
            ) from None
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                str(self.path), f"{self.path} cannot be written: {error}; nothing was started."
            ) from None

    def _open(self, key: Key) -> None:
        self._connection = sqlite3.connect(self.path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        marks = {row[0] for row in self._connection.execute("SELECT mark FROM keys")}
        if marks - {key.check()}:
            self.close()
            raise SelectionError(
                "key",
                f"{self._target} has pseudonyms of another key, and one patient would get two; nothing was"
                " started.",
                "Use the same key, or another directory.",
            )
        self._connection.execute("INSERT OR IGNORE INTO keys VALUES (?)", (key.check(),))
        self._connection.commit()

    def is_known(self, mark: bytes) -> bool:
        """Whether a file was done before, and what was made of it is still there."""
        row = self._connection.execute("SELECT path FROM files WHERE mark = ?", (mark,)).fetchone()
        return row is not None and (self._target / row[0]).is_file()

    def add(self, files: Iterable[tuple[bytes, str]]) -> None:
        """Remember files: a digest of each, and the name of the new one.

        Raises
        ------
        StorageError
            If that cannot be written.
        """
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", files)
        except sqlite3.Error as error:
            raise StorageError(str(self.path), f"{self.path} cannot be written: {error}.") from None

    def close(self) -> None:
        """Close it."""
        self._connection.close()
        self._lock.release()


def is_of(target: Path, key: Key, pseudonym: str, whose: str) -> bool:
    """Whether a pseudonym is a patient's in a directory: the first one who is asked for has it.

    Any process may ask while one has the `Memory` of the directory.

    Raises
    ------
    StorageError
        If that cannot be written.
    """
    path, mark = target / STATE_DIRECTORY / _NAME, key.mark(whose)
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("INSERT OR IGNORE INTO patients VALUES (?, ?)", (pseudonym, mark))
            row = connection.execute("SELECT mark FROM patients WHERE pseudonym = ?", (pseudonym,)).fetchone()
    except sqlite3.Error as error:
        raise StorageError(str(path), f"{path} cannot be written: {error}.") from None
    return bool(row[0] == mark)
