"""The process that downloads for the loaders of a node, in their order, and removes what they have used.

`dataset.SeriesDataset` starts it. Its first line says what to do; when its standard input ends, its parent is
gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dataset_dl.destination import disk
from dataset_dl.destination.tree import instance_paths, remove
from dataset_dl.errors import DatasetDlError, StorageError
from dataset_dl.model.events import Event, SeriesFailed, Waiting
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Series
from dataset_dl.plans.file import PlanFile
from dataset_dl.process.python import end_on_signal, end_with_input
from dataset_dl.training.epoch import Epoch
from dataset_dl.transfer.crew import Loop
from dataset_dl.transfer.handing import Hand

_LOOK_SECONDS, _IDLE_SECONDS, _STUCK_SECONDS = 0.02, 0.1, 5.0
_OTHER_ORDER = (
    "the loader does not ask in the order of the epoch, and the disk is full of series that come first; leave"
    " shuffle=False, the data set shuffles itself"
)


class Feeder:
    """Feeds the loaders of an epoch.

    Parameters
    ----------
    epoch
        What it shares with them.
    destination
        Where series are downloaded to.
    rows
        The numbers of the rows to feed, in order.
    disk_budget
        The most bytes on the disk; None for no bound.
    options
        Options of `download`.
    """

    def __init__(
        self,
        epoch: Epoch,
        destination: Path,
        rows: list[int],
        disk_budget: int | None,
        options: dict[str, Any],
    ) -> None:
        self._epoch = epoch
        self._destination = destination
        self._rows = rows
        self._budget = disk_budget
        self._options = options
        self._note = epoch.directory.parent / "own.txt"
        known = self._note.read_text(encoding="utf-8").split() if self._note.exists() else ()
        self._own = set(known)
        self._numbers: dict[str, int] = {}
        self._lent: dict[int, Series] = {}
        self._looked = self._moved = 0.0
        self._runs = 0

    def run(self) -> None:
        """Feed all rows, then those that are needed again, until the parent ends."""
        every = list(enumerate(_plan_of(self._epoch.plan_path)))
        by_number = dict(every)
        self._numbers = {row.key: number for number, row in every}
        self._feed([by_number[number] for number in self._rows])
        while True:
            again = sorted(self._epoch.marked("again"))
            for number in again:
                # In this order: a loader asks again as long as the sample is marked as used.
                for kind in ("ready", "used", "again"):
                    self._epoch.unmark(kind, number)
            if again:
                self._feed([by_number[number] for number in again])
            time.sleep(_IDLE_SECONDS)

    def _feed(self, series: Iterable[Any]) -> None:
        from dataset_dl.verbs.download import transferred

        plan = PlanFile.of(series).plan(self._destination)
        if not plan.series_count:
            return
        bound = self._bound(plan)
        self._runs += 1
        # Receipts of an earlier run do not count: what was read may not have been trained on.
        loop = Loop(f"training-{os.getpid()}-{self._runs}")
        options = {**self._options, "then": (Hand(loop, loop),), **bound}
        try:
            if bound:
                self._note_own(plan)
                self._make_room(plan)
            for event in transferred(plan, disk.absolute(self._destination), options):  # type: ignore[arg-type]
                self._pass_on(event, loop)
        except DatasetDlError as error:
            for number in (self._numbers[row.key] for row in plan):
                if not self._epoch.is_marked("ready", number):
                    self._epoch.fail(number, str(error))

    def _bound(self, plan: Plan) -> dict[str, Any]:
        """Evict only if not everything fits."""
        if self._budget is None or plan.size_bytes <= self._budget:
            return {}
        return {"evict": True, "disk_budget": self._budget}

    def _make_room(self, plan: Plan) -> None:
        """Remove what an earlier run has left of later series: it would hold the room of the next ones."""
        assert self._budget is not None
        room = self._budget
        for row in plan:
            room -= row.expected_bytes
            directory = self._destination / row.directory
            if room < 0 and directory.is_dir():
                if row.key not in self._own:
                    raise StorageError(
                        str(self._destination),
                        f"{self._destination} has series of another download, which fill the disk budget and"
                        " would have to be removed.",
                        "Choose another directory, or leave the budget out.",
                    )
                remove(Series(row, directory, instance_paths(directory)), self._destination)

    def _pass_on(self, event: Event, loop: Loop) -> None:
        if isinstance(event, SeriesFailed):
            failure = event.failure
            self._epoch.fail(self._numbers[failure.planned.key], f"{failure.cause}: {failure.message}")
        while loop.waiting:
            series = loop.waiting.popleft()
            number = self._numbers[series.planned.key]
            self._lent[number] = series
            self._epoch.publish(number, series)
            self._moved = time.monotonic()
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        for number in [each for each in self._lent if self._epoch.is_marked("used", each)]:
            self._moved = now
            for kind in ("ready", "reading"):
                self._epoch.unmark(kind, number)
            loop.finished(self._lent.pop(number))
        if isinstance(event, Waiting) and now - self._moved > _STUCK_SECONDS:
            self._refuse_another_order()

    def _refuse_another_order(self) -> None:
        """Fail what is waited for if the disk is full of series that nobody reads: no other will come."""
        if any(self._epoch.is_marked("reading", number) for number in self._lent):
            return
        for number in self._epoch.marked("wanted"):
            if number not in self._lent and not self._epoch.is_marked("used", number):
                self._epoch.fail(number, _OTHER_ORDER)

    def _note_own(self, plan: Plan) -> None:
        """Note which series are not there yet, so that none is removed that others have downloaded."""
        own = [
            row.key
            for row in plan
            if row.key not in self._own and not (self._destination / row.directory).is_dir()
        ]
        self._own.update(own)
        with self._note.open("a", encoding="utf-8") as file:
            file.write("".join(f"{key}\n" for key in own))


def _plan_of(path: Path) -> Plan:
    from dataset_dl.plans.opening import copy_of

    return copy_of(path).plan(None)


def main() -> None:
    """Carry out the orders on standard input."""
    end_on_signal()
    orders = json.loads(sys.stdin.buffer.readline())
    end_with_input()
    epoch = Epoch(Path(orders["epoch"]), orders["run"])
    feeder = Feeder(
        epoch, Path(orders["destination"]), orders["rows"], orders["disk_budget"], orders["options"]
    )
    try:
        feeder.run()
    except Exception as error:
        epoch.end(str(error) or type(error).__name__)
        raise


if __name__ == "__main__":
    main()
