"""What will be downloaded, from where and where to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dataset_dl.wording import counted, html_table, size

if TYPE_CHECKING:
    from dataset_dl.model.frame import Frame
    from dataset_dl.plans.file import PlanFile
from dataset_dl.model.selection import Request
from dataset_dl.model.series import PlannedSeries

DEFAULT_LAYOUT = "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"
# Of a table in a notebook.
ROWS_SHOWN = 20


class PlanGroup(NamedTuple):
    """One line of a plan's summary: a collection and a modality with their totals."""

    collection_id: str | None
    Modality: str | None
    series_count: int
    instance_count: int
    size_bytes: int


class Share(NamedTuple):
    """What of a plan is of one collection, under one licence, from one work; None where no table tells."""

    collection_id: str | None
    license_short_name: str | None
    source_DOI: str | None
    series_count: int
    size_bytes: int


class Rights(NamedTuple):
    """What may be done with data (Markdown), and the works to cite for it (BibTeX)."""

    licences: str
    citations: str


class Account(NamedTuple):
    """How the rows of one file or table were used: each names something new, or what an earlier row named.

    Of a saved plan there is none: each of its rows is a series of the plan.

    Attributes
    ----------
    read_from
        A file, or ``table`` or ``standard input``.
    rows
        Rows, or lines, that name something; headers, comments and empty ones do not count.
    named
        What they name, each once.
    left_out
        What was not read, a sentence each.
    """

    read_from: str
    rows: int
    named: int
    left_out: tuple[str, ...] = ()


class Origin(NamedTuple):
    """What a plan was made from; kept in the file of the plan.

    Attributes
    ----------
    requests
        What a newer index may bring more of: collections, analysis results, patients, studies, conditions.
    missing
        SeriesInstanceUIDs, or other identifiers, that were asked for and that IDC does not have.
    skip_missing
        Whether a download of the rest is all that was wanted; otherwise the missing ones make it incomplete.
    unreferenced
        By modality, annotations of which no table tells the image, where images were to be added.
    excluded
        Identifiers that IDC has, and of which no series meets the conditions.
    accounts
        How the rows of each file or table were used.
    notes
        What else a person should know, a sentence each.
    matching_series
        How many series matched before only some were kept; None if all were.
    file_template
        Template of the names that files get once their series is verified; empty if they keep theirs.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be downloaded and where each series goes. Saved, it is a lockfile.

    Iterating a plan yields its `PlannedSeries`, read from a table as they are asked for.

    Attributes
    ----------
    series_count, instance_count, size_bytes
        Totals. Of `unsized_series` they hold what is known and estimated.
    idc_version
        The IDC version whose index the plan was made from; None where it does not say.
    into
        The destination named when the plan was made, if any.
    rows
        The table behind the plan.
    unsized_series
        The part of the series of which nobody knows the files or the bytes yet: those of an earlier IDC
        version, for example, or files named by their address. The download counts them.
    origin
        What it was made from.
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
        """What a newer index may bring more of."""
        return self.origin.requests

    @property
    def missing(self) -> tuple[str, ...]:
        """What was asked for and IDC does not have."""
        return self.origin.missing

    @property
    def skip_missing(self) -> bool:
        """Whether a download of the rest is all that was wanted."""
        return self.origin.skip_missing

    @property
    def unreferenced(self) -> Mapping[str, int]:
        """By modality, annotations of which no table tells the image."""
        return self.origin.unreferenced

    @property
    def excluded(self) -> tuple[str, ...]:
        """Identifiers that IDC has, and of which no series meets the conditions."""
        return self.origin.excluded

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the selection, a sentence each."""
        return self.origin.notes

    def __len__(self) -> int:
        return self.series_count

    def __bool__(self) -> bool:
        return True

    def _repr_html_(self) -> str:
        """The plan as a notebook shows it."""
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
                f"{len(self.missing):,} of what was asked for are not in IDC, the first: {self.missing[0]}"
            )
        if self.excluded:
            notes.append(f"Of {len(self.excluded):,} that were named no series meets the conditions.")
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
            The file, complete under its name or not there at all.

        Raises
        ------
        ManifestError
            If the name ends in none of the three.
        """
        target = Path(path)
        self.rows.save(target, self.origin)
        return target

    def to_pandas(self) -> Frame:
        """Every row as a frame; a plan of all of IDC takes about 1 GB."""
        return self.rows.to_pandas()
