"""A plan as a Parquet file: written once, read in batches, never held in memory."""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.index.database import Database, quote
from dataset_dl.index.versions import with_earlier
from dataset_dl.layout import check_directory
from dataset_dl.manifest.lines import manifest_header
from dataset_dl.model import Plan, PlanGroup, PlannedSeries, Share
from dataset_dl.network import IDC_BUCKETS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (*PlannedSeries._fields, "idc_version")
# Reading holds a few row groups in memory: at DuckDB's own size of 122,880 rows that is 400 MB. Compression
# would halve the file (354 MB for all of IDC) and double the time that it takes to write.
_PARQUET_OPTIONS = "FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 8192"
# Lines of text as they are: a CSV of one column in which nothing is quoted.
_TEXT_OPTIONS = "FORMAT csv, HEADER false, QUOTE '', ESCAPE ''"
# CSV does not tell an empty directory, that of a flat layout, from none.
_CSV_VALUES = {"directory": "coalesce(directory, '')"}
_TYPES = {"instanceCount": "BIGINT", "size_bytes": "BIGINT", "idc_version": "BIGINT"}
_URL = re.compile(r"s3://([a-z0-9.-]+)/([0-9a-f-]{36})/\*")
_PLAIN_DIRECTORY = r"[A-Za-z0-9_#@+=,-]+(/[A-Za-z0-9_#@+=,-][A-Za-z0-9_#@+=.,-]*[A-Za-z0-9_-])*"


class PlanFile:
    """The rows of a plan in a Parquet file; implements `PlanRows`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, database: Database, select: str, parameters: list[object]) -> PlanFile:
        """Write the rows of a SELECT, which must have `COLUMNS`, to a file that goes when the object does."""
        scratch = Path(tempfile.mkdtemp(prefix="dataset-dl-plan-"))
        rows = cls(scratch / "plan.parquet")
        weakref.finalize(rows, _remove, scratch, os.getpid())
        # The published index is a single row group, which DuckDB reads on one thread in any case; with more
        # of them it waits for the last row before it writes the first, and holds all.
        database.write(select, rows.path, _PARQUET_OPTIONS, parameters, threads=1)
        return rows

    def copy(self) -> PlanFile:
        """The same rows in a file of our own, for a file that will not stay."""
        return PlanFile.create(Database(), f"FROM {self.source}", [])

    def __iter__(self) -> Iterator[PlannedSeries]:
        names = ", ".join(PlannedSeries._fields)
        try:
            rows = Database().run(f"SELECT {names} FROM {self.source}")
        except duckdb.IOException as error:
            reason = str(error).splitlines()[0]
            raise ManifestError(str(self.path), f"The plan {self.path} cannot be read: {reason}.") from None
        return map(PlannedSeries._make, rows)

    @property
    def source(self) -> str:
        """The file as a source for SQL."""
        return f"read_parquet({quote(str(self.path))})"

    def plan(self, into: Path | None) -> Plan:
        """The plan over these rows, with its totals."""
        totals = Database().run(
            "SELECT count(*), coalesce(sum(instanceCount), 0)::BIGINT, coalesce(sum(size_bytes), 0)::BIGINT,"
            f" max(idc_version), count(*) FILTER (instanceCount = 0) FROM {self.source}"
        )
        series_count, instance_count, size_bytes, version, unsized = next(iter(totals))
        return Plan(series_count, instance_count, size_bytes, version, into, self, unsized)

    def groups(self) -> list[PlanGroup]:
        """Totals per collection and modality, largest first."""
        rows = Database().run(
            "SELECT collection_id, Modality, count(*), sum(instanceCount)::BIGINT, sum(size_bytes)::BIGINT"
            f" FROM {self.source} GROUP BY ALL ORDER BY 5 DESC, 1, 2"
        )
        return [PlanGroup._make(row) for row in rows]

    def shares(self) -> list[Share]:
        """Totals per collection, licence and work."""
        rows = Database().run(
            "SELECT collection_id, license_short_name, source_DOI, count(*), sum(size_bytes)::BIGINT"
            f" FROM {self.source} GROUP BY ALL"
        )
        return list(map(Share._make, rows))

    def directories(self) -> Iterator[tuple[str, int, int, int]]:
        """Each directory with the series, instances and bytes that go there."""
        yield from Database().run(
            "SELECT directory, count(*), sum(instanceCount)::BIGINT, sum(size_bytes)::BIGINT"
            f" FROM {self.source} GROUP BY directory ORDER BY directory"
        )

    def shares_directories(self) -> bool:
        """Whether two series go to one directory, on a file system that ignores letter case too."""
        # Hashes take a tenth of the memory; two that met by chance would only make a check slower.
        sql = f"SELECT count(DISTINCT hash(lower(directory))) < count(*) FROM {self.source}"
        return bool(Database().column(sql)[0])

    def needs_names(self) -> bool:
        """Whether a directory does not tell by its name, or not alone, which series its files are of."""
        own = "contains(directory, SeriesInstanceUID) OR contains(directory, crdc_series_uuid)"
        sql = f"SELECT count(*) > 0 FROM {self.source} WHERE NOT coalesce({own}, false)"
        return bool(Database().column(sql)[0]) or self.shares_directories()

    def replaced_in(self, path: Path) -> set[str]:
        """The crdc series uuids that go where the plan at `path` has an earlier version of the series."""
        sql = f"""
            SELECT new.crdc_series_uuid FROM {self.source} AS new
            JOIN {PlanFile(path).source} AS earlier USING (SeriesInstanceUID, directory)
            WHERE new.crdc_series_uuid <> earlier.crdc_series_uuid
        """
        try:
            return set(Database().column(sql)) if self._is_new_to(path) else set()
        except duckdb.Error:
            return set()  # none is there, or it is no plan

    def _is_new_to(self, path: Path) -> bool:
        row = "hash(crdc_series_uuid, directory)"
        earlier = f"SELECT {row} FROM {PlanFile(path).source}"
        sql = f"SELECT count(*) > 0 FROM {self.source} WHERE {row} NOT IN ({earlier})"
        return bool(Database().column(sql)[0])

    def lacks_directories(self) -> bool:
        """Whether a row has no directory yet."""
        return bool(Database().column(f"SELECT count(*) > count(directory) FROM {self.source}")[0])

    def unsized(self) -> list[PlannedSeries]:
        """The series of earlier IDC versions of which files and bytes are not known exactly."""
        names = ", ".join(PlannedSeries._fields)
        rows = Database().run(f"SELECT {names} FROM {self.source} WHERE instanceCount = 0")
        return list(map(PlannedSeries._make, rows))

    def sizes_in(self, path: Path) -> dict[str, tuple[int, int]]:
        """Of those that the plan at `path` knows, by crdc_series_uuid: how many files and bytes."""
        sql = f"""
            SELECT crdc_series_uuid, known.instanceCount, known.size_bytes FROM {self.source} AS own
            JOIN {PlanFile(path).source} AS known USING (crdc_series_uuid)
            WHERE own.instanceCount = 0 AND known.instanceCount > 0
        """
        try:
            return {uuid: (count, size) for uuid, count, size in Database().run(sql)}
        except duckdb.Error:
            return {}  # none is there, or it is no plan

    def sized(self, sizes: Mapping[str, tuple[int, int]]) -> Plan:
        """The plan with these files and bytes; a series of which they are still unknown is left out."""
        select = f"""
            SELECT own.* REPLACE (coalesce(known.files, own.instanceCount) AS instanceCount,
                                  coalesce(known.bytes, own.size_bytes) AS size_bytes)
            FROM {self.source} AS own LEFT JOIN
                (SELECT unnest($1::VARCHAR[]) AS uuid, unnest($2::BIGINT[]) AS files,
                        unnest($3::BIGINT[]) AS bytes) AS known ON known.uuid = own.crdc_series_uuid
            WHERE coalesce(known.files, own.instanceCount) > 0
        """
        counts, totals = zip(*sizes.values(), strict=True) if sizes else ((), ())
        return PlanFile.create(Database(), select, [list(sizes), list(counts), list(totals)]).plan(None)

    def longest_directory(self) -> str:
        """The directory with the most characters."""
        sql = f"SELECT max_by(directory, length(directory)) FROM {self.source}"
        return Database().column(sql)[0] or ""

    def only(self, directories: Sequence[str]) -> Plan:
        """The plan of the series that go to some directories."""
        select = f"FROM {self.source} WHERE directory IN (SELECT unnest($1::VARCHAR[]))"
        return PlanFile.create(Database(), select, [list(directories)]).plan(None)

    def save(self, path: Path) -> None:
        """Write to ``.parquet``, ``.csv`` or ``.s5cmd``; complete under its name or not there."""
        writers = {".parquet": self._copy, ".csv": self._write_csv, ".s5cmd": self._write_s5cmd}
        writer = writers.get(path.suffix.lower())
        if writer is None:
            raise ManifestError(
                str(path),
                f"A plan is not written to “{path.name}”, because the name does not say in which form.",
                "End it in .parquet, .csv or .s5cmd.",
            )
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            writer(part)
            part.replace(path)
        except (OSError, duckdb.IOException) as error:
            known = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
            reason = "there is no such directory" if not path.parent.is_dir() else known
            raise StorageError(str(path), f"The plan cannot be written to {path}: {reason}.") from None
        finally:
            part.unlink(missing_ok=True)

    def save_with(self, path: Path) -> None:
        """Write to ``.parquet``, with the series of the plan that is there and that this one lacks.

        An earlier version of a series that goes to the same directory is left out.
        """
        columns = ", ".join(COLUMNS)
        place = "hash(SeriesInstanceUID, directory)"
        select = f"""
            SELECT {columns} FROM {PlanFile(path).source}
            WHERE crdc_series_uuid NOT IN (SELECT crdc_series_uuid FROM {self.source})
            AND NOT coalesce({place} IN (SELECT {place} FROM {self.source}), false)
            UNION ALL SELECT {columns} FROM {self.source}
        """
        try:
            if not self._is_new_to(path):
                return
            rows = PlanFile.create(Database(), select, [])
        except duckdb.Error:
            rows = self  # none is there, or it is no plan
        rows.save(path)

    def to_pandas(self) -> pd.DataFrame:
        """Every row as a frame."""
        return Database().run(f"FROM {self.source}").to_pandas()

    def _copy(self, target: Path) -> None:
        # The rows of a plan are never changed in place, so a second name does as well as a second file.
        try:
            os.link(self.path, target)
        except OSError:
            shutil.copyfile(self.path, target)

    def _write_csv(self, target: Path) -> None:
        Database().write(f"FROM {self.source}", target, "FORMAT csv, HEADER")

    def _write_s5cmd(self, target: Path) -> None:
        directory = "CASE directory WHEN '' THEN './' ELSE './' || directory || '/' END"
        select = f"""
            SELECT {quote(manifest_header(self.plan(None).idc_version))} UNION ALL
            SELECT 'cp ' || {_shell_quoted("series_aws_url")} || ' ' || {_shell_quoted(directory)}
            FROM {self.source}
        """
        Database().write(select, target, _TEXT_OPTIONS)


def _shell_quoted(expression: str) -> str:
    """`manifest.shell_quote` in SQL."""
    mark, marked = quote("'"), quote("'\\''")
    return f"{mark} || replace({expression}, {mark}, {marked}) || {mark}"


def _remove(directory: Path, owner: int) -> None:
    # A forked child has the object too, but the file is its parent's.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


def open_plan(path: Path, name: str | None = None) -> PlanFile:
    """Open a plan that was saved as Parquet or CSV, after a look at every row.

    Raises
    ------
    ManifestError
        If it is no plan, or a row in it could lead out of the destination or of IDC's buckets.
    """
    name = name or str(path)
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    try:
        rows = PlanFile(path) if is_parquet else PlanFile.create(Database(), _csv_select(path), [])
        _check_rows(rows, name)
    except duckdb.BinderException:
        raise ManifestError(
            name, f"{name} is not a plan: it lacks columns that a plan has.", "Nothing was started."
        ) from None
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ManifestError(name, f"{name} is not a plan: {reason}.", "Nothing was started.") from None
    return rows


def _csv_select(path: Path) -> str:
    """The rows of a CSV file, its form said in full: a guess from its first lines misses a late quote."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    types = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in header)
    columns = ", ".join(
        f"CAST({_CSV_VALUES.get(column, column)} AS {_TYPES.get(column, 'VARCHAR')}) AS {column}"
        for column in COLUMNS
    )
    return (
        f"SELECT {columns} FROM read_csv({quote(str(path))}, header = true, auto_detect = false,"
        f" columns = {{{types}}},"
        " delim = ',', quote = '\"', escape = '\"')"
    )


def _check_rows(rows: PlanFile, name: str) -> None:
    """Let nothing through that a plan of our own could not hold."""
    ((count, uuid),) = Database().run(
        f"SELECT count(*), (SELECT crdc_series_uuid FROM {rows.source} GROUP BY 1 HAVING count(*) > 1"
        f" LIMIT 1) FROM {rows.source}"
    )
    if count == 0:
        raise ManifestError(name, f"{name} holds no series, so nothing was started.")
    if uuid is not None:
        raise ManifestError(name, f"The series {uuid} stands more than once in {name}; nothing was started.")
    buckets = "|".join(re.escape(bucket) for bucket in IDC_BUCKETS)
    doubtful = Database().run(
        f"SELECT file_row_number + 1, series_aws_url, crdc_series_uuid, directory, instanceCount, size_bytes"
        f" FROM read_parquet({quote(str(rows.path))}, file_row_number = true)"
        " WHERE NOT coalesce(instanceCount > 0 AND size_bytes >= 0"
        f" AND regexp_full_match(series_aws_url, 's3://({buckets})/[0-9a-f-]{{36}}/\\*')"
        " AND contains(series_aws_url, '/' || crdc_series_uuid || '/')"
        " AND regexp_full_match(directory, $1), false)",
        [_PLAIN_DIRECTORY],
    )
    unsized = [series.crdc_series_uuid for series in rows.unsized()]
    earlier = with_earlier(Database(), unsized, [])[1] if unsized else set()
    for number, url, uuid, directory, count, size in doubtful:
        if problem := _row_problem(url, uuid, directory, count, size, uuid in earlier):
            raise ManifestError(
                name, f"Row {number} of {name} is wrong: {problem}.", "Nothing was started.", number
            )


def _row_problem(
    url: str | None,
    uuid: str | None,
    directory: str | None,
    count: int | None,
    size: int | None,
    earlier: bool,
) -> str | None:
    match = _URL.fullmatch(url or "")
    if match is None or match[2] != uuid:
        return f"{url} is not the address of the series {uuid}"
    if match[1] not in IDC_BUCKETS:
        return f"{match[1]} is not a bucket of IDC"
    if count is None or count < 0 or size is None or size < 0 or (count == 0 and not earlier):
        return "it does not say how many files and bytes the series has"
    if directory is None:
        return "it names no directory"
    reason = check_directory(directory)
    return f"its directory “{directory}” is refused because {reason}" if reason else None
