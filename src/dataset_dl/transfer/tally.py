"""Sums of what a download has found, fetched and failed to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dataset_dl.model.events import FetchStarted, SeriesCompleted, SeriesFailed
from dataset_dl.model.outcome import Delivery, Report, SeriesFailure
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries
from dataset_dl.transfer.fleet import Fleet
from dataset_dl.transfer.ledger import State
from dataset_dl.transfer.survey import Seen


@dataclass(slots=True)
class _Totals:
    series: int = 0
    instances: int = 0
    size_bytes: int = 0

    def add(self, instances: int, size_bytes: int, series: int = 1) -> None:
        self.series += series
        self.instances += instances
        self.size_bytes += size_bytes


class Tally:
    """The sums of a download.

    Parameters
    ----------
    unlisted
        Series that cannot be fetched, each with the reason.

    Attributes
    ----------
    here, missing, present
        Complete series; incomplete series; and the files of the latter that are on disk.
    """

    def __init__(self, unlisted: Iterable[tuple[PlannedSeries, str]]) -> None:
        self.here, self.missing, self.present = _Totals(), _Totals(), _Totals()
        self.trusted = 0
        self.fetched_series = self.fetched_bytes = 0
        self.bytes_by_store: Mapping[str, int] = {}
        self.failures = [SeriesFailure(series, "not_found", why, 0, 0) for series, why in unlisted]
        self._unlisted = len(self.failures)

    def see(self, seen: Seen) -> None:
        """Count a series as found on disk."""
        series = seen.series
        if seen.state in (State.COMPLETE, State.USED):
            self.here.add(series.expected_instances, series.expected_bytes)
            self.trusted += seen.trusted
            return
        self.missing.add(series.expected_instances, series.expected_bytes)
        found = seen.found
        if series.is_exact:
            self.present.add(
                min(found.instances, series.expected_instances), min(found.size_bytes, series.expected_bytes)
            )
        else:
            self.present.add(found.instances, found.size_bytes)

    def reused(self, series: PlannedSeries) -> None:
        """Count a missing series that was copied from another destination."""
        self.here.add(series.expected_instances, series.expected_bytes)
        self.missing.add(-series.expected_instances, -series.expected_bytes, -1)
        self.present.add(0, 0, -1)

    def feed(self, event: SeriesCompleted | SeriesFailed) -> None:
        """Count a series that was fetched, or failed."""
        if isinstance(event, SeriesCompleted):
            self.here.add(event.series.expected_instances, event.series.expected_bytes)
            self.fetched_series += event.fetched
        else:
            self.failures.append(event.failure)

    @property
    def lacking_bytes(self) -> int:
        """Bytes still to fetch, as far as known; files on disk need no space twice."""
        return max(0, self.missing.size_bytes - self.present.size_bytes)

    @property
    def lacking_instances(self) -> int:
        """Number of files still to fetch, as far as known."""
        return max(0, self.missing.instances - self.present.instances)

    def fetch_started(self, fleet: Fleet) -> FetchStarted:
        """Return what is to be fetched, once all series have been seen."""
        missing, present = self.missing, self.present
        return FetchStarted(
            missing.series,
            missing.instances,
            missing.size_bytes,
            present.instances,
            present.size_bytes,
            fleet.workers,
            fleet.name,
        )

    def report(
        self,
        plan: Plan,
        destination: Path,
        run_id: str,
        elapsed_seconds: float,
        stopped: str,
        delivery: Delivery | None = None,
    ) -> Report:
        """Return the report; `plan` has the sizes that have become known."""
        here = self.here
        return Report(
            destination=destination,
            series_count=plan.series_count + self._unlisted,
            instance_count=plan.instance_count,
            size_bytes=plan.size_bytes,
            complete_series=here.series,
            complete_instances=here.instances,
            complete_bytes=here.size_bytes,
            fetched_series=self.fetched_series,
            fetched_bytes=self.fetched_bytes,
            bytes_by_store=dict(self.bytes_by_store),
            trusted_series=self.trusted,
            failures=tuple(self.failures),
            elapsed_seconds=elapsed_seconds,
            stopped=stopped,
            missing=() if plan.skip_missing else plan.missing,
            also_asked=plan.origin.also_asked,
            run_id=run_id,
            delivery=delivery,
        )
