"""The nouns: what is asked for, where it goes, what happened. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    pass

STATE_DIRECTORY = ".dataset-dl"


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
