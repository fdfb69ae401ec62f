"""What a download amounts to: how far it is, what failed and why, what is on disk."""

from __future__ import annotations

from dataclasses import dataclass
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
    "extra_files",
    "excess",
    "disk",
    "name_too_long",
    "unknown",
]
# What another try may mend.
PASSING_CAUSES: frozenset[Cause] = frozenset({"server_error", "network", "truncated", "altered", "unknown"})


@dataclass(frozen=True, slots=True)
class SeriesFailure:
    """A series that is not complete, and why.

    Attributes
    ----------
    planned
        Its row of the plan.
    cause
        One word a program can act on.
    message
        What s5cmd or the check of the disk said.
    present_instances, present_bytes
        How much of it is on disk.
    """

    planned: PlannedSeries
    cause: Cause
    message: str
    present_instances: int
    present_bytes: int

    @property
    def may_pass(self) -> bool:
        """Whether trying again can help."""
        return self.cause in PASSING_CAUSES


@dataclass(frozen=True, slots=True)
class Report:
    """What a download left on disk.

    Attributes
    ----------
    destination
        Absolute path that the series are below.
    series_count, instance_count, size_bytes
        What was asked for.
    complete_series, complete_instances, complete_bytes
        What is on disk and verified, whether fetched now or found there.
    fetched_series, fetched_bytes
        The complete series of which something was fetched now, and all bytes of files fetched now.
    failures
        The series that were tried and are not complete.
    elapsed_seconds
        Wall time of the download.
    trusted_series
        The part of the complete series that the journal was believed for, without a look at the disk.
    stopped
        Why the download was ended before every series was tried; empty otherwise.
    missing
        What was asked for besides and IDC does not have, unless that was to be skipped.
    run_id
        The run, as its events, its log records and the journal name it.
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

    @property
    def untried_series(self) -> int:
        """Series that were not tried, because the download was ended early."""
        return self.series_count - self.complete_series - len(self.failures)

    @property
    def ok(self) -> bool:
        """Whether all that was asked for is on disk and verified."""
        return not self.failures and not self.missing and self.complete_series == self.series_count

    def _repr_html_(self) -> str:
        """The report as a notebook shows it."""
        title = "all on disk and verified" if self.ok else "not everything is on disk; the same call resumes"
        rows = [
            ("asked for", self.series_count, self.instance_count, size(self.size_bytes)),
            ("complete", self.complete_series, self.complete_instances, size(self.complete_bytes)),
            ("fetched now", self.fetched_series, None, size(self.fetched_bytes)),
            ("failed", len(self.failures), None, None),
        ]
        if self.missing:
            rows.append(("not in IDC", len(self.missing), None, None))
        notes = [f"{each.planned.SeriesInstanceUID}: {each.cause}, {each.message}" for each in self.failures]
        if len(notes) > ROWS_SHOWN:
            notes[ROWS_SHOWN:] = [f"and {len(notes) - ROWS_SHOWN:,} more"]
        return html_table(f"{self.destination}: {title}", ("", "series", "files", "size"), rows, notes)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
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
            "trusted_series": self.trusted_series,
            "untried_series": self.untried_series,
            "stopped": self.stopped,
            "missing": list(self.missing),
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
    """How far a download is. Sizes are in bytes, times in seconds, speed in 10⁶ bytes a second.

    Attributes
    ----------
    total_files, completed_files, failed_files
        Instances; what was on disk before counts as completed.
    total_series, completed_series, failed_series
        Series.
    total_bytes, completed_bytes
        Bytes, those written of files not yet complete included.
    current_file
        The file completed last, relative to the destination; empty before the first.
    throughput_mbps
        Megabytes a second over the last few seconds.
    seconds_left
        Estimate; None while there is nothing to go by.
    elapsed_seconds
        Since the start.
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
    """A path as a text that JSON takes; bytes that are no UTF-8 as their escapes."""
    return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
