"""How far each series of a plan is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries, Size

# So many rows are kept rather than looked for again among all those of a plan.
_KEPT_ROWS = 4_000


class State(IntEnum):
    """Of a series: nothing is there, something is there, all is there and checked, given up."""

    ABSENT = 0
    PARTIAL = 1
    COMPLETE = 2
    FAILED = 3


class Undone(NamedTuple):
    """A series to be fetched: the number of its row in the plan from 0, and its state when it was listed."""

    row: int
    series: PlannedSeries
    state: State


class Ledger:
    """The state of each series of a plan: one byte a series, for a plan may hold a million.

    Attributes
    ----------
    sizes
        By key, files and bytes that have become known while fetching.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._states = bytearray(plan.series_count)
        self.sizes: dict[str, Size] = {}

    def set(self, row: int, state: State) -> None:
        """Note how far a series is."""
        self._states[row] = state

    def count(self, *states: State) -> int:
        """How many series are in one of some states."""
        return sum(self._states.count(state) for state in states)

    def undone(self, scheme: str | None = None) -> Iterable[Undone]:
        """What is to be fetched as things stand now, what is half there first. It may be read twice.

        Parameters
        ----------
        scheme
            Only series with such an address.
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
