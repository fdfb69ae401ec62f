"""Changes of jobs, for any number of windows: one look at the table serves all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import anyio
import anyio.to_thread

from dataset_dl.errors import StorageError
from dataset_dl.verbs.jobs.table import Table

_LOOK_SECONDS, _ALIVE_SECONDS = 0.25, 15.0
_MOST_STREAMS = 64

Told = tuple[int, Iterable[Mapping[str, Any]]]


class TooMany(Exception):
    """There are too many streams."""


class Changes:
    """Looks at the table of jobs while somebody reads.

    A reader that knows the number of the last change gets what is newer: whole jobs, not steps. So a job of
    millions of events costs a reader that comes late one row, and a slow reader misses nothing.

    Parameters
    ----------
    table
        The jobs.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._streams = 0
        self._last = -1
        self._changed: anyio.Event | None = None
        self._is_over = False

    async def watch(self) -> None:
        """Look for changes until `end`."""
        self._changed = anyio.Event()
        while not self._is_over:
            if self._streams:
                last = await anyio.to_thread.run_sync(self._look)
                if last != self._last:
                    self._last = last
                    self._tell()
            await anyio.sleep(_LOOK_SECONDS)

    def end(self) -> None:
        """End all streams."""
        self._is_over = True
        self._tell()

    def stream(self, last: int) -> AsyncIterator[Told | None]:
        """Return what changed after a change, and then each change; None as a sign of life.

        Raises
        ------
        TooMany
            If too many read already.
        """
        if self._streams >= _MOST_STREAMS:
            raise TooMany
        self._streams += 1
        return self._stream(last)

    async def _stream(self, last: int) -> AsyncIterator[Told | None]:
        is_first = True
        try:
            while not self._is_over:
                changed = self._changed
                newest, several = await anyio.to_thread.run_sync(self._since, last)
                if several or is_first or newest < last:
                    # A table that was begun anew counts from one again.
                    last, is_first = newest, False
                    yield newest, several
                with anyio.move_on_after(_ALIVE_SECONDS) as silence:
                    if changed is not None:
                        await changed.wait()
                if silence.cancelled_caught:
                    yield None
        finally:
            self._streams -= 1

    def _tell(self) -> None:
        if self._changed is not None:
            told, self._changed = self._changed, anyio.Event()
            told.set()

    def _look(self) -> int:
        try:
            return self._table.last()
        except StorageError:
            return self._last

    def _since(self, last: int) -> tuple[int, list[dict[str, Any]]]:
        try:
            newest, changed, removed = self._table.since(last)
            if newest < last:
                newest, changed, removed = self._table.since(0)
        except StorageError:
            return last, []
        several: list[dict[str, Any]] = [job.to_dict() for job in changed]
        return newest, [*several, *({"id": number, "is_removed": True} for number in removed)]
