"""SOURCE: what a person names, in arguments, in files or on standard input."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_dl.destination import plan_path
from dataset_dl.errors import ManifestError
from dataset_dl.index.database import Database
from dataset_dl.index.plan_file import PlanFile, open_plan, parquet_columns, parquet_rows
from dataset_dl.index.resolve import resolve
from dataset_dl.manifest.commands import Entry, entries
from dataset_dl.manifest.contents import Contents, Line, is_plan, parse
from dataset_dl.manifest.contents import read as read_manifest
from dataset_dl.manifest.table import columns_of, identifiers
from dataset_dl.model import as_identifiers

# An identifier, a file, or a table of pandas, polars or Arrow, none of which is imported here.
Source = Any
_ADDRESS = re.compile(r"(s3|gs)://", re.IGNORECASE)
_FILE_LIKE = re.compile(r"[/\\]|\.(parquet|csv|tsv|s5cmd|txt|tcia|xlsx)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """What sources name.

    Attributes
    ----------
    identifiers
        Identifiers of any kind, each once.
    optional
        Series that IDC may not have.
    entries
        Series named by manifests.
    plans
        Saved plans.
    """

    identifiers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    plans: tuple[PlanFile, ...] = ()

    @property
    def only_plan(self) -> PlanFile | None:
        """The saved plan, if one is all there is."""
        alone = len(self.plans) == 1 and not (self.identifiers or self.optional or self.entries)
        return self.plans[0] if alone else None

    def all_entries(self) -> list[Entry]:
        """The series of the manifests, then those of the saved plans, each with its directory."""
        saved = (
            Entry(line, row.crdc_series_uuid, row.directory, row.files)
            for rows in self.plans
            for line, row in enumerate(rows, 1)
        )
        return [*self.entries, *saved]


def read(sources: Iterable[Source]) -> Named:
    """Read every source; a file is told from an identifier by being there.

    Raises
    ------
    ManifestError
        If a file is missing or cannot be read.
    """
    each = [_read_one(source) for source in sources]
    return Named(
        tuple(dict.fromkeys(identifier for named in each for identifier in named.identifiers)),
        tuple(dict.fromkeys(uid for named in each for uid in named.optional)),
        tuple(entry for named in each for entry in named.entries),
        tuple(rows for named in each for rows in named.plans),
    )


def _read_one(source: Source) -> Named:
    if not isinstance(source, str | Path):
        return Named(_of_table(source))
    path = Path(source)
    if source == "-":
        return _read_data(sys.stdin.buffer.read(), "standard input")
    if os.path.isfile(path):
        contents = read_manifest(path)
        return _of_plan(path) if contents.is_plan else _named(contents)
    # A tree that was downloaded; not one that is called like what went there.
    if os.path.isfile(kept := plan_path(path)) and not _is_identifier(source):
        return Named(plans=(open_plan(kept),))
    if stat.S_ISFIFO(_mode(path)):  # like <(command) in a shell
        return _read_data(path.read_bytes(), str(source))
    if not isinstance(source, Path) and _ADDRESS.match(source):
        return Named(entries=entries([Line(1, source)], source))
    if isinstance(source, Path) or _FILE_LIKE.search(source):
        what = f"There is no file {source}"
        if os.path.isdir(path):
            what = f"{source} is a directory that no download went to"
        raise ManifestError(str(source), f"{what}; nothing was started.", "Give a manifest or an identifier.")
    return Named(as_identifiers(source))


def _is_identifier(source: str | Path) -> bool:
    if isinstance(source, Path) or re.search(r"[/\\]", source):
        return False
    return not resolve(Database(), [source], optional=[source]).missing


def _of_plan(path: Path) -> Named:
    """A saved plan, or another Parquet file with a column that names series."""
    columns = [] if (names := parquet_columns(path)) is None else names
    if is_plan(columns) or not columns_of(columns):
        return Named(plans=(open_plan(path),))
    return Named(identifiers(enumerate(parquet_rows(path), 1), columns, str(path)))


def is_table(source: object) -> bool:
    """Whether something is a table: of pandas, polars or Arrow."""
    return hasattr(source, "columns") or hasattr(source, "column_names")


def _of_table(source: Any) -> tuple[str, ...]:
    names = list(getattr(source, "column_names", None) or source.columns)
    header = [str(name) for name in names]
    if not (columns := columns_of(header)):
        raise ManifestError(
            "table",
            f"No column of the table names series; it has {', '.join(header[:10])}.",
            "Name one crdc_series_uuid, SeriesInstanceUID, StudyInstanceUID, PatientID or collection_id.",
        )
    told = [source[names[index]] for index in columns]
    values = [each.to_pylist() if hasattr(each, "to_pylist") else each.to_list() for each in told]
    return identifiers(enumerate(zip(*values, strict=True), 1), [header[index] for index in columns], "table")


def _read_data(data: bytes, name: str) -> Named:
    contents = parse(data, name)
    if not contents.is_plan:
        return _named(contents)
    with tempfile.TemporaryDirectory(prefix="dataset-dl-stdin-") as scratch:
        path = Path(scratch) / "plan"
        path.write_bytes(data)
        return Named(plans=(open_plan(path, name).copy(),))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # a name too long, or with a zero byte, is no file's
        return 0


def _named(contents: Contents) -> Named:
    return Named(contents.identifiers, contents.optional, contents.entries)
