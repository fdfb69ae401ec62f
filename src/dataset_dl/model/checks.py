"""What a tree amounts to, held against its plan or against a newer index."""

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
            for each in self.deviations[:ROWS_SHOWN]
        ]
        rest = len(self.deviations) - ROWS_SHOWN
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
