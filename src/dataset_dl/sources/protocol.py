"""What a source offers: rows for what a person names, a check of rows from files, and credit for the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from dataset_dl.model.plan import Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.file import PlanFile


class Source(Protocol):
    """Where rows of a plan come from. It is registered for the scheme of its addresses.

    A source never trusts a file: a plan that somebody sent names addresses and keys, and `problems` refuses
    those that the source would not have given itself.
    """

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        """The series that an address names; an empty `directory` is filled in by the layout.

        Raises
        ------
        SelectionError
            If it names nothing.
        """

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        """The number, from 1, of each row of this scheme that is wrong, with the reason, in their order."""

    def rights(self, rows: PlanFile) -> Rights:
        """Licences and citations for the rows of this scheme."""
