"""A series: as a row of a plan, as the store lists it, and as it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

STATE_DIRECTORY = ".dataset-dl"


class PlannedSeries(NamedTuple):
    """One row of a plan: one series, where it comes from and where it goes.

    What is unknown is None, never 0.

    Attributes
    ----------
    collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, license_short_name, source_DOI
        As the source has them; the names are IDC's own.
    key
        Unique in a plan, and its content never changes: the crdc_series_uuid of IDC.
    address
        Where it is; the scheme chooses the engine: ``s3://BUCKET/SERIES/*``.
    directory
        Where it goes, relative to the destination, with ``/`` between its parts.
    instanceCount, size_bytes
        Its files, and their bytes, exactly. None until somebody has counted them; the numbers are then pinned
        in the destination.
    files
        None if all files of the series are wanted, else ``NAME:BYTES/NAME:BYTES…``, without the bytes where
        only the store knows them.
    estimated_bytes
        What to expect where `size_bytes` is None, if there is anything to go by.
    """

    collection_id: str | None
    PatientID: str | None
    StudyInstanceUID: str | None
    SeriesInstanceUID: str | None
    Modality: str | None
    license_short_name: str | None
    source_DOI: str | None
    key: str
    address: str
    directory: str
    instanceCount: int | None
    size_bytes: int | None
    files: str | None = None
    estimated_bytes: int | None = None

    @property
    def crdc_series_uuid(self) -> str:
        """IDC's name of the key."""
        return self.key

    @property
    def series_aws_url(self) -> str:
        """IDC's name of the address."""
        return self.address

    @property
    def scheme(self) -> str:
        """The scheme of the address, like ``s3``."""
        return scheme_of(self.address)

    @property
    def is_exact(self) -> bool:
        """Whether its files and bytes are known."""
        return self.instanceCount is not None and self.size_bytes is not None

    @property
    def expected_instances(self) -> int:
        """Its files, or 0 where nobody knows; for sums that may be too small."""
        return self.instanceCount or 0

    @property
    def expected_bytes(self) -> int:
        """Its bytes, or what to expect; 0 where there is nothing to go by."""
        return self.size_bytes if self.size_bytes is not None else self.estimated_bytes or 0

    def wanted(self) -> dict[str, int | None] | None:
        """Bytes of each file that is wanted, None of unknown bytes; None if all files are wanted."""
        return None if self.files is None else file_sizes(self.files)

    def sized(self, size: Size) -> PlannedSeries:
        """The row with files and bytes that have become known."""
        return self._replace(
            instanceCount=size.instanceCount, size_bytes=size.size_bytes, files=size.files or self.files
        )

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, with IDC's names of key and address besides."""
        return {**self._asdict(), "crdc_series_uuid": self.key, "series_aws_url": self.address}


def scheme_of(address: str) -> str:
    """The scheme of an address, in lower case: ``s3`` of ``s3://bucket/key``; empty if it has none."""
    scheme, sign, _ = address.partition("://")
    return scheme.lower() if sign else ""


def file_sizes(files: str) -> dict[str, int | None]:
    """Read `PlannedSeries.files`: the bytes of each file, None where they are unknown."""
    pairs = (each.split(":") for each in files.split("/"))
    return {name: int(size_bytes) if size_bytes else None for name, size_bytes in pairs}


class StoredObject(NamedTuple):
    """One object of a series as the store lists it; the ETag is without its quotation marks."""

    name: str
    size_bytes: int
    etag: str


class Size(NamedTuple):
    """What makes a row exact: the number of files, their bytes, and the wanted ones with theirs."""

    instanceCount: int
    size_bytes: int
    files: str | None = None

    @classmethod
    def of(cls, sizes: Mapping[str, int], *, named: bool) -> Size:
        """Sum up files by name and bytes; `named` if not all files of the series are wanted."""
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


# Directory → names of files in it that are wrong.
Suspects = Mapping[str, frozenset[str]]
