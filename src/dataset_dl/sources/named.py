"""SOURCE: read what the user names in arguments, in files or on standard input."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_dl.destination.records import kept_with_requests
from dataset_dl.doors import SOURCES
from dataset_dl.duck import Database
from dataset_dl.errors import ManifestError, SelectionError
from dataset_dl.manifest import addresses
from dataset_dl.manifest.commands import Places, buckets, entries
from dataset_dl.manifest.contents import PARQUET_MAGIC, PlanTable, parse
from dataset_dl.manifest.entry import Entry, Line
from dataset_dl.manifest.table import columns_of, identifiers
from dataset_dl.model.plan import Account, Origin
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import (
    copy_file,
    lacks_columns,
    open_plan,
    open_table,
    parquet_columns,
    parquet_rows,
)
from dataset_dl.scratch import Scratch, writing_scratch
from dataset_dl.sources.idc.resolve import resolve

# An identifier, a file, or a table of pandas, polars or Arrow; this module imports none of the three.
Source = Any
_DOI = re.compile(r"(doi:\s*)?10\.[0-9]{4,9}/\S+", re.IGNORECASE)
_ADDRESS = re.compile(r"(s3|gs)://", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_FILE_LIKE = re.compile(r"[/\\]|\.(parquet|csv|tsv|s5cmd|txt|tcia|xlsx)$", re.IGNORECASE)


class Identifier(str):
    """A text that is an identifier and nothing else: no file, no address and not standard input."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Named:
    """What sources name.

    Attributes
    ----------
    identifiers
        Identifiers of any kind, each once.
    optional
        Identifiers that IDC may not have.
    entries
        Series named by manifests or addresses.
    plans
        Saved plans.
    accounts
        How the rows of each file or table were used.
    buckets
        The buckets in addresses.
    addresses
        Addresses of other sources than IDC.
    retries
        How often to retry, if a manifest says so.
    servers
        Hosts of archives that manifests name.
    """

    identifiers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    plans: tuple[PlanFile, ...] = ()
    accounts: tuple[Account, ...] = ()
    buckets: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    retries: int | None = None
    servers: tuple[str, ...] = ()

    @property
    def names_idc(self) -> bool:
        """Whether anything has to be looked up in the tables of IDC."""
        return bool(self.identifiers or self.optional or self.entries or self.plans)

    @property
    def only_plan(self) -> PlanFile | None:
        """The saved plan, if exactly one and nothing else is named."""
        others = self.identifiers or self.optional or self.entries or self.addresses
        alone = len(self.plans) == 1 and not others
        return self.plans[0] if alone else None

    @property
    def origin(self) -> Origin:
        """The combined origin of the saved plans, with the accounts of the other files."""
        origins = [rows.origin for rows in self.plans]
        missing = _once(uid for origin in origins for uid in origin.missing)
        return Origin(
            requests=_once(request for origin in origins for request in origin.requests),
            missing=missing,
            skip_missing=bool(missing) and all(origin.skip_missing for origin in origins if origin.missing),
            excluded=_once(name for origin in origins for name in origin.excluded),
            accounts=self.accounts,
            file_template=next((each.file_template for each in origins if each.file_template), ""),
            also_asked=next((each.also_asked for each in origins if each.also_asked), ""),
            retries=_most([self.retries, *(each.retries for each in origins)]),
        )

    def all_entries(self) -> list[Entry]:
        """The series of the manifests, then of the saved plans, each with its directory.

        Raises
        ------
        SelectionError
            If a saved plan holds rows of other sources, which the tables of IDC do not contain.
        """
        for rows in self.plans:
            if others := [scheme for scheme in rows.schemes() if scheme != "s3"]:
                raise SelectionError(
                    others[0],
                    f"A saved plan holds series of {others[0]}://, so it can only be downloaded as it is, not"
                    " narrowed, combined with others or given another layout; nothing was started.",
                    "Make a new plan from the original sources.",
                )
        saved = (
            Entry(line, row.key, row.directory, row.files)
            for rows in self.plans
            for line, row in enumerate(rows, 1)
        )
        return [*self.entries, *saved]


def read(sources: Iterable[Source], places: Places = Places()) -> Named:  # noqa: B008
    """Read every SOURCE; if a file of that name exists, it is a file, not an identifier.

    Parameters
    ----------
    sources
        What the user names.
    places
        How to interpret the directories in manifests.

    Raises
    ------
    ManifestError
        If a file is missing or cannot be read.
    """
    each = [_read_one(source, places) for source in sources]
    return Named(
        _once(identifier for named in each for identifier in named.identifiers),
        _once(uid for named in each for uid in named.optional),
        tuple(entry for named in each for entry in named.entries),
        tuple(rows for named in each for rows in named.plans),
        tuple(account for named in each for account in named.accounts),
        _once(bucket for named in each for bucket in named.buckets),
        _once(address for named in each for address in named.addresses),
        _most(named.retries for named in each),
        _once(server for named in each for server in named.servers),
    )


def _most(several: Iterable[int | None]) -> int | None:
    return max((each for each in several if each is not None), default=None)


def _once(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _read_one(source: Source, places: Places) -> Named:
    if isinstance(source, Identifier):
        return Named((str(source).strip(),))
    if not isinstance(source, str | Path):
        if not is_table(source):
            raise SelectionError(
                str(source),
                f"{source!r} is no identifier, so nothing was started.",
                "Give strings, paths, or a table with a column that names series.",
            )
        return _of_table(source)
    path = Path(source)
    if source == "-":
        return _of_data(sys.stdin.buffer.read(), "standard input", places)
    if os.path.isfile(path):
        return _of_file(path, places)
    # A directory that holds a download, but not one whose name is also an identifier.
    if os.path.isdir(path) and not _is_identifier(source) and (kept := kept_with_requests(path)) is not None:
        return Named(plans=(kept,))
    if stat.S_ISFIFO(_mode(path)):  # like <(command) in a shell
        return _of_data(path.read_bytes(), str(source), places)
    if not isinstance(source, Path) and _ADDRESS.match(source):
        line = [Line(1, source)]
        return Named(entries=entries(line, source), buckets=tuple(buckets(line)))
    if not isinstance(source, Path) and addresses.is_web(source):
        found = addresses.named(source)
        stored = [Line(number, each) for number, each in enumerate(found, 1) if _ADDRESS.match(each)]
        others = tuple(each for each in found if not _ADDRESS.match(each))
        return Named(others, entries=entries(stored, source))
    if not isinstance(source, Path) and (match := _SCHEME.match(source)):
        if SOURCES.find(match[1].lower()) is None:
            raise SelectionError(
                source,
                f"No installed source handles addresses like {match[1]}://, so nothing was started.",
                f"Installed sources handle {', '.join(f'{name}://' for name in SOURCES.names())}.",
            )
        return Named(addresses=(source,))
    if isinstance(source, Path) or (_FILE_LIKE.search(source) and not _DOI.fullmatch(source.strip())):
        what = f"There is no file {source}"
        if os.path.isdir(path):
            what = f"{source} is a directory that no download went to"
        raise ManifestError(str(source), f"{what}; nothing was started.", "Give a manifest or an identifier.")
    if _DOI.fullmatch(source.strip()):  # which may hold a comma
        return Named((source.strip(),))
    return Named(as_identifiers(source))


def _is_identifier(source: str | Path) -> bool:
    if isinstance(source, Path) or re.search(r"[/\\]|[^ -~]", source):
        return False
    return not resolve(Database(), [source], optional=[source]).missing


def _of_file(path: Path, places: Places) -> Named:
    """Read a file: copy it first, then read only the copy."""
    with Scratch("source") as scratch:
        copy = scratch / "source"
        copy_file(path, copy, str(path))
        return _of_copy(copy, str(path), places)


def _of_data(data: bytes, name: str, places: Places) -> Named:
    if not data.startswith(PARQUET_MAGIC):
        return _of_text(data, name, places)
    with Scratch("source") as scratch:
        copy = scratch / "source"
        with writing_scratch():
            copy.write_bytes(data)
        return _of_parquet(copy, name)


def _of_copy(copy: Path, name: str, places: Places) -> Named:
    with copy.open("rb") as file:
        start = file.read(len(PARQUET_MAGIC))
        if start != PARQUET_MAGIC:
            return _of_text(start + file.read(), name, places)
    return _of_parquet(copy, name)


def _of_parquet(copy: Path, name: str) -> Named:
    """Read a saved plan, or another Parquet file with a column that names series."""
    columns = parquet_columns(copy) or []
    if columns and lacks_columns(copy) and columns_of(columns):
        return _of_rows(identifiers(enumerate(parquet_rows(copy), 1), columns, name), name)
    return Named(plans=(open_plan(copy, name),))


def _of_text(data: bytes, name: str, places: Places) -> Named:
    contents = parse(data, name, places)
    if contents.plan is not None:
        return Named(plans=(_of_plan_table(contents.plan, name),))
    return Named(
        contents.identifiers,
        contents.optional,
        contents.entries,
        accounts=contents.accounts,
        buckets=contents.buckets,
        retries=contents.retries,
        servers=(contents.server,) if contents.server else (),
    )


def _of_plan_table(table: PlanTable, name: str) -> PlanFile:
    with Scratch("source") as scratch:
        path = scratch / "plan.csv"
        with writing_scratch():
            path.write_text(table.text, encoding="utf-8", newline="\n")
        rows = open_table(path, name, table.header, table.delimiter)
    count = rows.plan(None).series_count
    if count != table.rows:
        raise ManifestError(
            name,
            f"{name} has {table.rows:,} rows, but only {count:,} of them can be read.",
            "Nothing was started.",
        )
    return rows


def is_table(source: object) -> bool:
    """Whether an object is a table of pandas, polars or Arrow."""
    return hasattr(source, "columns") or hasattr(source, "column_names")


def _of_table(source: Any) -> Named:
    names = list(getattr(source, "column_names", None) or source.columns)
    header = [str(name) for name in names]
    if not (columns := columns_of(header)):
        raise ManifestError(
            "table",
            f"No column of the table names series; it has {', '.join(header[:10])}.",
            "Name one crdc_series_uuid, SeriesInstanceUID, StudyInstanceUID, PatientID or collection_id.",
        )
    series_columns = [source[names[index]] for index in columns]
    values = [each.to_pylist() if hasattr(each, "to_pylist") else each.to_list() for each in series_columns]
    rows = enumerate(zip(*values, strict=True), 1)
    return _of_rows(identifiers(rows, [header[index] for index in columns], "table"), "table")


def _of_rows(named: Sequence[str], name: str) -> Named:
    once = _once(named)
    return Named(once, accounts=(Account(name, len(named), len(once)),))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # no file has a name that is too long or holds a zero byte
        return 0


def as_identifiers(source: str | Sequence[str]) -> tuple[str, ...]:
    """Split an identifier, a comma list, or a sequence of either; drop duplicates, keep the order."""
    texts = [source] if isinstance(source, str) else source
    parts = (part.strip() for text in texts for part in str(text).split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
