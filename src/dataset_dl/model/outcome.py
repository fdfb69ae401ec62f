"""The outcome of a download: progress, failures and their causes, and the files on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataset_dl.model.plan import ROWS_SHOWN
from dataset_dl.model.series import PlannedSeries
from dataset_dl.wording import html_table, size

Cause = Literal[
    "not_found",
    "access_denied",
    "server_error",
    "network",
    "truncated",
    "altered",
    "damaged",
    "extra_files",
    "excess",
    "disk",
    "name_too_long",
    "consumer",
    "unknown",
]
# Transient causes, worth retrying.
PASSING_CAUSES: frozenset[Cause] = frozenset({"server_error", "network", "truncated", "altered", "unknown"})


@dataclass(frozen=True, slots=True)
class SeriesFailure:
    """An incomplete series and the cause.

    Attributes
    ----------
    planned
        Its row of the plan.
    cause
        One word for programs to act on.
    message
        Message of the engine or of the check of the disk.
    present_instances, present_bytes
        Files and bytes of the series that are on disk.
    """

    planned: PlannedSeries
    cause: Cause
    message: str
    present_instances: int
    present_bytes: int

    @property
    def may_pass(self) -> bool:
        """Whether a retry can help."""
        return self.cause in PASSING_CAUSES


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """A series that a consumer did not take; the next run tries again.

    Attributes
    ----------
    consumer, key, SeriesInstanceUID
        Which consumer, and which series.
    cause
        One word for programs to act on: ``consumer``, ``network`` or ``unknown``.
    message
        What the consumer said.
    """

    consumer: str
    key: str
    SeriesInstanceUID: str | None
    cause: Cause
    message: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What consumers took.

    Attributes
    ----------
    consumers
        Their names.
    delivered, delivered_before
        How many receipts were written now, and were there before. Each consumer counts.
    failures
        What no consumer took.
    evicted_series, evicted_bytes
        Series that were removed after every consumer had taken them, now or by an earlier run.
    summaries
        What consumers say of this run, as sentences.
    """

    consumers: tuple[str, ...]
    delivered: int = 0
    delivered_before: int = 0
    failures: tuple[DeliveryFailure, ...] = ()
    evicted_series: int = 0
    evicted_bytes: int = 0
    summaries: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def joined(self, other: Delivery) -> Delivery:
        """Return the sums of two deliveries."""
        return Delivery(
            tuple(dict.fromkeys(self.consumers + other.consumers)),
            self.delivered + other.delivered,
            self.delivered_before + other.delivered_before,
            self.failures + other.failures,
            self.evicted_series + other.evicted_series,
            self.evicted_bytes + other.evicted_bytes,
            self.summaries + other.summaries,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the delivery as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Report:
    """What a download left on disk.

    Attributes
    ----------
    destination
        Absolute path of the directory that contains the series.
    series_count, instance_count, size_bytes
        Totals of the plan.
    complete_series, complete_instances, complete_bytes
        Totals that are verified, whether fetched now or already present; those that were evicted after their
        delivery included.
    fetched_series, fetched_bytes
        Complete series with at least one file fetched now, and the bytes of all files fetched now.
    bytes_by_store
        Of the bytes fetched now, how many came from which host.
    failures
        Series that were tried but are incomplete.
    elapsed_seconds
        Wall time of the download.
    trusted_series
        Number of complete series accepted from the journal without checking the disk.
    stopped
        Why the download stopped before it tried every series; empty otherwise.
    missing
        Requested identifiers that IDC does not have; empty if they are skipped.
    also_asked
        The other source that does not have them either; empty if none was asked.
    run_id
        Id of the run, also in its events, its log records and the journal.
    delivery
        What consumers took; None without a consumer.
    """

    destination: Path
    series_count: int
    instance_count: int
    size_bytes: int
    complete_series: int
    complete_instances: int
    complete_bytes: int
    fetched_series: int
    fetched_bytes: int
    failures: tuple[SeriesFailure, ...]
    elapsed_seconds: float
    trusted_series: int = 0
    stopped: str = ""
    missing: tuple[str, ...] = ()
    run_id: str = ""
    bytes_by_store: Mapping[str, int] = field(default_factory=dict)
    delivery: Delivery | None = None
    also_asked: str = ""

    @property
    def untried_series(self) -> int:
        """Number of series that were not tried because the download stopped early."""
        return self.series_count - self.complete_series - len(self.failures)

    @property
    def asked(self) -> str:
        """The archives that were asked, as part of a sentence."""
        return f"IDC or {self.also_asked}" if self.also_asked else "IDC"

    @property
    def ok(self) -> bool:
        """Whether everything requested is on disk and verified, and was delivered."""
        is_delivered = self.delivery is None or self.delivery.ok
        is_fetched = not self.failures and not self.missing and self.complete_series == self.series_count
        return is_fetched and is_delivered

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        title = "all on disk and verified" if self.ok else "incomplete; repeat the call to resume"
        rows = [
            ("asked for", self.series_count, self.instance_count, size(self.size_bytes)),
            ("complete", self.complete_series, self.complete_instances, size(self.complete_bytes)),
            ("fetched now", self.fetched_series, None, size(self.fetched_bytes)),
            ("failed", len(self.failures), None, None),
        ]
        if self.missing:
            rows.append((f"not in {self.asked}", len(self.missing), None, None))
        notes = [f"{each.planned.title}: {each.cause}, {each.message}" for each in self.failures]
        if len(notes) > ROWS_SHOWN:
            notes[ROWS_SHOWN:] = [f"and {len(notes) - ROWS_SHOWN:,} more"]
        return html_table(f"{self.destination}: {title}", ("", "series", "files", "size"), rows, notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "ok": self.ok,
            "run_id": self.run_id,
            "destination": utf8(self.destination),
            "series_count": self.series_count,
            "instance_count": self.instance_count,
            "size_bytes": self.size_bytes,
            "complete_series": self.complete_series,
            "complete_instances": self.complete_instances,
            "complete_bytes": self.complete_bytes,
            "fetched_series": self.fetched_series,
            "fetched_bytes": self.fetched_bytes,
            "bytes_by_store": dict(self.bytes_by_store),
            "trusted_series": self.trusted_series,
            "untried_series": self.untried_series,
            "stopped": self.stopped,
            "missing": list(self.missing),
            "delivery": None if self.delivery is None else self.delivery.to_dict(),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "failures": [
                {
                    "crdc_series_uuid": failure.planned.key,
                    "SeriesInstanceUID": failure.planned.SeriesInstanceUID,
                    "directory": failure.planned.directory,
                    "cause": failure.cause,
                    "message": failure.message,
                    "may_pass": failure.may_pass,
                    "instanceCount": failure.planned.instanceCount,
                    "present_instances": failure.present_instances,
                    "present_bytes": failure.present_bytes,
                }
                for failure in self.failures
            ],
        }


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """Progress of a download. Sizes are in bytes, times in seconds, speeds in 10⁶ bytes per second.

    Attributes
    ----------
    total_files, completed_files, failed_files
        Number of instances; those already on disk count as completed.
    total_series, completed_series, failed_series
        Number of series.
    total_bytes, completed_bytes
        Bytes, including those written to incomplete files.
    current_file
        The last completed file, relative to the destination; empty before the first.
    throughput_mbps
        Megabytes per second over the last few seconds.
    seconds_left
        Estimate; None while there is no basis for one.
    elapsed_seconds
        Time since the start.
    """

    total_files: int
    completed_files: int
    failed_files: int
    total_series: int
    completed_series: int
    failed_series: int
    total_bytes: int
    completed_bytes: int
    current_file: str
    throughput_mbps: float
    seconds_left: float | None
    elapsed_seconds: float


def utf8(path: Path) -> str:
    """Convert a path to text for JSON; escape bytes that are not valid UTF-8."""
    return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
