"""Open saved plans: copy them first, then check every row."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataset_dl.doors import SOURCES
from dataset_dl.duck import Database, DuckError, DuckNameError, first_line, quote
from dataset_dl.errors import ManifestError
from dataset_dl.model.plan import Origin
from dataset_dl.model.series import PlannedSeries, file_sizes, scheme_of
from dataset_dl.plans.columns import COLUMNS, FILES, NAMED_FILES, type_of
from dataset_dl.plans.file import PlanFile, origin_in
from dataset_dl.plans.layout import PLAIN_DIRECTORY_LIMIT
from dataset_dl.plans.names import check_directory, has_control
from dataset_dl.scratch import Scratch, writing_scratch

# More than IDC will ever have; their sums still fit into 64-bit integers.
_MOST_INSTANCES, _MOST_BYTES = 10**9, 10**15
_COPY_BYTES = 1 << 22
_NOTHING = "Nothing was started."
_PLAIN_DIRECTORY = r"[A-Za-z0-9_#@+=,-]+(/[A-Za-z0-9_#@+=,-][A-Za-z0-9_#@+=.,-]*[A-Za-z0-9_-])*"
# Two columns had other names in early plans, and two (`_LATER`) did not exist yet.
_FORMER_NAMES = {"key": "crdc_series_uuid", "address": "series_aws_url"}
_LATER = {"files", "estimated_bytes"}
_FORMER_VALUES = {
    "instanceCount": "nullif(instanceCount, 0)",
    "size_bytes": "CASE WHEN instanceCount > 0 THEN size_bytes END",
    "estimated_bytes": "CASE WHEN instanceCount = 0 THEN size_bytes END",
}


def copy_file(path: Path, target: Path, name: str) -> None:
    """Copy a regular file, opened once; anything else, like a pipe without a writer, is refused.

    Raises
    ------
    ManifestError
        If it cannot be read.
    StorageError
        If the copy cannot be written.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = open(os.open(path, flags), "rb")  # noqa: SIM115 (with follows)
    except OSError as error:
        raise ManifestError(
            name, f"{name}, which should be a plan or a manifest, cannot be read: {error.strerror}.", _NOTHING
        ) from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ManifestError(
                name, f"{name}, which should be a plan or a manifest, is not a regular file.", _NOTHING
            )
        with writing_scratch(), target.open("wb") as copy:
            shutil.copyfileobj(file, copy, _COPY_BYTES)


def open_plan(path: Path, name: str | None = None, *, may_be_empty: bool = False) -> PlanFile:
    """Copy a plan that was saved as Parquet, and check every row of the copy.

    Raises
    ------
    ManifestError
        If it is not a plan, or a row leads out of the destination or to nothing that its source offers.
    """
    name = name or str(path)
    with _of_a_plan(name):
        rows = copy_of(path, name)
        _check_rows(rows, name, may_be_empty=may_be_empty)
        _ = rows.origin
    return rows


def copy_of(path: Path, name: str | None = None) -> PlanFile:
    """Copy a saved plan, with the current columns, without checking its rows.

    Raises
    ------
    ManifestError
        If it is not a file, cannot be read, or lacks the columns of a plan.
    """
    name = name or str(path)
    rows = PlanFile(Scratch("plan"))
    copy_file(path, rows.path, name)
    with _of_a_plan(name):
        described = dict(row[:2] for row in Database().run(f"DESCRIBE FROM {rows.sql}"))
    if lacks_columns(rows.path):
        raise ManifestError(name, f"{name} is not a plan: it lacks columns that a plan has.", _NOTHING)
    if all(described.get(column) == type_of(column) for column in COLUMNS):
        return rows
    with _of_a_plan(name):
        return PlanFile.create(Database(), f"SELECT {_selected(described)} FROM {rows.sql}", [], rows.origin)


def origin_of(path: Path) -> Origin:
    """Return the origin of a saved plan from its metadata, without a copy of its rows if that can be.

    Raises
    ------
    ManifestError
        If it is no plan.
    """
    if re.search(r"[*?\[\ud800-\udfff]", str(path)):  # DuckDB would take it for a pattern, or refuse it
        return copy_of(path).origin
    with _of_a_plan(str(path)):
        return origin_in(path)


def _selected(columns: Sequence[str] | dict[str, Any], values: dict[str, str] | None = None) -> str:
    """SQL that selects `COLUMNS` from a plan of any age."""
    expressions = {name: "NULL" for name in _LATER if name not in columns}
    if "key" not in columns:
        expressions |= _FORMER_VALUES | _FORMER_NAMES
    expressions |= values or {}
    return ", ".join(f"CAST({expressions.get(name, name)} AS {type_of(name)}) AS {name}" for name in COLUMNS)


def open_table(path: Path, name: str, header: Sequence[str], delimiter: str) -> PlanFile:
    """Read a plan that was saved as CSV, one row per line, and check every row.

    Raises
    ------
    ManifestError
        As for `open_plan`.
    """
    with _of_a_plan(name):
        rows = PlanFile.create(Database(), _csv_select(path, header, delimiter), [])
        _check_rows(rows, name, may_be_empty=False)
    return rows


@contextmanager
def _of_a_plan(name: str) -> Iterator[None]:
    try:
        yield
    except DuckNameError:
        raise ManifestError(
            name, f"{name} is not a plan: it lacks columns that a plan has.", _NOTHING
        ) from None
    except DuckError as error:
        reason = first_line(error).rstrip(".")
        raise ManifestError(name, f"{name} is not a plan: {reason}.", _NOTHING) from None


def is_plan(columns: Sequence[str]) -> bool:
    """Whether a table has the columns of a plan, current or early."""
    names = {*columns}
    former = {new for new, old in _FORMER_NAMES.items() if old in names}
    return {*PlannedSeries._fields} - _LATER <= names | former


def lacks_columns(path: Path) -> bool:
    """Whether a file is not a Parquet file with the columns of a plan."""
    columns = parquet_columns(path) or []
    return not (is_plan(columns) and "idc_version" in columns)


def parquet_columns(path: Path) -> list[str] | None:
    """The columns of a Parquet file; None if it is not one."""
    try:
        return Database().column(f"DESCRIBE FROM read_parquet({quote(str(path))})")
    except DuckError:
        return None


def parquet_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """The rows of a Parquet file."""
    yield from Database().run(f"FROM read_parquet({quote(str(path))})")


def _csv_select(path: Path, header: Sequence[str], delimiter: str) -> str:
    """SQL that reads a CSV file in an explicit format: guessing from its first lines misses a late quote."""
    types = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in header)
    # CSV cannot distinguish an empty directory, which a flat layout has, from a missing one.
    values = {"directory": "coalesce(directory, '')"}
    if "key" not in header:
        count = "CAST(instanceCount AS BIGINT)"
        values |= {name: text.replace("instanceCount", count) for name, text in _FORMER_VALUES.items()}
    return (
        f"SELECT {_selected(header, values)} FROM read_csv({quote(str(path))}, header = true,"
        f" auto_detect = false, columns = {{{types}}}, delim = {quote(delimiter)},"
        " quote = '\"', escape = '\"')"
    )


def _check_rows(rows: PlanFile, name: str, *, may_be_empty: bool) -> None:
    """Refuse whatever a plan made by dataset-dl cannot contain."""
    ((count, key),) = Database().run(
        f"SELECT count(*), (SELECT key FROM {rows.sql} GROUP BY 1 HAVING count(*) > 1 LIMIT 1)"
        f" FROM {rows.sql}"
    )
    if count == 0 and not (may_be_empty or rows.origin.missing):
        raise ManifestError(name, f"{name} holds no series, so nothing was started.")
    if key is not None:
        raise ManifestError(name, f"The series {key} occurs more than once in {name}; nothing was started.")
    found = _first_problem(rows)
    for scheme in filter(None, rows.schemes()):
        source = SOURCES.find(scheme)
        if source is None:
            raise ManifestError(
                name,
                f"{name} contains addresses like {scheme}://…, which no installed source handles.",
                _NOTHING,
            )
        own = next(iter(source.problems(rows)), None)
        found = min((each for each in (found, own) if each is not None), default=None)
    if found is not None:
        number, problem = found
        raise ManifestError(name, f"Row {number} of {name} is wrong: {problem}.", _NOTHING, number)


def _first_problem(rows: PlanFile) -> tuple[int, str] | None:
    """The first invalid row, with the reason. DuckDB accepts most rows; Python checks the others."""
    texts = " || ".join(f"coalesce({name}, '')" for name in COLUMNS if type_of(name) == "VARCHAR")
    doubtful = Database().run(
        f"SELECT file_row_number + 1, address, directory, instanceCount, size_bytes, files, key, {texts}"
        f" FROM {rows.numbered_sql} WHERE files IS NOT NULL OR NOT coalesce("
        f"coalesce(instanceCount, 1) > 0 AND coalesce(instanceCount, 1) < {_MOST_INSTANCES}"
        f" AND coalesce(size_bytes, 0) >= 0 AND coalesce(size_bytes, 0) < {_MOST_BYTES}"
        f" AND coalesce(estimated_bytes, 0) >= 0 AND coalesce(estimated_bytes, 0) < {_MOST_BYTES}"
        f" AND key <> '' AND contains(address, '://') AND regexp_full_match({texts}, '[ -~]*')"
        f" AND strlen(directory) <= {PLAIN_DIRECTORY_LIMIT}"
        f" AND regexp_full_match(directory, {quote(_PLAIN_DIRECTORY)}), false)"
        " ORDER BY 1"
    )
    for number, address, directory, count, size, files, key, text in doubtful:
        problem = _row_problem(key, address, directory, count, size)
        if not problem and has_control(text):
            problem = "it holds a control character"
        if problem := problem or (files and _files_problem(files, count, size)):
            return number, problem
    return None


def _row_problem(
    key: str | None, address: str | None, directory: str | None, count: int | None, size: int | None
) -> str | None:
    if not key or not scheme_of(address or ""):
        return f"{address} is not the address of the series {key}"
    if (count is not None and count <= 0) or (size is not None and size < 0):
        return "its instanceCount is not positive, or its size_bytes is negative"
    if (count or 0) >= _MOST_INSTANCES or (size or 0) >= _MOST_BYTES:
        return "no series has so many files or bytes"
    if directory is None:
        return "it names no directory"
    reason = check_directory(directory)
    return f"its directory “{directory}” is refused because {reason}" if reason else None


def _files_problem(files: str, count: int | None, size_bytes: int | None) -> str | None:
    if not NAMED_FILES.fullmatch(files):
        return "its files are not written as NAME:BYTES/NAME:BYTES"
    sizes = file_sizes(files)
    if not FILES.fullmatch(files):  # names of other sources than IDC
        for name in sizes:
            reason = "it begins with a dot" if name.startswith(".") else check_directory(name)
            if reason:
                return f"its file “{name}” is refused because {reason}"
    if len(sizes) <= files.count("/"):
        return "it names a file more than once"
    if count is None:
        return None
    known = [size for size in sizes.values() if size is not None]
    # An archive lists its instances, but not their sizes.
    total = sum(known) if len(known) == len(sizes) else None
    is_exact = len(sizes) == count and size_bytes == total
    return None if is_exact else "its files do not add up to its instanceCount and size_bytes"
