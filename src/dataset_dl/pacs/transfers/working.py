"""What workers do with tasks: take one, say that they live, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import func, select, tuple_, update

from dataset_dl.model.job import JobState
from dataset_dl.pacs.transfers.nouns import TransferJob, TransferTask
from dataset_dl.pacs.transfers.store import Change, Store, task_of
from dataset_dl.pacs.transfers.tables import jobs, tasks
from dataset_dl.wording import counted

LEASE_SECONDS = 30.0
_GONE = "The worker that did it is gone; another one goes on."


class Sums(NamedTuple):
    """What became of the instances of a task."""

    instances: int = 0
    done: int = 0
    failed: int = 0
    warnings: int = 0


class Try(NamedTuple):
    """One try of a task: its number, and how often it was begun."""

    task: int
    attempts: int


class Work:
    """Tasks, as a worker sees them.

    Parameters
    ----------
    store
        The tasks.
    runner
        What this worker calls itself.
    lease_seconds
        How long it may be silent before another one takes over.
    """

    def __init__(self, store: Store, runner: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._runner = runner
        self._lease_seconds = lease_seconds

    def waiting(self) -> list[tuple[int, str]]:
        """Return the jobs with work to do, each with its hours."""
        asked = select(jobs.c.id, jobs.c.hours).where(
            jobs.c.state.in_(("PENDING", "IN_PROGRESS")), jobs.c.wanted.is_(None)
        )
        with self._store.reading() as connection:
            return [(number, hours) for number, hours in connection.execute(asked)]

    def claim(
        self, closed_jobs: Collection[int] = (), closed_nodes: Collection[str] = ()
    ) -> tuple[TransferTask, TransferJob] | None:
        """Take the next task; None if there is none.

        Parameters
        ----------
        closed_jobs, closed_nodes
            Jobs and nodes whose hours it is not.
        """
        if not self.waiting():
            return None
        with self._store.changing() as change:
            found = change.connection.execute(
                select(tasks.c.id, tasks.c.job, jobs.c.state)
                .join(jobs, jobs.c.id == tasks.c.job)
                .where(
                    tasks.c.state == "PENDING",
                    tasks.c.not_before.is_(None) | (tasks.c.not_before <= time.time()),
                    jobs.c.state.in_(("PENDING", "IN_PROGRESS")),
                    jobs.c.wanted.is_(None),
                    jobs.c.id.not_in(closed_jobs),
                    tasks.c.source.not_in(closed_nodes),
                    tasks.c.target.not_in(closed_nodes),
                )
                .order_by(jobs.c.priority.desc(), tasks.c.id)
                .limit(1)
            ).first()
            if found is None:
                return None
            now = time.time()
            row = change.connection.execute(
                update(tasks)
                .where(tasks.c.id == found.id)
                .values(
                    state="IN_PROGRESS", message="", runner=self._runner, lease=now + self._lease_seconds,
                    attempts=tasks.c.attempts + 1, began=now, ended=None, change=change.number,
                )
                .returning(*tasks.c)
            ).one()  # fmt: skip
            values: dict[str, Any] = {"state": "IN_PROGRESS", "change": change.number}
            if found.state == "PENDING":
                values["began"] = now
            change.connection.execute(update(jobs).where(jobs.c.id == found.job).values(**values))
        return task_of(row), self._store.job(found.job)

    def renew(self, running: Collection[Try]) -> set[Try]:
        """Say that this worker lives; return those of its tries that it should stop, or has lost."""
        if not running:
            return set()
        with self._store.writing() as connection:
            mine = tuple_(tasks.c.id, tasks.c.attempts).in_(running) & (tasks.c.runner == self._runner)
            is_running = mine & (tasks.c.state == "IN_PROGRESS")
            lease = time.time() + self._lease_seconds
            connection.execute(update(tasks).where(is_running).values(lease=lease))
            wanted = (
                select(tasks.c.id, tasks.c.attempts)
                .join(jobs, jobs.c.id == tasks.c.job)
                .where(is_running, jobs.c.wanted.is_(None))
            )
            return set(running) - {Try(*row) for row in connection.execute(wanted)}

    def note(self, task: TransferTask, sums: Sums, message: str = "") -> None:
        """Record how far a task is."""
        with self._store.changing() as change:
            change.connection.execute(
                update(tasks)
                .where(self._is_ours(task))
                .values(**sums._asdict(), message=message, change=change.number)
            )

    def end(
        self, task: TransferTask, state: JobState, message: str, sums: Sums, pause_seconds: float = 0.0
    ) -> bool:
        """Record how a task ended; PENDING if it was stopped, or is tried again after a pause.

        Returns
        -------
        bool
            False if somebody has begun it again.
        """
        with self._store.changing() as change:
            wanted = change.connection.execute(
                select(jobs.c.wanted).where(jobs.c.id == task.job)
            ).scalar_one_or_none()
            if state == "PENDING" and wanted is not None:
                state = wanted
            done = change.connection.execute(
                update(tasks)
                .where(self._is_ours(task), tasks.c.state == "IN_PROGRESS")
                .values(
                    **sums._asdict(), state=state, message=message, runner="", lease=None,
                    change=change.number, ended=time.time() if state != "PENDING" else None,
                    not_before=time.time() + pause_seconds if pause_seconds else None,
                )
            )  # fmt: skip
            settle_job(change, task.job)
        return bool(done.rowcount)

    def _is_ours(self, task: TransferTask) -> Any:
        """Return the condition that nobody has begun a task again: this worker may have done so itself."""
        return (
            (tasks.c.id == task.id) & (tasks.c.runner == self._runner) & (tasks.c.attempts == task.attempts)
        )

    def settle(self) -> int:
        """Put tasks of workers that are gone back; return how many there were."""
        gone = (tasks.c.state == "IN_PROGRESS") & (tasks.c.lease < time.time())
        with self._store.reading() as connection:
            if connection.execute(select(func.count()).select_from(tasks).where(gone)).scalar_one() == 0:
                return 0
        with self._store.changing() as change:
            rows = change.connection.execute(
                update(tasks)
                .where(gone)
                .values(state="PENDING", message=_GONE, runner="", lease=None, change=change.number)
                .returning(tasks.c.job)
            ).all()
            for job in {row.job for row in rows}:
                wanted = change.connection.execute(select(jobs.c.wanted).where(jobs.c.id == job)).scalar_one()
                if wanted is not None:
                    change.connection.execute(
                        update(tasks)
                        .where(tasks.c.job == job, tasks.c.state == "PENDING")
                        .values(state=wanted, change=change.number)
                    )
                settle_job(change, job)
        return len(rows)

    def known(self, several: Collection[int]) -> set[int]:
        """Return those of some tasks that are still there."""
        with self._store.reading() as connection:
            return set(connection.execute(select(tasks.c.id).where(tasks.c.id.in_(several))).scalars())


def pinned_key(store: Store, job: int, key: str) -> str:
    """Return what tells the key of a job's pseudonyms from others: that of the first worker."""
    with store.changing() as change:
        options = dict(change.connection.execute(select(jobs.c.options).where(jobs.c.id == job)).scalar_one())
        if "key" not in options:
            options["key"] = key
            change.connection.execute(update(jobs).where(jobs.c.id == job).values(options=options))
    return str(options["key"])


def settle_job(change: Change, number: int) -> None:
    """Give a job the state that follows from those of its tasks."""
    rows = change.connection.execute(
        select(tasks.c.state, func.count()).where(tasks.c.job == number).group_by(tasks.c.state)
    )
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    values: dict[str, Any] = {"change": change.number}
    wanted = change.connection.execute(select(jobs.c.wanted).where(jobs.c.id == number)).scalar_one_or_none()
    is_running = counts.get("IN_PROGRESS", 0) > 0
    if not is_running:
        values["wanted"] = None
        if counts.get("PENDING") or counts.get("PAUSED"):
            values["state"] = wanted or ("PENDING" if counts.get("PENDING") else "PAUSED")
        else:
            # Also one that was to stop, but had come to its end.
            values |= {"state": _state(counts), "message": _message(counts), "ended": time.time()}
    change.connection.execute(update(jobs).where(jobs.c.id == number).values(**values))


def _state(counts: dict[str, int]) -> JobState:
    kinds = set(counts)
    for state in ("SUCCESS", "FAILURE", "CANCELED"):
        if kinds == {state}:
            return state
    return "CANCELED" if "CANCELED" in kinds else "WARNING"


def _message(counts: dict[str, int]) -> str:
    done, total = counts.get("SUCCESS", 0), sum(counts.values())
    if done == total:
        return f"{counted(total, 'task')} done."
    others = ", ".join(
        f"{count:,} {words}"
        for state, words in (("WARNING", "in part"), ("FAILURE", "failed"), ("CANCELED", "canceled"))
        if (count := counts.get(state, 0))
    )
    return f"{done:,} of {counted(total, 'task')} done, {others}. A retry does the rest."
