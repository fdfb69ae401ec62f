"""The answers for the instances of a task, in the database of the transfers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import delete, func, select

from dataset_dl.errors import StorageError
from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.ledger import Direction, Entry
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.tables import instances
from dataset_dl.pacs.transfers.working import Sums

_AT_ONCE = 500
# What was sent and is not recorded would be sent twice, so a database that restarts is waited for.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.25

_Result = TypeVar("_Result")


def _patiently(act: Callable[[], _Result]) -> _Result:
    """Try again for as long as a database may take to restart."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return act()
        except StorageError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


class TaskLedger:
    """The ledger of one task, in the place of `ledger.Ledger`: also another machine knows what was sent.

    Parameters
    ----------
    store
        Where it is.
    task
        The number of the task.
    """

    def __init__(self, store: Store, task: int) -> None:
        self._store = store
        self._task = task

    def record(self, entries: Iterable[Entry]) -> None:
        """Write entries, and commit; see `ledger.Ledger.record`."""
        rows = {
            each.SOPInstanceUID: {
                "task": self._task, "SOPInstanceUID": each.SOPInstanceUID,
                "SeriesInstanceUID": each.SeriesInstanceUID, "StudyInstanceUID": each.StudyInstanceUID,
                "target": each.address, "status": each.status, "words": each.words, "digest": each.digest,
                "size_bytes": each.size_bytes, "at": each.at,
            }
            for each in entries
            if each.direction == "sent"
        }  # fmt: skip
        if rows:
            _patiently(lambda: self._write(rows))

    def _write(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        with self._store.writing() as connection:
            same = (instances.c.task == self._task) & instances.c.SOPInstanceUID.in_(rows)
            connection.execute(delete(instances).where(same))
            connection.execute(instances.insert(), list(rows.values()))

    def find(self, direction: Direction, node: str, address: str, uids: Iterable[str]) -> dict[str, Entry]:
        """Return the entries of instances; see `ledger.Ledger.find`."""
        wanted = list(uids)
        return _patiently(lambda: self._find(node, address, wanted))

    def _find(self, node: str, address: str, wanted: Sequence[str]) -> dict[str, Entry]:
        found = {}
        with self._store.reading() as connection:
            for begin in range(0, len(wanted), _AT_ONCE):
                several = wanted[begin : begin + _AT_ONCE]
                asked = select(instances).where(
                    instances.c.task == self._task,
                    instances.c.target == address,
                    instances.c.SOPInstanceUID.in_(several),
                )
                for row in connection.execute(asked):
                    found[row.SOPInstanceUID] = Entry(
                        "sent", node, row.target, row.SOPInstanceUID, row.SeriesInstanceUID,
                        row.StudyInstanceUID, row.status, row.words, row.digest, row.size_bytes, row.at,
                    )  # fmt: skip
        return found

    def sums(self, expected: int) -> Sums:
        """Return what became of the instances so far."""
        return _patiently(lambda: self._sums(expected))

    def _sums(self, expected: int) -> Sums:
        asked = (
            select(instances.c.status, func.count())
            .where(instances.c.task == self._task)
            .group_by(instances.c.status)
        )
        done = failed = warned = 0
        with self._store.reading() as connection:
            for status, count in connection.execute(asked):
                answer = Answer(status)
                done += count * answer.is_stored
                failed += count * (not answer.is_stored)
                warned += count * answer.is_warning
        return Sums(expected, done, failed, warned)

    def close(self) -> None:
        """Do nothing: the store stays open."""
