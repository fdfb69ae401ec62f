"""The slices of a series in their true order. Those of IDC are kept, because its objects never change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote as url_quote

from dataset_dl.configuration import cache_path
from dataset_dl.duck import Database, DuckError, identifier, quote
from dataset_dl.errors import SelectionError, StorageError, UnreadableObject
from dataset_dl.parquet import write_parquet
from dataset_dl.pixels.order import Ordering, order
from dataset_dl.preview.finding import Found, StoredFile
from dataset_dl.preview.known import Known, known_of
from dataset_dl.preview.reading import Opened, Reader

_VERSION = 4


@dataclass(frozen=True)
class Instance:
    """One instance of a series, at its place.

    Attributes
    ----------
    Index
        Its number in its group, from 0.
    Group
        0 for the largest group of slices that belong together.
    PrimaryPosition
        Its place along the normal of the slices, in mm; None without a position.
    FileName, SOPInstanceUID, InstanceNumber, Rows, Columns, NumberOfFrames, ImageType
        As in its header; ImageType joined by backslashes.
    FrameOrder
        Numbers of its frames in their true order; empty if they are in order.
    TotalPixelMatrixColumns, TotalPixelMatrixRows
        Of a whole slide image; 0 for others.
    size_bytes, etag
        Of its object.
    place
        Its address, or its path.
    """

    Index: int
    Group: int
    PrimaryPosition: float | None
    FileName: str
    SOPInstanceUID: str
    InstanceNumber: int | None
    Rows: int
    Columns: int
    NumberOfFrames: int
    FrameOrder: tuple[int, ...]
    ImageType: str
    TotalPixelMatrixColumns: int
    TotalPixelMatrixRows: int
    size_bytes: int
    etag: str
    place: str

    @property
    def file(self) -> StoredFile:
        """Its object."""
        return StoredFile(self.FileName, self.place, self.size_bytes, self.etag)


@dataclass(frozen=True)
class SliceIndex:
    """The instances of a series.

    Attributes
    ----------
    title
        What it is called.
    instances
        Group by group, each in order.
    remarks
        What is mixed in it, as sentences.
    problems
        What could not be read, as sentences.
    """

    title: str
    instances: tuple[Instance, ...]
    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def group(self, number: int) -> tuple[Instance, ...]:
        """Return the instances of a group.

        Raises
        ------
        SelectionError
            If there is none of this number.
        """
        found = tuple(each for each in self.instances if each.Group == number)
        if not found:
            most = max((each.Group for each in self.instances), default=-1)
            raise SelectionError(str(number), f"There is no group {number}; the last one is {most}.")
        return found


_KEPT = tuple(name for name in Instance.__dataclass_fields__ if name != "place")
_NAME = _KEPT.index("FileName")
_TYPES = (
    "INTEGER", "INTEGER", "DOUBLE", "VARCHAR", "VARCHAR", "INTEGER",
    "INTEGER", "INTEGER", "INTEGER", "INTEGER[]", "VARCHAR", "BIGINT", "BIGINT", "BIGINT", "VARCHAR",
)  # fmt: skip


def build(found: Found, reader: Reader) -> SliceIndex:
    """Read all headers of a series, and sort it.

    Raises
    ------
    UnreadableObject
        If no object is readable.
    """
    return arrange(found, reader.headers(found.files))


def arrange(found: Found, opened: Iterable[Opened]) -> SliceIndex:
    """Sort the instances whose headers were read."""
    known, problems = [], []
    for each in opened:
        if each.header is None:
            problems.append(each.problem)
        else:
            known.append(known_of(each))
    if not known:
        first = problems[0] if problems else "It has no objects."
        raise UnreadableObject(found.title, f"Nothing of {found.title} can be read. {first}")
    ordering = order([each.slice for each in known])
    instances = tuple(_instances(known, ordering))
    # The levels of a slide have many sizes, and belong together.
    remarks = () if any(each.TotalPixelMatrixColumns for each in instances) else ordering.remarks
    return SliceIndex(found.title, instances, remarks, tuple(problems))


def load(found: Found) -> SliceIndex | None:
    """Return the kept index of a series of IDC, with addresses at this store; None if there is none."""
    path = _path(found.key)
    if not found.key or not path.exists():
        return None
    with suppress(DuckError, TypeError, ValueError, LookupError):
        rows = Database().run(
            f"SELECT {', '.join(map(identifier, _KEPT))} FROM read_parquet({quote(str(path))})"
        )
        instances = tuple(Instance(**_typed(row), place=found.base + url_quote(row[_NAME])) for row in rows)
        return SliceIndex(found.title, instances, tuple(_said(path)["remarks"]))
    return None


def _typed(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        name: tuple(value) if name == "FrameOrder" else value for name, value in zip(_KEPT, row, strict=True)
    }


def kept_bucket(key: str) -> str:
    """Return the bucket of a series of IDC whose index is kept; empty if there is none."""
    path = _path(key)
    with suppress(DuckError, TypeError, ValueError, LookupError):
        return str(_said(path)["bucket"]) if path.exists() else ""
    return ""


def keep(index: SliceIndex, found: Found) -> None:
    """Keep the index of a series of IDC, if it is whole; that only saves time."""
    if index.problems or not found.key:
        return
    path = _path(found.key)
    with suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(
            _KEPT, ([getattr(each, name) for name in _KEPT] for each in index.instances), path,
            types=_TYPES, about={"remarks": index.remarks, "bucket": found.bucket},
        )  # fmt: skip


def _path(key: str) -> Path:
    return cache_path() / "slices" / f"{key}.{_VERSION}.parquet"


def _said(path: Path) -> dict[str, Any]:
    """Return what was written beside the rows."""
    values = Database().column(
        f"SELECT decode(value) FROM parquet_kv_metadata({quote(str(path))}) WHERE key = 'about'"
    )
    said: dict[str, Any] = json.loads(values[0])
    return said


def _instances(known: Sequence[Known], ordering: Ordering) -> Iterable[Instance]:
    in_group: dict[int, int] = {}
    for place in ordering.order:
        each, group = known[place], ordering.groups[place]
        number = in_group.setdefault(group, 0)
        in_group[group] += 1
        yield Instance(
            number, group, ordering.positions[place], each.file.name, each.uid, each.slice.number,
            *each.slice.size, each.frames, each.frame_order, each.image_type, each.total_columns,
            each.total_rows, each.size_bytes, each.file.etag, each.file.place,
        )  # fmt: skip
