"""The series in flight: the plan is read along with the engine, so only these are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl.destination.tree import Found, look, look_at
from dataset_dl.model.events import CommandFailed
from dataset_dl.model.outcome import Cause, SeriesFailure
from dataset_dl.model.series import PlannedSeries, Size
from dataset_dl.transfer.ledger import Undone
from dataset_dl.transfer.mender import Inspection

# An engine works nearly in the order of its fetches; a series not within this distance was never planned.
_LOOK_AHEAD_SERIES = 100_000
_REMEMBERED_SERIES = 10_000


@dataclass(slots=True)
class Pending:
    """A series that is being fetched, with what the engine has reported of it.

    Attributes
    ----------
    row, series
        The row of the plan: its number and its content.
    awaited, reported, proven
        How many files the engine has still to report (None if unknown), how many it has reported, and how
        many of these it has compared with the store's checksum.
    names
        Its files so far, if they have to be known by name; else None.
    inspection
        The inspection of it before fetching, if it was partial.
    failure
        The last failure of it that the engine reported.
    """

    row: int
    series: PlannedSeries
    awaited: int | None
    names: list[str] | None
    inspection: Inspection | None
    failure: CommandFailed | None = None
    reported: int = 0
    proven: int = 0

    def count_file(self, path: str, *, proven: bool) -> int | None:
        """Count a finished file; return how many are still to come, None if unknown."""
        self.reported += 1
        self.proven += proven
        if self.names is not None:
            self.names.append(path.rpartition("/")[2])
        if self.awaited is not None:
            self.awaited -= 1
        return self.awaited

    def pin(self, size: Size) -> None:
        """Set files and bytes that have become known."""
        self.series = self.series.sized(size)
        self.awaited = size.instanceCount - self.reported

    @property
    def is_proven(self) -> bool:
        """Whether all its files were compared with the store's checksums: when they came, or before."""
        is_rest_proven = self.inspection is None or self.inspection.proven
        return is_rest_proven and self.awaited == 0 and self.proven == self.reported

    def look(self, destination: Path) -> Found:
        """Return its files and bytes on disk."""
        directory = f"{destination}/{self.series.directory}"
        return look(directory) if self.names is None else look_at(directory, set(self.names))

    def failed(self, found: Found) -> SeriesFailure:
        """Return why it is not complete, by the engine's reports and what is on disk."""
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
                f"{self.inspection.removed:,} of its files differed from the store's and were removed",
            )
        if series.instanceCount is None or series.size_bytes is None:
            return (
                "unknown",
                f"{found.instances:,} files are there, but the engine did not say how many there should be",
            )
        if found.instances > series.instanceCount:
            return (
                "extra_files",
                f"its directory contains {found.instances:,} files, but the index says"
                f" {series.instanceCount:,}; remove what does not belong there",
            )
        if found.instances == series.instanceCount:
            return (
                "truncated",
                f"its files have {found.size_bytes:,} bytes, but the index says {series.size_bytes:,}",
            )
        return (
            "unknown",
            f"{found.instances:,} of {series.instanceCount:,} files are there, and the engine gave no reason",
        )


@dataclass(slots=True)
class Window:
    """The series in flight.

    Attributes
    ----------
    undone
        The series that the engine has to fetch, in its order.
    inspection_of
        Returns the inspection of a series that was partial, else None.
    by_name
        Whether files have to be known by name.
    open, closed
        Series that have been read and are not judged, and the latest of those that are complete.
    requested, forgotten
        How many series have been read of `undone`; how many were closed and are no longer in `closed`.
    """

    undone: Iterator[Undone]
    inspection_of: Callable[[PlannedSeries], Inspection | None]
    by_name: bool
    open: dict[str, Pending] = field(default_factory=dict)
    closed: dict[str, PlannedSeries] = field(default_factory=dict)
    requested: int = 0
    forgotten: int = 0

    def find(self, key: str) -> Pending | None:
        """Return the series, if it has to be fetched and is not closed."""
        if not key:  # a failure of the engine as a whole
            return None
        pending = self.open.get(key)
        if pending is not None or key in self.closed:
            return pending
        for _ in range(_LOOK_AHEAD_SERIES):
            if (pending := self.read()) is None or pending.series.key == key:
                return pending
        return None

    def read(self) -> Pending | None:
        """Read the next series to fetch; None at the end."""
        each = next(self.undone, None)
        if each is None:
            return None
        self.requested += 1
        pending = self.open[each.series.key] = self._pending(each)
        return pending

    def close(self, pending: Pending) -> None:
        """Move a series from `open` to `closed`."""
        key = pending.series.key
        del self.open[key]
        self.closed[key] = pending.series
        if len(self.closed) > _REMEMBERED_SERIES:
            del self.closed[next(iter(self.closed))]
            self.forgotten += 1

    def remaining(self) -> Iterator[Pending]:
        """Yield the series left when the engine has ended; remove each from `open`."""
        while True:
            pending = next(iter(self.open.values()), None) or self.read()
            if pending is None:
                return
            del self.open[pending.series.key]
            yield pending

    def _pending(self, each: Undone) -> Pending:
        series = each.series
        inspection = self.inspection_of(series)
        awaited = series.instanceCount if inspection is None else inspection.awaited
        names: list[str] | None = None
        if (wanted := series.wanted()) is not None:
            names = list(wanted)
        elif self.by_name:
            names = list(inspection.present) if inspection else []
        return Pending(each.row, series, awaited, names, inspection)
