"""The nouns: what is asked for, where it goes, what happened. All are frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dataset_dl.model.plan import _ROWS_SHOWN, Plan
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
        if len(notes) > _ROWS_SHOWN:
            notes[_ROWS_SHOWN:] = [f"and {len(notes) - _ROWS_SHOWN:,} more"]
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


Problem = Literal["missing", "extra", "short", "long", "zeros", "unreadable", "foreign", "altered"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A directory of a tree, or a file in it, that is not what it should be.

    Attributes
    ----------
    directory
        Relative to the tree.
    problem
        ``missing`` or ``extra`` (files), ``short`` or ``long`` (bytes); of a file whose header was read also
        ``zeros`` (nothing but zero bytes where its header should be), ``unreadable`` (no DICOM) and
        ``foreign`` (another series than the plan has there); of one whose checksum was compared ``altered``.
    file
        Its name; empty where the count or the bytes of the directory as a whole are meant.
    expected_instances, expected_bytes, present_instances, present_bytes
        What should be there and what is.
    detail
        What else there is to say.
    """

    directory: str
    problem: Problem
    file: str
    expected_instances: int
    expected_bytes: int
    present_instances: int
    present_bytes: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """A tree held against its plan, or against the index.

    Attributes
    ----------
    root
        The tree.
    series_count, complete_series, size_bytes
        Series expected, series in whose directories nothing deviates, bytes expected.
    deviations
        One for each directory, or file, that is wrong.
    unchecked
        Files whose checksums the store does not give in a form that can be compared, and directories of
        series that it did not answer for; relative to the tree.
    plan
        What the tree was held against.
    """

    root: Path
    series_count: int
    complete_series: int
    size_bytes: int
    deviations: tuple[Deviation, ...]
    unchecked: tuple[str, ...] = ()
    plan: Plan | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether every series is complete and nothing is left over."""
        return not self.deviations

    def _repr_html_(self) -> str:
        """The outcome as a notebook shows it."""
        complete = f"{self.complete_series:,} of {self.series_count:,} series are complete"
        rows = [
            (each.problem, each.detail, f"{each.directory}/{each.file}")
            for each in self.deviations[:_ROWS_SHOWN]
        ]
        rest = len(self.deviations) - _ROWS_SHOWN
        notes = [f"and {rest:,} more"] if rest > 0 else []
        return html_table(
            f"{self.root}: {complete}, {size(self.size_bytes)}", ("problem", "detail", "in"), rows, notes
        )

    def to_dict(self) -> dict[str, Any]:
        """The outcome as plain values, ready for JSON."""
        return {
            "ok": self.ok,
            "root": utf8(self.root),
            "series_count": self.series_count,
            "complete_series": self.complete_series,
            "size_bytes": self.size_bytes,
            "deviations": [asdict(deviation) for deviation in self.deviations],
            "unchecked": list(self.unchecked),
        }


class Change(NamedTuple):
    """A series that is another in today's index than in a tree that was downloaded.

    Attributes
    ----------
    change
        ``added`` (the tree lacks it), ``revised`` (there is a newer version), ``withdrawn`` (the index no
        longer has it), ``files revised`` (there is a newer version of a series of which only files were
        asked for).
    collection_id, PatientID, SeriesInstanceUID, Modality
        As the index has them.
    directory
        Where it is, or would be, relative to the tree.
    crdc_series_uuid, earlier_crdc_series_uuid
        Today's content, None if it was withdrawn; and the one that the tree has, None if it has none.
    instanceCount, size_bytes
        Of today's content, or of what was withdrawn.
    """

    change: Literal["added", "revised", "withdrawn", "files revised"]
    collection_id: str | None
    PatientID: str | None
    SeriesInstanceUID: str | None
    Modality: str | None
    directory: str
    crdc_series_uuid: str | None
    earlier_crdc_series_uuid: str | None
    instanceCount: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A tree that was downloaded, held against today's index.

    Attributes
    ----------
    root
        The tree.
    series_count
        What was asked for in it.
    downloaded_version, idc_version
        The newest IDC version that it was planned from, and that of the index here.
    changes
        By kind, collection and directory.
    knows_request
        Whether it is known what the tree was planned from: otherwise nobody can say what was added.
    plan
        What brings it up to date.
    """

    root: Path
    series_count: int
    downloaded_version: int | None
    idc_version: int
    changes: tuple[Change, ...]
    knows_request: bool
    plan: Plan = field(repr=False, compare=False)

    @property
    def is_current(self) -> bool:
        """Whether there is nothing newer, added or withdrawn."""
        return not self.changes

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain values, ready for JSON."""
        return {
            "root": utf8(self.root),
            "is_current": self.is_current,
            "series_count": self.series_count,
            "downloaded_version": self.downloaded_version,
            "idc_version": self.idc_version,
            "knows_request": self.knows_request,
            "changes": [change._asdict() for change in self.changes],
        }


def utf8(path: Path) -> str:
    """A path as a text that JSON takes; bytes that are no UTF-8 as their escapes."""
    return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
