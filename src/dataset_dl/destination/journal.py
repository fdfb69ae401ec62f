"""The durable record of complete series in a destination. The disk overrules it."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from dataset_dl.destination.consumers import Receipt
from dataset_dl.destination.schema import APPLICATION_ID, VERSION, prepare, schema_version, tables
from dataset_dl.model.series import PlannedSeries, Size

_COMMIT_SECONDS = 1.0


class Journal:
    """Records which series are complete and where; for those that share a directory, also their files.

    Only the holder of a destination may open its journal. While entries arrive, they are committed about once
    a second; the last ones when the journal is closed.

    Parameters
    ----------
    path
        The file; created if it does not exist.
    run_id
        The run to record with each entry.
    check
        Called before entries are committed, and raises if they no longer may be.

    Attributes
    ----------
    set_aside
        New path of a file found at `path` that is damaged, no journal, or written by a newer version of this
        program; None if there was none.
    """

    def __init__(self, path: Path, run_id: str = "", check: Callable[[], object] = lambda: None) -> None:
        self._made_in = os.getpid()
        self._check = check
        self.set_aside: Path | None = None
        if not _is_sound(path):
            self.set_aside = path.with_suffix(".damaged")
            path.replace(self.set_aside)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        self._connection = _connect(path)
        prepare(self._connection)
        self._run_id = run_id
        self._run: int | None = None
        self._began: float | None = None
        self._evicts: bool | None = None
        self._names: bool | None = None
        # Sorted, and read on first use: a lookup in the file takes ten times as long.
        self._digests: array[int] | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The error raised in the block matters more than one of the journal on the same disk.
        with suppress(sqlite3.Error) if error is not None else nullcontext():
            self.close()

    def holds(self, series: PlannedSeries) -> bool:
        """Whether a series is recorded as complete in the directory that the plan gives it.

        Answers show the journal as of the first call; they ignore later entries.
        """
        if self._digests is None:
            rows = self._connection.execute("SELECT digest FROM series")
            self._digests = array("q", sorted(row[0] for row in rows))
        digest = digest_of(series)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest

    def names(self, series: PlannedSeries) -> list[str] | None:
        """Return the files of a series that shares its directory; None if it is incomplete or alone there."""
        if not self._has_names():
            return None
        found = self._connection.execute(
            "SELECT names FROM series WHERE key = ? AND digest = ?", (series.key, digest_of(series))
        ).fetchone()
        return found[0].split("/") if found and found[0] else None

    def instances(self, directory: str) -> int:
        """Count the files recorded by name in a directory, for series of this plan and of others."""
        count: int = self._connection.execute(
            "SELECT coalesce(sum(instanceCount), 0) FROM series WHERE shared_directory = ?",
            (_digest(directory),),
        ).fetchone()[0]
        return count

    def record(self, series: PlannedSeries, names: Iterable[str] | None = None) -> None:
        """Record a series as complete; `names` are its files if it shares its directory."""
        kept = directory = None
        if names is not None:
            kept, directory = "/".join(sorted(names)), _digest(series.directory)  # no name contains a slash
            self._names = True
        values = (
            series.key,
            digest_of(series),
            series.instanceCount,
            directory,
            kept,
            self._number_of_run(),
        )
        self._write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)", values)
        if self._has_evicted():
            self._write("DELETE FROM evicted WHERE key = ?", (series.key,))

    def forget(self, series: PlannedSeries) -> None:
        """Delete the entry of a series that is not complete, or no longer there."""
        self._write("DELETE FROM series WHERE key = ?", (series.key,))

    def pin(self, key: str, size: Size) -> None:
        """Record files and bytes of a series that were unknown before."""
        self._write("INSERT OR REPLACE INTO pinned VALUES (?, ?, ?, ?)", (key, *size))

    def renamed(self, key: str) -> dict[str, str]:
        """Return object name → file name for a series; recorded renames may still be pending."""
        return renamed_files(self._connection, key)

    def template(self, key: str) -> str:
        """Return the template that named the files of a series; empty if they were not renamed."""
        found = self._connection.execute("SELECT template FROM renamed WHERE key = ?", (key,)).fetchone()
        return found[0] if found else ""

    def rename(self, key: str, files: Mapping[str, str], template: str) -> None:
        """Record the new names of a series' files durably, before the files are renamed."""
        text = "/".join(f"{name}:{file}" for name, file in files.items())  # no name contains : or /
        self._write("INSERT OR REPLACE INTO renamed VALUES (?, ?, ?)", (key, text, template))
        self.commit()

    def receipt(self, consumer: str, key: str) -> Receipt | None:
        """Return the receipt of a consumer for a series; None if it was never delivered."""
        found = self._connection.execute(
            "SELECT consumer, key, options_digest, delivered_at, made, run_id FROM receipts"
            " WHERE consumer = ? AND key = ?",
            (consumer, key),
        ).fetchone()
        return Receipt(*found)._replace(made=json.loads(found[4])) if found else None

    def write_receipt(self, receipt: Receipt) -> None:
        """Record a delivery durably: if its receipt is lost, it may not be repeatable."""
        values = receipt._replace(made=json.dumps(receipt.made, default=str))  # type: ignore[arg-type]
        self._write("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?, ?, ?)", tuple(values))
        self.commit()

    def evict(self, series: PlannedSeries) -> None:
        """Record durably that a delivered series is about to be removed; `forget` it when it is."""
        self._check()
        values = (series.key, digest_of(series), time.time())
        self._write("INSERT OR REPLACE INTO evicted VALUES (?, ?, ?)", values)
        self._evicts = True
        self.commit()

    def is_evicted(self, series: PlannedSeries) -> bool:
        """Whether a series was delivered and then removed, and is not here again."""
        return self._has_evicted() and is_evicted(self._connection, series)

    def _has_evicted(self) -> bool:
        """Whether any series was; that spares a look for each of a million."""
        if self._evicts is None:
            self._evicts = self._connection.execute("SELECT 1 FROM evicted LIMIT 1").fetchone() is not None
        return self._evicts

    def _has_names(self) -> bool:
        """Whether any series shares its directory; that spares a look for each of a million."""
        if self._names is None:
            found = self._connection.execute("SELECT 1 FROM series WHERE names IS NOT NULL LIMIT 1")
            self._names = found.fetchone() is not None
        return self._names

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file, for `merging`, which may add what nobody has looked for yet."""
        self.commit()
        self._digests = self._evicts = self._names = None
        return self._connection

    def finish_run(self, report: str) -> None:
        """Record the report of a run, as JSON."""
        self._write(
            "UPDATE runs SET ended = ?, report = ? WHERE number = ?",
            (time.time(), report, self._number_of_run()),
        )
        self.commit()

    def close(self) -> None:
        """Commit everything and close the file."""
        if os.getpid() != self._made_in:
            return  # after a fork, the file belongs to the parent
        with closing(self._connection):
            self.commit()

    def commit(self) -> None:
        """Commit the entries recorded so far."""
        if self._began is not None:
            self._began = None
            self._connection.execute("COMMIT")

    def _number_of_run(self) -> int:
        """Return the number of this run; a run that records nothing has none."""
        if self._run is None:
            self._write(
                "INSERT OR IGNORE INTO runs (run_id, began) VALUES (?, ?)", (self._run_id, time.time())
            )
            found = self._connection.execute("SELECT number FROM runs WHERE run_id = ?", (self._run_id,))
            self._run = int(found.fetchone()[0])
        return self._run

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        now = time.monotonic()
        if self._began is None:
            self._connection.execute("BEGIN")
            self._began = now
        self._connection.execute(sql, values)
        if now - self._began >= _COMMIT_SECONDS:
            self._check()
            self.commit()


def renamed_files(connection: sqlite3.Connection, key: str) -> dict[str, str]:
    """Return object name → file name for a series, from a journal of either version."""
    column = "crdc_series_uuid" if schema_version(connection) == 1 else "key"
    found = connection.execute(f"SELECT files FROM renamed WHERE {column} = ?", (key,)).fetchone()
    pairs = (each.split(":", 1) for each in found[0].split("/")) if found else ()
    return dict(pairs)


def is_complete(connection: sqlite3.Connection, series: PlannedSeries) -> bool:
    """Whether a journal of the current version records a series as complete in its directory."""
    found = connection.execute("SELECT digest FROM series WHERE key = ?", (series.key,)).fetchone()
    return found is not None and found[0] == digest_of(series)


def is_evicted(connection: sqlite3.Connection, series: PlannedSeries) -> bool:
    """Whether a journal of the current version says that a series was delivered and then removed."""
    found = connection.execute("SELECT digest FROM evicted WHERE key = ?", (series.key,)).fetchone()
    return found is not None and found[0] == digest_of(series)


def _connect(path: Path) -> sqlite3.Connection:
    # The lock of the destination keeps others out; network file systems often lack the locks of SQLite.
    # Another thread may take over the iterator of events; one at a time uses it.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_sound(path: Path) -> bool:
    """Whether a file is a sound journal, empty, or missing."""
    if not path.exists():
        return True
    try:
        with closing(_connect(path)) as connection:
            if not tables(connection):
                return True
            is_ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            version = schema_version(connection)
            is_whole = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.DatabaseError:
        return False
    return is_ours and is_whole and 1 <= version <= VERSION


def digest_of(series: PlannedSeries) -> int:
    """Return a digest of what makes a series complete: key, directory, files and bytes."""
    text = f"{series.key} {series.instanceCount} {series.size_bytes} {series.directory}"
    return _digest(text if series.files is None else f"{text} {series.files}")


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)
