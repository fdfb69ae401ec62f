"""The results of comparing a tree with its plan or with a newer index."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dataset_dl.model.outcome import utf8
from dataset_dl.model.plan import ROWS_SHOWN, Plan
from dataset_dl.wording import html_table, size

Problem = Literal["missing", "extra", "short", "long", "zeros", "unreadable", "foreign", "altered"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A directory of a tree, or a file in it, that differs from the plan or the index.

    Attributes
    ----------
    directory
        Relative to the tree.
    problem
        ``missing`` or ``extra`` (files), ``short`` or ``long`` (bytes). If the header of the file was read,
        also ``zeros`` (only zero bytes instead of a header), ``unreadable`` (not DICOM) and ``foreign`` (not
        the series that the plan has there). If its checksum was compared, also ``altered``.
    file
        Name of the file; empty if the count or the bytes of the whole directory are wrong.
    expected_instances, expected_bytes, present_instances, present_bytes
        Number of files and bytes that should be there, and that are there.
    detail
        Further details; may be empty.
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
    """The result of comparing a tree with its plan or with the index.

    Attributes
    ----------
    root
        The tree.
    series_count, complete_series, size_bytes
        Number of expected series, of series without deviations in their directories, and of expected bytes.
    deviations
        One entry per wrong directory or file.
    unchecked
        Files for which the store returned no comparable checksum, and directories of series that the store
        did not list; relative to the tree.
    plan
        The plan that the tree was compared with.
    """

    root: Path
    series_count: int
    complete_series: int
    size_bytes: int
    deviations: tuple[Deviation, ...]
    unchecked: tuple[str, ...] = ()
    used_series: int = 0
    plan: Plan | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether every series is complete and there are no extra files."""
        return not self.deviations

    def _repr_html_(self) -> str:
        """Show the result in a notebook."""
        complete = f"{self.complete_series:,} of {self.series_count:,} series are complete"
        rows = [
            (each.problem, each.detail, f"{each.directory}/{each.file}")
            for each in self.deviations[:ROWS_SHOWN]
        ]
        rest = len(self.deviations) - ROWS_SHOWN
        notes = [f"and {rest:,} more"] if rest > 0 else []
        return html_table(
            f"{self.root}: {complete}, {size(self.size_bytes)}", ("problem", "detail", "in"), rows, notes
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "ok": self.ok,
            "root": utf8(self.root),
            "series_count": self.series_count,
            "complete_series": self.complete_series,
            "size_bytes": self.size_bytes,
            "used_series": self.used_series,
            "deviations": [asdict(deviation) for deviation in self.deviations],
            "unchecked": list(self.unchecked),
        }


class Change(NamedTuple):
    """A series that differs between the current index and a downloaded tree.

    Attributes
    ----------
    change
        ``added`` (not in the tree), ``revised`` (there is a newer version), ``withdrawn`` (no longer in the
        index), ``files revised`` (there is a newer version of a series of which only single files were
        requested).
    collection_id, PatientID, SeriesInstanceUID, Modality
        As in the index.
    directory
        Its current or future directory, relative to the tree.
    crdc_series_uuid, earlier_crdc_series_uuid
        The version in the current index, None if withdrawn; and the version in the tree, None if added.
    instanceCount, size_bytes
        Of the version in the current index, or of the withdrawn series; None if nobody knows.
    """

    change: Literal["added", "revised", "withdrawn", "files revised"]
    collection_id: str | None
    PatientID: str | None
    SeriesInstanceUID: str | None
    Modality: str | None
    directory: str
    crdc_series_uuid: str | None
    earlier_crdc_series_uuid: str | None
    instanceCount: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between a downloaded tree and the current index.

    Attributes
    ----------
    root
        The tree.
    series_count
        Number of series requested in the tree.
    downloaded_version, idc_version
        The newest IDC version that the tree was planned from, and that of the current index.
    changes
        All changes, ordered by kind, collection and directory.
    knows_request
        Whether the requests behind the tree are known; without them, added series cannot be found.
    plan
        The plan that brings the tree up to date.
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
        """Whether nothing was added, revised or withdrawn."""
        return not self.changes

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain values for JSON."""
        return {
            "root": utf8(self.root),
            "is_current": self.is_current,
            "series_count": self.series_count,
            "downloaded_version": self.downloaded_version,
            "idc_version": self.idc_version,
            "knows_request": self.knows_request,
            "changes": [change._asdict() for change in self.changes],
        }
