"""What people do with transfer jobs: verify, start, pause, resume, cancel, retry, restart, delete."""

from __future__ import annotations

import os
import time
from typing import Any

from sqlalchemy import delete, select, update

from dataset_dl.errors import SelectionError
from dataset_dl.model.job import JobState
from dataset_dl.pacs.transfers.nouns import ENDED, TransferJob
from dataset_dl.pacs.transfers.store import Change, Store
from dataset_dl.pacs.transfers.tables import instances, jobs, tasks
from dataset_dl.pacs.transfers.working import settle_job

ACTIONS = ("verify", "start", "pause", "resume", "cancel", "retry", "restart", "delete")
_MUST_VERIFY = "DATASET_DL_MUST_VERIFY"
_LIST = "`dataset-dl pacs jobs list` lists them."
_CALLING = ("start", "resume", "retry", "restart")
_AT_REST: tuple[JobState, ...] = ("PAUSED", "SUCCESS", "WARNING", "FAILURE", "CANCELED")


class Steering:
    """Changes jobs for a person, and records who did what.

    Parameters
    ----------
    store
        The jobs.
    person
        Who does it.
    """

    def __init__(self, store: Store, person: str) -> None:
        self._store = store
        self._person = person
        # Of the site: then somebody has to verify a job before it starts.
        self._must_verify = bool(os.environ.get(_MUST_VERIFY))

    def act(self, number: int, action: str) -> TransferJob | None:
        """Do one of `ACTIONS` with a job; return it as it is now, None if it was deleted.

        Raises
        ------
        SelectionError
            If there is no such action, or the job is in no state for it.
        """
        if action not in ACTIONS:
            raise SelectionError(action, f"There is no action “{action}”; there are {', '.join(ACTIONS)}.")
        with self._store.changing() as change:
            row = change.connection.execute(select(jobs).where(jobs.c.id == number)).first()
            if row is None:
                raise SelectionError(str(number), f"There is no transfer job {number}.", _LIST)
            getattr(self, f"_{action}")(change, row)
        self._store.log(self._person, action, f"job {number}")
        if self._store.is_shared and action in _CALLING:
            self._call(number)
        return None if action == "delete" else self._store.job(number)

    def prioritise(self, number: int, priority: int) -> TransferJob:
        """Give a job another priority; a higher one comes first."""
        with self._store.changing() as change:
            _set(change, number, priority=priority)
        self._store.log(self._person, "prioritise", f"job {number}", str(priority))
        return self._store.job(number)

    def _call(self, number: int) -> None:
        """Call workers for a job that waits."""
        from dataset_dl.pacs.transfers.postgres import Caller

        job = self._store.job(number)
        Caller(self._store).call(job.counts.get("PENDING", 0), job.priority)

    def _verify(self, change: Change, row: Any) -> None:
        _require(row, "verified", *_AT_REST, "PENDING")
        _set(change, row.id, verified_by=self._person)

    def _start(self, change: Change, row: Any) -> None:
        _require(row, "started", "PAUSED")
        self._require_verified(row)
        _tasks(change, row.id, ("PAUSED",), "PENDING")
        _set(change, row.id, state="PENDING", message="", ended=None)
        # Its last task may have ended while it was paused.
        settle_job(change, row.id)

    def _resume(self, change: Change, row: Any) -> None:
        _require(row, "resumed", "PAUSED")
        self._start(change, row)

    def _require_verified(self, row: Any) -> None:
        if self._must_verify and not row.verified_by:
            raise SelectionError(
                str(row.id),
                f"Transfer job {row.id} was not verified, so it was not started.",
                "Somebody with the right to verify has to look at it first.",
            )

    def _pause(self, change: Change, row: Any) -> None:
        _require(row, "paused", "PENDING", "IN_PROGRESS")
        _tasks(change, row.id, ("PENDING",), "PAUSED")
        self._end(change, row, "PAUSED")

    def _cancel(self, change: Change, row: Any) -> None:
        _require(row, "canceled", "PENDING", "IN_PROGRESS", "PAUSED")
        _tasks(change, row.id, ("PENDING", "PAUSED"), "CANCELED")
        self._end(change, row, "CANCELED")

    def _end(self, change: Change, row: Any, state: JobState) -> None:
        """End a job: at once if none of its tasks runs, else when they have stopped."""
        if row.state == "IN_PROGRESS":
            _set(change, row.id, wanted=state)
            settle_job(change, row.id)
        else:
            _set(change, row.id, state=state, ended=time.time() if state == "CANCELED" else None)

    def _retry(self, change: Change, row: Any) -> None:
        _require(row, "tried again", "WARNING", "FAILURE", "CANCELED")
        self._require_verified(row)
        _tasks(change, row.id, ("WARNING", "FAILURE", "CANCELED"), "PENDING")
        _set(change, row.id, state="PENDING", message="", ended=None)
        settle_job(change, row.id)

    def _restart(self, change: Change, row: Any) -> None:
        _require(row, "restarted", *ENDED)
        self._require_verified(row)
        of_job = select(tasks.c.id).where(tasks.c.job == row.id)
        change.connection.execute(delete(instances).where(instances.c.task.in_(of_job)))
        change.connection.execute(
            update(tasks)
            .where(tasks.c.job == row.id)
            .values(
                state="PENDING", message="", attempts=0, done=0, failed=0, warnings=0, not_before=None,
                change=change.number,
            )
        )  # fmt: skip
        # Workers keep apart what they have of before and after.
        options = {**row.options, "restarts": row.options.get("restarts", 0) + 1}
        _set(change, row.id, state="PENDING", message="", began=None, ended=None, options=options)

    def _delete(self, change: Change, row: Any) -> None:
        _require(row, "deleted", *_AT_REST, "PENDING")
        of_job = select(tasks.c.id).where(tasks.c.job == row.id)
        change.connection.execute(delete(instances).where(instances.c.task.in_(of_job)))
        change.connection.execute(delete(tasks).where(tasks.c.job == row.id))
        change.connection.execute(delete(jobs).where(jobs.c.id == row.id))


def _require(row: Any, what: str, *states: JobState) -> None:
    if row.state not in states or row.wanted is not None:
        state = f"about to be {row.wanted}" if row.wanted else row.state
        raise SelectionError(
            str(row.id),
            f"Transfer job {row.id} is {state}, so it cannot be {what}.",
            f"That is possible from {', '.join(states)}.",
        )


def _set(change: Change, number: int, **values: Any) -> None:
    done = change.connection.execute(
        update(jobs).where(jobs.c.id == number).values(**values, change=change.number)
    )
    if not done.rowcount:
        raise SelectionError(str(number), f"There is no transfer job {number}.", _LIST)


def _tasks(change: Change, job: int, states: tuple[JobState, ...], state: JobState) -> None:
    change.connection.execute(
        update(tasks)
        .where(tasks.c.job == job, tasks.c.state.in_(states))
        .values(state=state, message="", not_before=None, change=change.number)
    )
