"""The database of thumbnails: a row for each picture, and for each file that has none; labels and splits."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.parquet import write_parquet
from dataset_dl.thumbnails.rows import COLUMNS, INTEGERS, NO_FAILURE, FileState, Row
from dataset_dl.thumbnails.splits import Splits

NAME, PARQUET, PICTURES = "thumbnails.sqlite", "thumbnails.parquet", "pictures"
# “ddlt”, which marks the file as ours.
_APPLICATION_ID = 0x64646C74
_VERSION = 1
_KIND = {name: "INTEGER" if name in INTEGERS else "TEXT" for name in COLUMNS}
_SCHEMA = f"""
    BEGIN;
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {_VERSION};
    CREATE TABLE thumbnails (
        {", ".join(f"{name} {kind}" for name, kind in _KIND.items())}, split TEXT, PRIMARY KEY (path, frame)
    ) WITHOUT ROWID;
    CREATE INDEX of_id ON thumbnails (id) WHERE id <> '';
    CREATE TABLE labels (id TEXT PRIMARY KEY, label TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE files (
        path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, settings TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
    COMMIT;
"""
_SHOWN = (*COLUMNS, "split", "label")
_ALL = "SELECT t.*, l.label FROM thumbnails t LEFT JOIN labels l ON t.id = l.id AND t.id <> ''"


class Database:
    """A directory of thumbnails with its database. One process at a time may have it open.

    Parameters
    ----------
    target
        The directory.
    must_exist
        Whether it is an error if there is none.

    Raises
    ------
    SelectionError
        If there is none, but must be.
    StorageError
        If another process has it open, it is no such database, or cannot be written.

    Attributes
    ----------
    has_changed
        Whether rows were written.
    """

    def __init__(self, target: Path, *, must_exist: bool = False) -> None:
        self.target = target
        path = target / NAME
        if must_exist and not path.is_file():
            raise SelectionError(
                str(target), f"{target} has no thumbnails.", "`dataset-dl thumbnails DIR` makes them."
            )
        with _translated(target):
            target.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise
        self._splits: Splits | None = None
        self.has_changed = False

    def _open(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.executescript(_SCHEMA)
        if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise sqlite3.DatabaseError("it is a database of another program")
        if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            raise sqlite3.DatabaseError("it is of another version of this program")

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def failures(self) -> int:
        """Return how many rows say that something is wrong with a file."""
        return sum(count for cause, count in self.counts().items() if cause and cause not in NO_FAILURE)

    def is_known(self, file: FileState, settings: str) -> bool:
        """Whether the thumbnails of a file were made with these settings, and it has not changed since."""
        with _translated(self.target):
            found = self._connection.execute(
                "SELECT size_bytes, mtime_ns, settings FROM files WHERE path = ?", (file.path,)
            ).fetchone()
        return bool(found == (file.size_bytes, file.mtime_ns, settings))

    def write(self, rows: Sequence[Row], files: Iterable[FileState], settings: str) -> None:
        """Write all rows of some files, in place of earlier ones; pictures that are no longer named go."""
        self.has_changed = True
        with _translated(self.target), self._transaction():
            kept = {row.picture for row in rows}
            stale: list[str] = []
            for file in files:
                found = self._connection.execute(
                    "SELECT picture FROM thumbnails WHERE path = ? AND picture <> ''", (file.path,)
                )
                stale += [picture for (picture,) in found if picture not in kept]
                self._connection.execute("DELETE FROM thumbnails WHERE path = ?", (file.path,))
                self._connection.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (*file, settings)
                )
            places = ", ".join("?" * (len(COLUMNS) + 1))
            self._connection.executemany(
                f"INSERT OR REPLACE INTO thumbnails VALUES ({places})",
                (
                    (*row, self._split_of(row.collection_id, row.PatientID, row.StudyInstanceUID))
                    for row in rows
                ),
            )
        for picture in stale:
            with suppress(OSError):
                (self.target / PICTURES / picture).unlink()

    def counts(self) -> dict[str, int]:
        """Return how many rows there are, by cause; pictures have an empty one."""
        return dict(self._connection.execute("SELECT cause, count(*) FROM thumbnails GROUP BY cause"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield all rows with their labels, by path and frame."""
        with _translated(self.target):
            for row in self._connection.execute(f"{_ALL} ORDER BY t.path, t.frame"):
                yield dict(zip(_SHOWN, row, strict=True))

    def export(self) -> Path:
        """Write all rows as Parquet; return the file."""
        types = ["BIGINT" if name in INTEGERS else "VARCHAR" for name in _SHOWN]
        path = self.target / PARQUET
        write_parquet(_SHOWN, ([row[name] for name in _SHOWN] for row in self.rows()), path, types=types)
        return path

    def label(self, labels: Mapping[str, str | None]) -> int:
        """Set the labels of pictures by their id, None to remove one; return how many were set.

        Raises
        ------
        SelectionError
            If there is no such picture; then none is set.
        """
        known = {row[0] for row in self._connection.execute("SELECT id FROM thumbnails WHERE id <> ''")}
        if strange := [name for name in labels if name not in known]:
            raise SelectionError(
                strange[0],
                f"There is no picture {strange[0]}"
                + (f", and {len(strange) - 1:,} more are unknown" if len(strange) > 1 else "")
                + "; no label was set.",
                "`dataset-dl label export` lists all.",
            )
        with _translated(self.target), self._transaction():
            for name, label in labels.items():
                if label:
                    self._connection.execute("INSERT OR REPLACE INTO labels VALUES (?, ?)", (name, label))
                else:
                    self._connection.execute("DELETE FROM labels WHERE id = ?", (name,))
        return len(labels)

    def pictures_of(self, identifier: str) -> list[str]:
        """Return the ids of pictures by an id, a path, or a UID of an instance, a series or a study."""
        sql = (
            "SELECT id FROM thumbnails WHERE id <> '' AND ? IN"
            " (id, path, SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID) ORDER BY path, frame"
        )
        return [row[0] for row in self._connection.execute(sql, (identifier,))]

    def split(self, splits: Splits) -> dict[str, int]:
        """Divide all patients, now and those that come later; return how many pictures each part has."""
        self._splits = splits
        with _translated(self.target), self._transaction():
            self._set("splits", splits.to_json())
            patients = self._connection.execute(
                "SELECT DISTINCT collection_id, PatientID, StudyInstanceUID FROM thumbnails"
            ).fetchall()
            self._connection.executemany(
                "UPDATE thumbnails SET split = ?"
                " WHERE collection_id = ? AND PatientID = ? AND StudyInstanceUID = ?",
                ((splits.of(*patient), *patient) for patient in patients),
            )
        sql = "SELECT split, count(*) FROM thumbnails WHERE id <> '' GROUP BY split ORDER BY split"
        return dict(self._connection.execute(sql))

    def _split_of(self, collection_id: str, patient_id: str, study: str) -> str | None:
        if self._splits is None:
            found = self._connection.execute("SELECT value FROM settings WHERE name = 'splits'").fetchone()
            self._splits = Splits.of_json(found[0]) if found else Splits({})
        return self._splits.of(collection_id, patient_id, study)

    def _set(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


@contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StorageError(
                str(target), f"Another program writes thumbnails to {target}.", "Wait until it has ended."
            ) from None
        raise StorageError(str(target), f"{target / NAME} cannot be written: {error}.") from None
    except sqlite3.DatabaseError as error:
        raise StorageError(
            str(target),
            f"{target / NAME} is no database of thumbnails: {error}.",
            "Choose another directory.",
        ) from None
    except OSError as error:
        raise StorageError(str(target), f"{target} cannot be written: {error.strerror}.") from None


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as text that is equal if they are."""
    return json.dumps(settings, sort_keys=True)
