"""Transfers on record: SQLite for one machine, Postgres for several."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from dataset_dl.errors import DatasetDlError, SelectionError, StorageError
from dataset_dl.pacs.transfers.nouns import STATES, Kind, TransferJob, TransferTask, Wanted
from dataset_dl.pacs.transfers.tables import (
    address_of,
    audit,
    changes,
    engine_of,
    instances,
    jobs,
    metadata,
    tasks,
)

_MOST_AT_ONCE = 1000


class Change:
    """A transaction that changes something: one at a time, so that nothing has to be resolved.

    Attributes
    ----------
    connection
        Where it happens.
    number
        The number that all it changes gets; a later one is larger.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # Whoever has this row is the only one that changes anything.
        taken = connection.execute(update(changes).values(last=changes.c.last + 1).returning(changes.c.last))
        self.number = int(taken.scalar_one())


class Record(NamedTuple):
    """What somebody did."""

    at: float
    person: str
    verb: str
    subject: str
    detail: str


class Store:
    """The jobs, tasks and instances of transfers.

    Parameters
    ----------
    address
        As for `tables.address_of`.

    Raises
    ------
    SelectionError
        If the address is none.
    MissingExtra
        If a library is not installed.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address_of(address)

    @property
    def is_shared(self) -> bool:
        """Whether several machines may use it."""
        return not self.address.startswith("sqlite")

    @cached_property
    def _engine(self) -> Engine:
        engine = engine_of(self.address)
        try:
            with engine.begin() as connection:
                if self.is_shared:
                    # Two that create the tables at once would get in each other's way.
                    connection.execute(select(func.pg_advisory_xact_lock(0x0DD1)))
                metadata.create_all(connection)
                if connection.execute(select(func.count()).select_from(changes)).scalar_one() == 0:
                    connection.execute(insert(changes).values(last=0))
        except SQLAlchemyError as error:
            raise unusable(error) from None
        return engine

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """Change something.

        Raises
        ------
        StorageError
            If the database cannot be reached or written.
        """
        with self.writing() as connection:
            yield Change(connection)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write rows that nobody else writes.

        Raises
        ------
        StorageError
            If the database cannot be reached or written.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unusable(error) from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read.

        Raises
        ------
        StorageError
            If the database cannot be reached.
        """
        try:
            with self._engine.connect().execution_options(is_read=True) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unusable(error) from None

    def close(self) -> None:
        """Close all connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    def create(
        self,
        kind: Kind,
        wanted: Sequence[Wanted],
        *,
        owner: str,
        name: str = "",
        options: Mapping[str, Any] | None = None,
        priority: int = 0,
        hours: str = "",
    ) -> TransferJob:
        """Create a job; it waits to be started.

        Raises
        ------
        SelectionError
            If there is nothing to transfer.
        """
        if not wanted:
            raise SelectionError("", "There is nothing to transfer; nothing was created.")
        with self.changing() as change:
            row = {
                "kind": kind, "name": name, "owner": owner, "options": dict(options or {}), "state": "PAUSED",
                "priority": priority, "hours": hours, "created": time.time(), "change": change.number,
            }  # fmt: skip
            number = change.connection.execute(insert(jobs).values(**row).returning(jobs.c.id)).scalar_one()
            rows = [
                {
                    "job": number, "row": each.row, "source": each.source, "target": each.target,
                    "PatientID": each.PatientID, "StudyInstanceUID": each.StudyInstanceUID,
                    "SeriesInstanceUIDs": list(each.SeriesInstanceUIDs), "pseudonym": each.pseudonym,
                    "state": "PAUSED", "change": change.number,
                }
                for each in wanted
            ]  # fmt: skip
            for begin in range(0, len(rows), _MOST_AT_ONCE):
                change.connection.execute(insert(tasks), rows[begin : begin + _MOST_AT_ONCE])
        return self.job(int(number))

    def jobs(self) -> list[TransferJob]:
        """Return all jobs, the newest first."""
        return self._jobs()

    def since(self, change: int) -> tuple[int, list[TransferJob]]:
        """Return the number of the last change, and the jobs that changed after another one."""
        with self.reading() as connection:
            last = int(connection.execute(select(changes.c.last)).scalar_one())
        return last, self._jobs(jobs.c.change > change) if last > change else []

    def job(self, number: int) -> TransferJob:
        """Return a job.

        Raises
        ------
        SelectionError
            If there is none with this number.
        """
        for found in self._jobs(jobs.c.id == number):
            return found
        raise SelectionError(
            str(number), f"There is no transfer job {number}.", "`dataset-dl pacs jobs list` lists them."
        )

    def _jobs(self, *conditions: Any) -> list[TransferJob]:
        with self.reading() as connection:
            rows = connection.execute(select(jobs).where(*conditions).order_by(jobs.c.id.desc())).all()
            counts: dict[int, dict[str, int]] = {}
            counted = select(tasks.c.job, tasks.c.state, func.count()).group_by(tasks.c.job, tasks.c.state)
            if conditions:
                counted = counted.where(tasks.c.job.in_([row.id for row in rows]))
            for job, state, count in connection.execute(counted):
                counts.setdefault(job, {})[state] = count
        return [
            TransferJob(
                row.id, row.kind, row.name, row.owner, row.options, row.state, row.message, row.priority,
                row.hours, row.verified_by,
                {state: counts[row.id][state] for state in STATES if state in counts.get(row.id, {})},
                row.created, row.began, row.ended, row.change,
            )
            for row in rows
        ]  # fmt: skip

    def tasks(
        self, job: int, *, state: str = "", after: int = 0, since: int = -1, limit: int = 100
    ) -> list[TransferTask]:
        """Return tasks of a job in their order.

        Parameters
        ----------
        job
            Its number.
        state
            Only those in this state.
        after
            Only those with a larger number: the next page.
        since
            Only those that changed after this change.
        limit
            At most so many.
        """
        asked = select(tasks).where(tasks.c.job == job, tasks.c.id > after)
        if state:
            asked = asked.where(tasks.c.state == state)
        if since >= 0:
            asked = asked.where(tasks.c.change > since)
        with self.reading() as connection:
            return [task_of(row) for row in connection.execute(asked.order_by(tasks.c.id).limit(limit))]

    def task(self, number: int) -> TransferTask:
        """Return a task.

        Raises
        ------
        SelectionError
            If there is none with this number.
        """
        with self.reading() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == number)).first()
        if row is None:
            raise SelectionError(str(number), f"There is no transfer task {number}.")
        return task_of(row)

    def instances(self, task: int, *, after: str = "", limit: int = 1000) -> list[dict[str, Any]]:
        """Return what the target answered for the instances of a task, by SOPInstanceUID."""
        names = ("SOPInstanceUID", "SeriesInstanceUID", "target", "status", "words", "size_bytes", "at")
        asked = (
            select(*(instances.c[name] for name in names))
            .where(instances.c.task == task, instances.c.SOPInstanceUID > after)
            .order_by(instances.c.SOPInstanceUID)
            .limit(limit)
        )
        with self.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(asked)]

    def ends_of(self, job: int) -> set[tuple[str, str]]:
        """Return where tasks of a job come from and go to."""
        asked = select(tasks.c.source, tasks.c.target).where(tasks.c.job == job).distinct()
        with self.reading() as connection:
            return {(source, target) for source, target in connection.execute(asked)}

    def nodes_of(self, job: int) -> set[str]:
        """Return the nodes of a job."""
        return {each for pair in self.ends_of(job) for each in pair}

    def log(self, person: str, verb: str, subject: str, detail: str = "") -> None:
        """Record what somebody did."""
        with self.writing() as connection:
            connection.execute(
                insert(audit).values(at=time.time(), person=person, verb=verb, subject=subject, detail=detail)
            )

    def logged(self, limit: int = 1000) -> list[Record]:
        """Return what was done, the latest first."""
        columns = (audit.c.at, audit.c.person, audit.c.verb, audit.c.subject, audit.c.detail)
        with self.reading() as connection:
            rows = connection.execute(select(*columns).order_by(audit.c.id.desc()).limit(limit)).all()
        return [Record(*row) for row in rows]


def task_of(row: Any) -> TransferTask:
    """Return a row of the table as a task."""
    values = dict(row._mapping)
    del values["lease"], values["not_before"]
    values["SeriesInstanceUIDs"] = tuple(values["SeriesInstanceUIDs"])
    return TransferTask(**values)


def unusable(error: SQLAlchemyError) -> DatasetDlError:
    """Return the error for a database that cannot be used; without its address, which may have a password."""
    reason = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
    return StorageError(
        "queue",
        f"The database of the transfers cannot be used: {reason}.",
        "What was transferred stays; when it is reachable and has room, the workers go on.",
    )
