"""The source protocol: rows for an address, a check of rows from files, and credit for the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from dataset_dl.model.plan import Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.file import PlanFile


class Source(Protocol):
    """Where rows of a plan come from; registered for the scheme of its addresses.

    A source never trusts a file: a plan from somebody else contains addresses and keys, and `problems`
    reports those that this source would not have returned.

    A source of series that IDC may lack has one more method: ``rest(identifiers, servers)`` returns the rows
    of those that it has. It asks those first of its own servers that the user's manifests name.
    """

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        """The series at an address; the layout fills in an empty `directory`.

        Raises
        ------
        SelectionError
            If the address names nothing.
        """

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        """The number (from 1) of each wrong row of this scheme, with the reason, in order."""

    def rights(self, rows: PlanFile) -> Rights:
        """Licences and citations for the rows of this scheme."""
