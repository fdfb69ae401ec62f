"""What is in a destination already: the disk first, the journal where the disk cannot tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_dl.journal import Journal
from dataset_dl.model import Plan, PlannedSeries
from dataset_dl.transfer.ledger import State
from dataset_dl.verification import Found, agrees, look, look_at

_NOTHING = Found(0, 0, [])


class Seen(NamedTuple):
    """A series of the plan as it is on disk; `trusted` if the journal was believed without a look."""

    series: PlannedSeries
    state: State
    found: Found
    trusted: bool = False


def survey(
    plan: Plan, destination: Path, journal: Journal | None, *, shared: bool, trust: bool, md5: bool
) -> Iterator[Seen]:
    """Look at every series of a plan, in its order.

    Parameters
    ----------
    plan, destination
        What, and where.
    journal
        What is known of the destination; None if nothing is.
    shared
        Whether series share directories.
    trust
        Believe the journal for what it has as complete.
    md5
        A series whose checksums were not compared counts as half there.
    """
    if not os.path.isdir(destination):
        yield from (Seen(row, State.ABSENT, _NOTHING) for row in plan)
        return
    together = _together(plan, destination, journal) if shared else {}
    for row in plan:
        if trust and journal is not None and journal.holds(row, md5=md5):
            yield Seen(row, State.COMPLETE, _NOTHING, trusted=True)
            continue
        if not shared:
            found = look(f"{destination}/{row.directory}")
            complete, anything = agrees(found, row), found.instances > 0
        else:
            found = _named(row, destination, journal)
            whole = together[row.directory]
            complete, anything = agrees(found, row) or whole is State.COMPLETE, whole is not State.ABSENT
        if complete and md5 and not (journal is not None and journal.holds(row, md5=True)):
            complete = False
        state = State.COMPLETE if complete else State.PARTIAL if anything else State.ABSENT
        yield Seen(row, state, found)


def _named(row: PlannedSeries, destination: Path, journal: Journal | None) -> Found:
    names = journal.names(row) if journal is not None else None
    return look_at(f"{destination}/{row.directory}", names) if names else _NOTHING


def _together(plan: Plan, destination: Path, journal: Journal | None) -> dict[str, State]:
    """What can be said of all series of a directory that the journal does not know the files of.

    Which file is whose cannot be told from the names; but where all files there are just those that the
    journal knows and those that are still to come, or just those that it knows, no doubt is left.
    """
    rest: dict[str, list[int]] = {}
    for row in plan:
        expected = rest.setdefault(row.directory, [0, 0])
        if not agrees(_named(row, destination, journal), row):
            expected[0] += row.instanceCount
            expected[1] += row.size_bytes
    states = {}
    for directory, (instances, size_bytes) in rest.items():
        found = look(f"{destination}/{directory}")
        known = journal.total(directory) if journal is not None else (0, 0)
        if found[:2] == (known[0] + instances, known[1] + size_bytes):
            states[directory] = State.COMPLETE
        else:
            states[directory] = State.ABSENT if found[:2] == known else State.PARTIAL
    return states
