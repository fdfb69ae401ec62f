"""The table of jobs: an SQLite file that the page, the command line and Python share."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.model.job import Ended, Job, JobState
from dataset_dl.model.outcome import DownloadProgress

_VERSION = 1
_WAIT_SECONDS = 30.0
# A job keeps its row when it is removed, so that others learn of it; only its contents go.
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        destination TEXT NOT NULL,
        request TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT NOT NULL DEFAULT '',
        progress TEXT,
        outcome TEXT NOT NULL DEFAULT '{{}}',
        created REAL NOT NULL,
        began REAL,
        ended REAL,
        change INTEGER NOT NULL,
        wanted TEXT,
        runner TEXT,
        is_removed INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX IF NOT EXISTS changes ON jobs (change);
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""
_COLUMNS = "id, kind, destination, request, state, message, progress, outcome, created, began, ended, change"
_NEXT = "change = (SELECT max(change) + 1 FROM jobs)"
_ENDED_BY_ITSELF = "The program that ran it has ended; what was finished is kept."


class Table:
    """Jobs in a file.

    Every call opens the file anew, so that one table serves threads and forks.

    Parameters
    ----------
    path
        The file; it is created on first use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, kind: str, destination: Path, request: Mapping[str, Any]) -> int:
        """Add a job that is not ready yet: nobody sees it before `publish`."""
        with self._writing() as connection:
            sql = (
                "INSERT INTO jobs (kind, destination, request, state, created, change, is_removed)"
                " VALUES (?, ?, ?, 'PENDING', ?, (SELECT coalesce(max(change), 0) + 1 FROM jobs), 1)"
            )
            values = (kind, _text(destination), json.dumps(request), time.time())
            return int(connection.execute(sql, values).lastrowid or 0)

    def publish(self, number: int) -> None:
        """Show a job that was added, so that it can be started."""
        with self._writing() as connection:
            connection.execute(f"UPDATE jobs SET is_removed = 0, {_NEXT} WHERE id = ?", (number,))

    def jobs(self) -> list[Job]:
        """Return all jobs, the newest first."""
        return list(self._found("WHERE is_removed = 0 ORDER BY id DESC"))

    def job(self, number: int) -> Job:
        """Return a job.

        Raises
        ------
        SelectionError
            If there is none with this number.
        """
        for job in self._found("WHERE id = ? AND is_removed = 0", (number,)):
            return job
        raise SelectionError(str(number), f"There is no job {number}.", "`dataset-dl jobs list` lists them.")

    def last(self) -> int:
        """Return the number of the last change; 0 before the first."""
        with self._reading() as connection:
            return int(connection.execute("SELECT coalesce(max(change), 0) FROM jobs").fetchone()[0])

    def since(self, change: int) -> tuple[int, list[Job], list[int]]:
        """Return the number of the last change, and what changed after another: jobs, and removed ones."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS}, is_removed FROM jobs WHERE change > ? ORDER BY change", (change,)
            ).fetchall()
            last = connection.execute("SELECT coalesce(max(change), 0) FROM jobs").fetchone()[0]
            there = [_job(row[:-1]) for row in rows if not row[-1]]
        return int(last), there, [int(row[0]) for row in rows if row[-1]]

    def move(self, number: int, states: Mapping[JobState, JobState]) -> bool:
        """Change the state of a job that is in one of some states; one that runs is asked to.

        Parameters
        ----------
        number
            Of the job.
        states
            State → the new one. From ``IN_PROGRESS`` the job gets there when it has been stopped.

        Returns
        -------
        bool
            Whether it was in one of these states.
        """
        with self._writing() as connection:
            row = connection.execute(
                "SELECT state FROM jobs WHERE id = ? AND is_removed = 0", (number,)
            ).fetchone()
            if row is None or row[0] not in states:
                return False
            new = states[row[0]]
            if row[0] == "IN_PROGRESS":
                connection.execute(f"UPDATE jobs SET wanted = ?, {_NEXT} WHERE id = ?", (new, number))
            else:
                connection.execute(
                    f"UPDATE jobs SET state = ?, message = '', ended = ?, wanted = NULL, {_NEXT}"
                    " WHERE id = ?",
                    (new, time.time() if new == "CANCELED" else None, number),
                )
            return True

    def remove(self, number: int, states: Iterable[JobState]) -> bool:
        """Remove a job that is in one of some states; return whether it was."""
        listed = ", ".join(f"'{each}'" for each in states)
        with self._writing() as connection:
            sql = (
                f"UPDATE jobs SET is_removed = 1, request = '{{}}', outcome = '{{}}', progress = NULL,"
                f" message = '', {_NEXT} WHERE id = ? AND is_removed = 0 AND state IN ({listed})"
            )
            return connection.execute(sql, (number,)).rowcount == 1

    def claim(self, runner: str, at_once: int) -> Job | None:
        """Take the next job that waits, unless enough are running; None if there is none.

        Never two jobs of one destination at the same time.
        """
        with self._writing() as connection:
            running = connection.execute(
                "SELECT destination FROM jobs WHERE state = 'IN_PROGRESS' AND is_removed = 0"
            ).fetchall()
            if len(running) >= at_once:
                return None
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE state = 'PENDING' AND is_removed = 0"
                " AND destination NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT 1",
                (json.dumps([each[0] for each in running]),),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                f"UPDATE jobs SET state = 'IN_PROGRESS', message = '', runner = ?, began = ?, ended = NULL,"
                f" wanted = NULL, outcome = '{{}}', {_NEXT} WHERE id = ?",
                (runner, time.time(), row[0]),
            )
            return _job(row)

    def wanted(self, number: int) -> JobState | None:
        """Return the state that somebody asked a running job to get to; None if nobody did."""
        with self._reading() as connection:
            row = connection.execute("SELECT wanted FROM jobs WHERE id = ?", (number,)).fetchone()
        return row[0] if row else None

    def note(self, number: int, progress: DownloadProgress, message: str) -> None:
        """Record how far a running job is."""
        with self._writing() as connection:
            connection.execute(
                f"UPDATE jobs SET progress = ?, message = ?, {_NEXT} WHERE id = ? AND state = 'IN_PROGRESS'",
                (json.dumps(asdict(progress)), message, number),
            )

    def end(self, number: int, ended: Ended) -> None:
        """Record how a running job ended. One that was stopped gets to the state that was asked for."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE jobs SET state = CASE WHEN ? = 'PAUSED' THEN coalesce(wanted, 'PAUSED') ELSE ? END,"
                f" message = ?, outcome = ?, ended = ?, wanted = NULL, runner = NULL, {_NEXT}"
                " WHERE id = ? AND state = 'IN_PROGRESS'",
                (ended.state, ended.state, ended.message, json.dumps(ended.outcome), time.time(), number),
            )

    def settle(self, is_alive: Mapping[str, bool]) -> None:
        """Pause the jobs of runners that are gone."""
        gone = json.dumps([runner for runner, alive in is_alive.items() if not alive])
        with self._writing() as connection:
            ids = connection.execute(
                "SELECT id FROM jobs WHERE state = 'IN_PROGRESS'"
                " AND runner IN (SELECT value FROM json_each(?))",
                (gone,),
            ).fetchall()
            for (number,) in ids:
                connection.execute(
                    f"UPDATE jobs SET state = CASE WHEN wanted = 'CANCELED' THEN wanted ELSE 'PAUSED' END,"
                    f" message = ?, wanted = NULL, runner = NULL, ended = ?, {_NEXT} WHERE id = ?",
                    (_ENDED_BY_ITSELF, time.time(), number),
                )

    def runners(self) -> list[str]:
        """Return who runs jobs, by what `claim` was given."""
        with self._reading() as connection:
            rows = connection.execute("SELECT DISTINCT runner FROM jobs WHERE state = 'IN_PROGRESS'")
            return [str(row[0]) for row in rows]

    def _found(self, rest: str, parameters: tuple[object, ...] = ()) -> Iterator[Job]:
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM jobs {rest}", parameters).fetchall()
            return iter([_job(row) for row in rows])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self.path.exists():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.path.touch(mode=0o600)  # others need not know what one downloads
            with closing(
                sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            ) as connection:
                if (found := connection.execute("PRAGMA user_version").fetchone()[0]) < _VERSION:
                    connection.executescript(_SCHEMA)
                elif found > _VERSION:
                    raise StorageError(
                        str(self.path),
                        f"The jobs in {self.path} are of a newer version of this program.",
                        "Update dataset-dl, or set DATASET_DL_STATE to another directory.",
                    )
                yield connection
        except sqlite3.OperationalError as error:
            is_busy = "locked" in str(error)
            raise StorageError(
                str(self.path),
                f"The jobs in {self.path} cannot be read or written: {error}.",
                "Another program holds them; try again."
                if is_busy
                else "Set DATASET_DL_STATE to a writable directory with room.",
            ) from None
        except (OSError, sqlite3.Error, json.JSONDecodeError, msgspec.MsgspecError) as error:
            raise StorageError(
                str(self.path),
                f"The jobs in {self.path} cannot be read: {error}.",
                "If it is damaged, or of another program, move it away; no downloaded file is affected.",
            ) from None


def _job(row: tuple[Any, ...]) -> Job:
    number, kind, where, request, state, message, progress, outcome, created, began, ended, change = row
    return Job(
        number,
        kind,
        Path(where),
        json.loads(request),
        state,
        message,
        None if progress is None else msgspec.json.decode(progress, type=DownloadProgress),
        json.loads(outcome),
        created,
        began,
        ended,
        change,
    )


def _text(path: Path) -> str:
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SelectionError(
            ascii(text), f"The name {text!a} is not valid UTF-8, so it cannot be kept with a job."
        ) from None
    return text
