"""Find what is already in a destination: by the disk, and by the journal if the disk is ambiguous."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination.journal import Journal
from dataset_dl.destination.tree import NOTHING, Found, agrees, look, look_at
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries
from dataset_dl.transfer.ledger import State


class Seen(NamedTuple):
    """A series of the plan as found on disk.

    `trusted` if the journal was believed without a look at the disk; `names` are its files if known by name.
    """

    series: PlannedSeries
    state: State
    found: Found
    trusted: bool = False
    names: tuple[str, ...] | None = None


def survey(
    plan: Plan,
    destination: Path,
    journal: Journal | None,
    *,
    by_name: bool,
    trust: bool,
    doubtful: Callable[[PlannedSeries], bool],
    used: Callable[[PlannedSeries], bool] = lambda series: False,
) -> Iterator[Seen]:
    """Check every series of a plan, in its order.

    Parameters
    ----------
    plan, destination
        The plan, and where its series should be.
    journal
        The journal of the destination; None if there is none.
    by_name
        Whether files have to be known by name, because their directory does not identify their series.
    trust
        Believe the journal for series that it records as complete.
    doubtful
        Whether a series counts as partial even if count and bytes agree.
    used
        Whether a series was delivered and removed, so that it need not be there.
    """
    if not os.path.isdir(destination):
        yield from (Seen(row, State.ABSENT, NOTHING) for row in plan)
        return
    others = _Others(destination, journal)
    for row in plan:
        wanted = row.wanted()
        names = None if wanted is None else tuple(wanted)
        if by_name and names is None:
            kept = journal.names(row) if journal is not None else None
            names = tuple(kept) if kept else None
        if used(row):
            yield Seen(row, State.USED, NOTHING, False, names)
            continue
        if trust and journal is not None and journal.holds(row):
            yield Seen(row, State.COMPLETE, NOTHING, True, names)
            continue
        directory = f"{destination}/{row.directory}"
        found = look(directory) if names is None and not by_name else look_at(directory, names or ())
        if agrees(found, row) and not doubtful(row):
            yield Seen(row, State.COMPLETE, found, False, names)
        elif found.instances or (by_name and wanted is None and others.may_hold(row.directory)):
            yield Seen(row, State.PARTIAL, found)
        else:
            yield Seen(row, State.ABSENT, found)


class _Others:
    """Whether a directory contains files that are not known to belong to other series."""

    def __init__(self, destination: Path, journal: Journal | None) -> None:
        self._destination = destination
        self._journal = journal
        self._answers: dict[str, bool] = {}

    def may_hold(self, directory: str) -> bool:
        if directory not in self._answers:
            known = self._journal.instances(directory) if self._journal is not None else 0
            found = look(f"{self._destination}/{directory}").instances
            self._answers[directory] = found > 0 and found != known
        return self._answers[directory]
