"""A series: as a row of a plan, as listed by the store, and as files on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

STATE_DIRECTORY = ".dataset-dl"
# Assumed for a series with an unknown number of files.
USUAL_INSTANCES = 100


class PlannedSeries(NamedTuple):
    """One row of a plan: one series, where it comes from and where it goes.

    Unknown values are None, never 0.

    Attributes
    ----------
    collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, license_short_name, source_DOI
        As in the source; the names are IDC's.
    key
        Identifies content that never changes; unique in a plan. For IDC the crdc_series_uuid.
    address
        URL of its files, ``s3://BUCKET/SERIES/*``; the scheme chooses the engine.
    directory
        Target directory relative to the destination, with ``/`` as separator.
    instanceCount, size_bytes
        Exact number of its files and of their bytes. None until they are counted; then the destination pins
        the numbers.
    files
        None if all files of the series are wanted, else ``NAME:BYTES/NAME:BYTES…``; BYTES is empty if only
        the store knows the size. Files that are named may have any ending; others count only if they end in
        ``.dcm``.
    estimated_bytes
        Estimate for use if `size_bytes` is None; None without an estimate.
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
        """IDC's name for `key`."""
        return self.key

    @property
    def series_aws_url(self) -> str:
        """IDC's name for `address`."""
        return self.address

    @property
    def scheme(self) -> str:
        """The scheme of the address, like ``s3``."""
        return scheme_of(self.address)

    @property
    def title(self) -> str:
        """What people know it by: its SeriesInstanceUID, or its address if it has none."""
        return self.SeriesInstanceUID or self.address

    @property
    def is_exact(self) -> bool:
        """Whether the numbers of files and bytes are known."""
        return self.instanceCount is not None and self.size_bytes is not None

    @property
    def expected_instances(self) -> int:
        """Number of files, or 0 if unknown; for sums that may be too small."""
        return self.instanceCount or 0

    @property
    def expected_bytes(self) -> int:
        """Number of bytes, else the estimate, else 0."""
        return self.size_bytes if self.size_bytes is not None else self.estimated_bytes or 0

    def wanted(self) -> dict[str, int | None] | None:
        """Return the bytes of each wanted file, None if unknown; return None if all files are wanted."""
        return None if self.files is None else file_sizes(self.files)

    def sized(self, size: Size) -> PlannedSeries:
        """Return the row with the exact number of files and bytes."""
        return self._replace(
            instanceCount=size.instanceCount, size_bytes=size.size_bytes, files=size.files or self.files
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values; includes key and address under IDC's names, too."""
        return {**self._asdict(), "crdc_series_uuid": self.key, "series_aws_url": self.address}


def scheme_of(address: str) -> str:
    """Return the scheme of an address in lower case, like ``s3``; empty if it has none."""
    scheme, sign, _ = address.partition("://")
    return scheme.lower() if sign else ""


def file_sizes(files: str) -> dict[str, int | None]:
    """Parse `PlannedSeries.files` into the bytes of each file, None if unknown."""
    pairs = (each.split(":") for each in files.split("/"))
    return {name: int(size_bytes) if size_bytes else None for name, size_bytes in pairs}


class StoredObject(NamedTuple):
    """One object of a series as listed by the store.

    The ETag has no quotation marks; an engine may give ``crc32c-`` and eight hexadecimal digits instead.
    """

    name: str
    size_bytes: int
    etag: str


class Size(NamedTuple):
    """Exact size of a row: number of files, total bytes, and if only some files are wanted, their bytes."""

    instanceCount: int
    size_bytes: int
    files: str | None = None

    @classmethod
    def of(cls, sizes: Mapping[str, int], *, named: bool) -> Size:
        """Sum up the bytes of files by name; set `named` if only some files of the series are wanted."""
        files = "/".join(f"{name}:{sizes[name]}" for name in sorted(sizes)) if named else None
        return cls(len(sizes), sum(sizes.values()), files)


class Fetch(NamedTuple):
    """A series to fetch, or its missing files.

    `missing` names the files to fetch, None for all; `present` names the files that are on disk already,
    checked against the store.
    """

    series: PlannedSeries
    missing: tuple[str, ...] | None = None
    present: tuple[str, ...] = ()

    @classmethod
    def whole(cls, series: PlannedSeries) -> Fetch:
        """Create the fetch of all wanted files of a series."""
        wanted = series.wanted()
        return cls(series, None if wanted is None else tuple(wanted))


class Pause(NamedTuple):
    """No series to fetch for now: the disk has no room for another one, or too many are not delivered yet.

    `is_idle` if every series given so far has ended.
    """

    is_idle: bool


@dataclass(frozen=True, slots=True)
class Series:
    """A series that is complete on disk: its number of files and bytes match the plan.

    Attributes
    ----------
    planned
        Its row of the plan, with all identifiers.
    directory
        Absolute path of its directory.
    paths
        Its files, sorted by name.
    """

    planned: PlannedSeries
    directory: Path
    paths: tuple[Path, ...]

    def to_plain(self) -> list[Any]:
        """Return plain values for JSON, to pass it on to another process on this machine."""
        return [self.planned._asdict(), os.fspath(self.directory), [path.name for path in self.paths]]

    @classmethod
    def of_plain(cls, values: list[Any]) -> Series:
        """Return what `to_plain` was made from."""
        row, directory, names = values
        place = Path(directory)
        return cls(PlannedSeries(**row), place, tuple(place / name for name in names))


# Directory → names of the wrong files in it.
Suspects = Mapping[str, frozenset[str]]


def nameless(key: str = "") -> PlannedSeries:
    """Return the row of files of which nothing is known before they are read."""
    return PlannedSeries(None, None, None, None, None, None, None, key, "", "", None, None)
