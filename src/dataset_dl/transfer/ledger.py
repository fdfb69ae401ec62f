"""The state of each series of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries, Size

# Up to this many rows are kept in memory instead of being read from the plan again.
_KEPT_ROWS = 4_000


class State(IntEnum):
    """State of a series: nothing on disk, something on disk, complete and checked, given up, used.

    Used is what every consumer has taken, so that it was removed.
    """

    ABSENT = 0
    PARTIAL = 1
    COMPLETE = 2
    FAILED = 3
    USED = 4


class Undone(NamedTuple):
    """A series to fetch: the number of its row in the plan, from 0, and its state when listed."""

    row: int
    series: PlannedSeries
    state: State


class Ledger:
    """The state of each series of a plan: one byte a series, as a plan may contain a million.

    Attributes
    ----------
    sizes
        Files and bytes that became known while fetching, by key.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._states = bytearray(plan.series_count)
        self.sizes: dict[str, Size] = {}

    def set(self, row: int, state: State) -> None:
        """Set the state of a series."""
        self._states[row] = state

    def count(self, *states: State) -> int:
        """Count the series that are in one of these states."""
        return sum(self._states.count(state) for state in states)

    def undone(self, scheme: str | None = None) -> Iterable[Undone]:
        """Return the series to fetch as of now, partial ones first. It can be iterated twice.

        Parameters
        ----------
        scheme
            Only series with addresses of this scheme.
        """
        view = _View(self._plan, bytes(self._states), self.sizes, scheme)
        return list(view) if self.count(State.ABSENT, State.PARTIAL) <= _KEPT_ROWS else view


class _View:
    def __init__(self, plan: Plan, states: bytes, sizes: Mapping[str, Size], scheme: str | None) -> None:
        self._plan = plan
        self._states = states
        self._sizes = sizes
        self._scheme = scheme

    def __iter__(self) -> Iterator[Undone]:
        for state in (State.PARTIAL, State.ABSENT):
            if state in self._states:
                for row, series in enumerate(self._plan):
                    if self._states[row] == state and self._scheme in (None, series.scheme):
                        size = self._sizes.get(series.key) if self._sizes else None
                        yield Undone(row, series.sized(size) if size else series, state)
