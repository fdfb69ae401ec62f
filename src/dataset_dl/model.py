"""The nouns: what is asked for, where it goes, what happened. All are frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dataset_dl.errors import SelectionError
from dataset_dl.wording import counted, html_table, size

if TYPE_CHECKING:
    from dataset_dl.frame import Frame
    from dataset_dl.index.plan_file import PlanFile

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
Where = Mapping[str, object] | Iterable["str | Condition"]

DEFAULT_LAYOUT = "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"
STATE_DIRECTORY = ".dataset-dl"

_CONDITION = re.compile(
    r"\s*((?:[A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*)\s*(!=|<>|<=|>=|=<|=>|==|=|<|>|~)(.*)",
    re.DOTALL,
)
# A value in double quotes, in which two of them are one; in single quotes; or bare; up to a comma or the end.
_VALUE = re.compile(
    r"""\s*(?:"(?P<double>(?:[^"]|"")*)"|'(?P<single>[^']*)'(?=\s*(?:,|$))|(?P<bare>[^,]*?))\s*(?P<end>,|$)""",
    re.DOTALL,
)
# Of a table in a notebook.
_ROWS_SHOWN = 20
# Operators as others spell them.
_SPELLINGS = {"==": "=", "<>": "!=", "=>": ">=", "=<": "<="}
# How a condition says that a column has no value.
EMPTY = "(empty)"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on a column of the main index.

    Attributes
    ----------
    column
        Name of the column, as IDC spells it; of another table than the main index with the table's name and
        a dot before it.
    operator
        ``=`` (any of the values), ``!=`` (none of them), ``<``, ``<=``, ``>``, ``>=``
        (one value), ``~`` (contains any of the values, in any letter case).
    values
        The values to compare with, at least one; an empty text stands for no value.
    """

    column: str
    operator: Operator
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{','.join(value or EMPTY for value in self.values)}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read ``COLUMN=VALUE[,VALUE…]``; a value with a comma stands in quotes.

        No value at all, or ``(empty)``, means that the column has none.

        Raises
        ------
        SelectionError
            If `text` is no condition.
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise SelectionError(
                text,
                f"“{text}” is not a condition, so nothing was selected.",
                'Write COLUMN=VALUE, for example "Modality=CT,MR" or "instanceCount>=100".',
            )
        column, operator, rest = match.groups()
        return cls._checked(column, _SPELLINGS.get(operator, operator), _values(rest, text), text)

    @classmethod
    def of(cls, column: str, value: object) -> Condition:
        """Equality with one value, or with any of a sequence of values; None is no value."""
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        values = tuple(map(_text, value if several else [value]))  # type: ignore[call-overload]
        return cls._checked(column, "=", values, f"{column}={value!r}")

    @classmethod
    def _checked(cls, column: str, operator: Any, values: tuple[str, ...], text: str) -> Condition:
        if not values or ("" in values and operator not in ("=", "!=")):
            raise SelectionError(text, f"The condition “{text}” names no value.", "Add one after the sign.")
        if operator in ("<", "<=", ">", ">=") and len(values) > 1:
            raise SelectionError(
                text, f"“{operator}” compares with one value; “{text}” names {len(values)}.", "Keep one."
            )
        return cls(column, operator, values)


def _values(text: str, condition: str) -> tuple[str, ...]:
    values: list[str] = []
    place = 0
    while True:
        match = _VALUE.match(text, place)
        if match is None or (match["bare"] or "").startswith('"'):
            raise SelectionError(
                condition,
                f"The values of the condition “{condition}” cannot be read: a quotation mark is left open.",
                'Write COLUMN="VALUE, WITH A COMMA".',
            )
        bare = match["bare"]
        if bare is not None:
            values.append("" if bare == EMPTY else bare)
        else:
            values.append(
                match["double"].replace('""', '"') if match["double"] is not None else match["single"]
            )
        if bare == "" and (match["end"] or len(values) > 1):
            raise SelectionError(
                condition,
                f"The condition “{condition}” names no value beside a comma.",
                f"Take the comma out, or write {EMPTY} for series without a value.",
            )
        if not match["end"]:
            return tuple(values)
        place = match.end()


def _text(value: object) -> str:
    # What is missing is None, or like a float that is no number not equal to itself, or cannot be compared.
    if value is None or type(value).__name__ == "NAType" or value != value:  # noqa: PLR0124
        return ""
    return str(value)


def conditions(where: Where | None) -> tuple[Condition, ...]:
    """Conditions from a mapping ``{column: value or values}`` or from texts like ``"Modality=CT"``."""
    if where is None:
        return ()
    if isinstance(where, str):
        return (Condition.parse(where),)
    if isinstance(where, Mapping):
        return tuple(Condition.of(str(column), value) for column, value in where.items())
    return tuple(_condition(each) for each in where)


def _condition(each: object) -> Condition:
    if isinstance(each, Condition):
        return each
    if isinstance(each, str):
        return Condition.parse(each)
    raise SelectionError(
        str(each),
        f"{each!r} is not a condition, so nothing was selected.",
        'Write where={"Modality": "CT"} or where=["Modality=CT"].',
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for: identifiers of any kind, narrowed by conditions.

    Attributes
    ----------
    identifiers
        Collections, analysis results, patients, studies, series or crdc series uuids, mixed.
    where
        Conditions that every series must meet.
    with_references, with_annotations
        Add the images that these were drawn on, and what was drawn on these, whatever the conditions.
    limit
        Keep the first so many series, in the order of the index.
    sample, seed
        Keep so many series, chosen by chance: the same seed chooses the same.
    """

    identifiers: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    with_references: bool = False
    with_annotations: bool = False
    limit: int | None = None
    sample: int | None = None
    seed: int = 0


class Request(NamedTuple):
    """What a plan was made from and could be made from again, with what a newer index adds."""

    identifiers: tuple[str, ...]
    where: tuple[Condition, ...]
    layout: str
    with_references: bool = False
    with_annotations: bool = False


class PlannedSeries(NamedTuple):
    """One row of a plan: one series, where it comes from and where it goes.

    The names are IDC's own; `directory` is relative to the destination, with ``/`` between its
    parts, and `size_bytes` is the exact sum over the `instanceCount` files. Of a series of an earlier IDC
    version the tables do not tell them: `instanceCount` is 0 and `size_bytes` is rounded to 10 kB, until the
    store has been asked. `files` is None where all files of the series are wanted, else those that are, as
    ``NAME:BYTES/NAME:BYTES…``, without the bytes where only the store knows them.
    """

    collection_id: str | None
    PatientID: str | None
    StudyInstanceUID: str | None
    SeriesInstanceUID: str | None
    Modality: str | None
    license_short_name: str | None
    source_DOI: str | None
    crdc_series_uuid: str
    series_aws_url: str
    directory: str
    instanceCount: int
    size_bytes: int
    files: str | None = None

    def wanted(self) -> dict[str, int | None] | None:
        """The files that are wanted with their bytes, None of bytes that are not known; None for all."""
        return None if self.files is None else file_sizes(self.files)


def file_sizes(files: str) -> dict[str, int | None]:
    """What `PlannedSeries.files` tells: names of files with their bytes, None of bytes that are not known."""
    pairs = (each.split(":") for each in files.split("/"))
    return {name: int(size_bytes) if size_bytes else None for name, size_bytes in pairs}


class StoredObject(NamedTuple):
    """One object of a series as the store lists it; the ETag is without its quotation marks."""

    name: str
    size_bytes: int
    etag: str


class Size(NamedTuple):
    """What makes a row of a plan exact: how many files and bytes, and the wanted ones with theirs."""

    instanceCount: int
    size_bytes: int
    files: str | None = None

    @classmethod
    def of(cls, sizes: Mapping[str, int], *, named: bool) -> Size:
        """That of files, from their names and bytes; `named` if not all of the series are wanted."""
        files = "/".join(f"{name}:{sizes[name]}" for name in sorted(sizes)) if named else None
        return cls(len(sizes), sum(sizes.values()), files)


class Fetch(NamedTuple):
    """A series to fetch, or what is missing of it.

    `missing` are the names to fetch, None for all there are; `present` those that are there already,
    checked against the store.
    """

    series: PlannedSeries
    missing: tuple[str, ...] | None = None
    present: tuple[str, ...] = ()

    @classmethod
    def whole(cls, series: PlannedSeries) -> Fetch:
        """All that is wanted of a series."""
        wanted = series.wanted()
        return cls(series, None if wanted is None else tuple(wanted))


# Directory → names of files in it.
Suspects = Mapping[str, frozenset[str]]


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


class Account(NamedTuple):
    """How the rows of one source were used: each names something new, or what an earlier row named.

    Of a saved plan there is none: each of its rows is a series of the plan.

    Attributes
    ----------
    source
        A file, or ``table`` or ``standard input``.
    rows
        Rows, or lines, that name something; headers, comments and empty ones do not count.
    named
        What they name, each once.
    left_out
        What was not read, a sentence each.
    """

    source: str
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
        Totals; the size is exact.
    idc_version
        The IDC version whose index the plan was made from; None where it does not say.
    into
        The destination named when the plan was made, if any.
    rows
        The table behind the plan.
    unsized_series
        The part of the series that are of an earlier IDC version, or of which files are named by their
        address: how many files they have, and of how many bytes, is asked of the store when they are
        downloaded.
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
        shown = [(*group[:4], size(group.size_bytes)) for group in groups[:_ROWS_SHOWN]]
        notes = list(self.notes)
        if len(groups) > _ROWS_SHOWN:
            notes.insert(0, f"and {len(groups) - _ROWS_SHOWN:,} more groups")
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


@dataclass(frozen=True, slots=True)
class Series:
    """A series that is complete on disk: its count and its bytes agree with the plan.

    Attributes
    ----------
    planned
        Its row of the plan, with every identifier.
    directory
        Absolute path of its directory.
    paths
        Its files, sorted by name.
    """

    planned: PlannedSeries
    directory: Path
    paths: tuple[Path, ...]


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
            "destination": _utf8(self.destination),
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
                    "crdc_series_uuid": failure.planned.crdc_series_uuid,
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
            "root": _utf8(self.root),
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
            "root": _utf8(self.root),
            "is_current": self.is_current,
            "series_count": self.series_count,
            "downloaded_version": self.downloaded_version,
            "idc_version": self.idc_version,
            "knows_request": self.knows_request,
            "changes": [change._asdict() for change in self.changes],
        }


def _utf8(path: Path) -> str:
    """A path as a text that JSON takes; bytes that are no UTF-8 as their escapes."""
    return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")


def as_identifiers(source: str | Sequence[str]) -> tuple[str, ...]:
    """One identifier, a comma list, or a sequence of either; doubles are dropped, order is kept."""
    texts = [source] if isinstance(source, str) else source
    parts = (part.strip() for text in texts for part in str(text).split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
