"""A plan: what to download, from where, and where to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dataset_dl.wording import counted, html_table, size

if TYPE_CHECKING:
    from dataset_dl.model.frame import Frame
    from dataset_dl.plans.file import PlanFile
from dataset_dl.model.part import Cut
from dataset_dl.model.selection import Request
from dataset_dl.model.series import PlannedSeries

DEFAULT_LAYOUT = "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"
# Limit of tables in a notebook.
ROWS_SHOWN = 20


class PlanGroup(NamedTuple):
    """Totals of a plan for one collection and modality."""

    collection_id: str | None
    Modality: str | None
    series_count: int
    instance_count: int
    size_bytes: int


class Share(NamedTuple):
    """Totals of a plan for one collection, licence and DOI; each is None if no table contains it."""

    collection_id: str | None
    license_short_name: str | None
    source_DOI: str | None
    series_count: int
    size_bytes: int


class Rights(NamedTuple):
    """Licence terms of data (Markdown), and the works to cite for it (BibTeX)."""

    licences: str
    citations: str


class Account(NamedTuple):
    """How the rows of one file or table were used: each names something new or repeats an earlier row.

    A saved plan has no account, because each of its rows is a series of the plan.

    Attributes
    ----------
    read_from
        Name of the file, or ``table`` or ``standard input``.
    rows
        Number of rows or lines that name something; headers, comments and empty lines do not count.
    named
        Number of distinct things that they name.
    left_out
        Parts that were not read, one sentence each.
    """

    read_from: str
    rows: int
    named: int
    left_out: tuple[str, ...] = ()


class Origin(NamedTuple):
    """What a plan was created from; stored in the plan file.

    Attributes
    ----------
    requests
        Requests that may match more series in a newer index: collections, analysis results, patients,
        studies, conditions.
    missing
        Requested SeriesInstanceUIDs, or other identifiers, that IDC does not have.
    skip_missing
        Whether to ignore missing identifiers; otherwise they make the download incomplete.
    unreferenced
        Modality → number of annotations whose images were requested, but are listed in no table.
    excluded
        Identifiers in IDC without any series that meets the conditions.
    accounts
        How the rows of each file or table were used.
    notes
        Other notes for the user, one sentence each.
    matching_series
        Number of matching series before a limit or sample; None if all were kept.
    file_template
        Template for renaming files once their series is verified; empty if they keep their names.
    retries
        How often a manifest asks to retry; None if it does not say.
    also_asked
        The other source that was asked for what IDC lacks; empty if there was none.
    cut
        How the plan is cut into parts, or which part it is; None if it is not cut.
    """

    requests: tuple[Request, ...] = ()
    missing: tuple[str, ...] = ()
    skip_missing: bool = False
    unreferenced: Mapping[str, int] = {}
    excluded: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    notes: tuple[str, ...] = ()
    matching_series: int | None = None
    file_template: str = ""
    retries: int | None = None
    also_asked: str = ""
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to download and where each series goes. A saved plan is a lockfile.

    Iterating over a plan yields its `PlannedSeries`, read lazily from a table.

    Attributes
    ----------
    series_count, instance_count, size_bytes
        Totals. For `unsized_series` they include known numbers and estimates.
    idc_version
        IDC version of the index that the plan was created from; None if unknown.
    into
        The destination given when the plan was created, if any.
    rows
        The table behind the plan.
    unsized_series
        Number of series whose files or bytes are still unknown, for example those of an earlier IDC version,
        or files given by address. The download counts them.
    origin
        What the plan was created from.
    """

    series_count: int
    instance_count: int
    size_bytes: int
    idc_version: int | None
    into: Path | None
    rows: PlanFile = field(repr=False, compare=False)
    unsized_series: int = 0
    origin: Origin = field(default=Origin(), repr=False)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Requests that may match more series in a newer index."""
        return self.origin.requests

    @property
    def missing(self) -> tuple[str, ...]:
        """Requested identifiers that IDC does not have."""
        return self.origin.missing

    @property
    def skip_missing(self) -> bool:
        """Whether to ignore missing identifiers."""
        return self.origin.skip_missing

    @property
    def unreferenced(self) -> Mapping[str, int]:
        """Modality → number of annotations whose images are listed in no table."""
        return self.origin.unreferenced

    @property
    def excluded(self) -> tuple[str, ...]:
        """Identifiers in IDC without any series that meets the conditions."""
        return self.origin.excluded

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the selection for the user, one sentence each."""
        return self.origin.notes

    def __len__(self) -> int:
        return self.series_count

    def __bool__(self) -> bool:
        return True

    def _repr_html_(self) -> str:
        """Show the plan in a notebook."""
        totals = (
            f"{self.series_count:,} series, {counted(self.instance_count, 'file')}, {size(self.size_bytes)}"
        )
        version = f", IDC v{self.idc_version}" if self.idc_version else ""
        groups = self.groups()
        shown = [(*group[:4], size(group.size_bytes)) for group in groups[:ROWS_SHOWN]]
        notes = list(self.notes)
        if len(groups) > ROWS_SHOWN:
            notes.insert(0, f"and {len(groups) - ROWS_SHOWN:,} more groups")
        if self.missing:
            notes.append(
                f"{len(self.missing):,} requested identifiers are not in IDC, the first: {self.missing[0]}"
            )
        if self.excluded:
            notes.append(f"{len(self.excluded):,} identifiers have no series that meets the conditions.")
        if self.into is not None:
            notes.append(f"to {self.into}")
        return html_table(
            f"Plan: {totals}{version}",
            ("collection_id", "Modality", "series", "files", "size"),
            shown,
            notes,
        )

    def __iter__(self) -> Iterator[PlannedSeries]:
        return iter(self.rows)

    def groups(self) -> list[PlanGroup]:
        """Totals per collection and modality, largest first."""
        return self.rows.groups()

    def save(self, path: str | Path) -> Path:
        """Write the plan to a ``.parquet``, ``.csv`` or ``.s5cmd`` file.

        Returns
        -------
        Path
            The file; it appears under its name only when complete.

        Raises
        ------
        ManifestError
            If the name has another ending.
        """
        target = Path(path)
        self.rows.save(target, self.origin)
        return target

    def to_pandas(self) -> Frame:
        """Return all rows as a frame; a plan of all of IDC takes about 1 GB."""
        return self.rows.to_pandas()
