"""How far each series of a plan is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries

# So many rows are kept rather than looked for again among all those of a plan.
_KEPT_ROWS = 4_000


class State(IntEnum):
    """Of a series: nothing is there, something is there, all is there and checked, given up."""

    ABSENT = 0
    PARTIAL = 1
    COMPLETE = 2
    FAILED = 3


class Line(NamedTuple):
    """A series, the number of its row in the plan from 0, and its state when it was asked for."""

    row: int
    series: PlannedSeries
    state: State


class Ledger:
    """The state of each series of a plan: one byte a series, for a plan may hold a million."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._states = bytearray(plan.series_count)

    def set(self, row: int, state: State) -> None:
        """Note how far a series is."""
        self._states[row] = state

    def count(self, *states: State) -> int:
        """How many series are in one of some states."""
        return sum(self._states.count(state) for state in states)

    def todo(self) -> Iterable[Line]:
        """What is to be fetched as things stand now: what is half there first. May be read twice."""
        view = _View(self._plan, bytes(self._states))
        return list(view) if self.count(State.ABSENT, State.PARTIAL) <= _KEPT_ROWS else view


class _View:
    def __init__(self, plan: Plan, states: bytes) -> None:
        self._plan = plan
        self._states = states

    def __iter__(self) -> Iterator[Line]:
        for state in (State.PARTIAL, State.ABSENT):
            if state in self._states:
                for row, series in enumerate(self._plan):
                    if self._states[row] == state:
                        yield Line(row, series, state)
