"""The series that an engine is at: read along with it, so that only those are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl.destination.tree import Found, look, look_at
from dataset_dl.model.events import CommandFailed
from dataset_dl.model.outcome import Cause, SeriesFailure
from dataset_dl.model.series import PlannedSeries
from dataset_dl.transfer.ledger import Line
from dataset_dl.transfer.mender import Inspection

# s5cmd works through its lines nearly in order; a series much further on was never planned.
_LOOK_AHEAD_SERIES = 100_000
_REMEMBERED_SERIES = 10_000


@dataclass(slots=True)
class Pending:
    """A series that is being fetched: what the engine has said of it.

    Attributes
    ----------
    row, series
        The row of the plan: its number and its content.
    awaited, told
        Files that the engine has still to tell, and those that it has told.
    names
        Its files so far, where they have to be known by name.
    inspection
        What was found of it before, if something was there.
    failure
        What the engine said last of its failing.
    """

    row: int
    series: PlannedSeries
    awaited: int
    names: list[str] | None
    inspection: Inspection | None
    failure: CommandFailed | None = None
    told: int = 0

    def tell(self, path: str) -> int:
        """Take a finished file into account; returns how many are still to be told."""
        self.told += 1
        if self.names is not None:
            self.names.append(path.rpartition("/")[2])
        self.awaited -= 1
        return self.awaited

    def look(self, destination: Path) -> Found:
        """What is on disk of it."""
        directory = f"{destination}/{self.series.directory}"
        return look(directory) if self.names is None else look_at(directory, set(self.names))

    def failed(self, found: Found) -> SeriesFailure:
        """Why it is not complete, by what was said of it and by what is on disk."""
        cause, message = self._reason(found)
        return SeriesFailure(self.series, cause, message, found.instances, found.size_bytes)

    def _reason(self, found: Found) -> tuple[Cause, str]:
        series = self.series
        if self.failure is not None:
            return self.failure.cause, self.failure.message
        if self.inspection is not None and self.inspection.problem is not None:
            return self.inspection.problem
        if self.inspection is not None and self.inspection.removed:
            return (
                "truncated",
                f"{self.inspection.removed:,} of its files were not as long as the store's, and were removed",
            )
        if found.instances > series.instanceCount:
            return (
                "extra_files",
                f"its directory holds {found.instances:,} files where the index says"
                f" {series.instanceCount:,}; remove what does not belong there",
            )
        if found.instances == series.instanceCount:
            return (
                "truncated",
                f"its files hold {found.size_bytes:,} bytes where the index says {series.size_bytes:,}",
            )
        return (
            "unknown",
            f"{found.instances:,} of {series.instanceCount:,} files are there, and s5cmd gave no reason",
        )


@dataclass(slots=True)
class Window:
    """The series in flight.

    Attributes
    ----------
    lines
        What the engine was asked for, in its order.
    inspection_of
        What was found of those that were half there.
    by_name
        Whether files have to be known by name.
    open, closed
        Series that something was told of, and some of those that are done with.
    asked, forgotten
        How many series have been read of what the engine was asked for; how many are closed and no longer
        known by name.
    """

    lines: Iterator[Line]
    inspection_of: Callable[[PlannedSeries], Inspection | None]
    by_name: bool
    open: dict[str, Pending] = field(default_factory=dict)
    closed: dict[str, PlannedSeries] = field(default_factory=dict)
    asked: int = 0
    forgotten: int = 0

    def find(self, uuid: str) -> Pending | None:
        """The series, if it is one that was asked for and is not closed."""
        if not uuid:  # a failure of s5cmd as a whole
            return None
        pending = self.open.get(uuid)
        if pending is not None or uuid in self.closed:
            return pending
        for _ in range(_LOOK_AHEAD_SERIES):
            if (pending := self.read()) is None or pending.series.crdc_series_uuid == uuid:
                return pending
        return None

    def read(self) -> Pending | None:
        """The next series that was asked for."""
        line = next(self.lines, None)
        if line is None:
            return None
        self.asked += 1
        pending = self.open[line.series.crdc_series_uuid] = self._pending(line)
        return pending

    def close(self, pending: Pending) -> None:
        """Have done with a series."""
        uuid = pending.series.crdc_series_uuid
        del self.open[uuid]
        self.closed[uuid] = pending.series
        if len(self.closed) > _REMEMBERED_SERIES:
            del self.closed[next(iter(self.closed))]
            self.forgotten += 1

    def remaining(self) -> Iterator[Pending]:
        """What is left when the engine has ended; each is closed as it is taken."""
        while True:
            pending = next(iter(self.open.values()), None) or self.read()
            if pending is None:
                return
            del self.open[pending.series.crdc_series_uuid]
            yield pending

    def _pending(self, line: Line) -> Pending:
        series = line.series
        inspection = self.inspection_of(series)
        awaited = series.instanceCount if inspection is None else inspection.awaited
        names: list[str] | None = None
        if (wanted := series.wanted()) is not None:
            names = list(wanted)
        elif self.by_name:
            names = list(inspection.present) if inspection else []
        return Pending(line.row, series, awaited, names, inspection)
