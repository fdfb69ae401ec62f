"""A plan as a Parquet file: written once, read in batches, never held in memory."""

from __future__ import annotations

import csv
import functools
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.index.database import Database, first_line, quote
from dataset_dl.index.versions import with_earlier
from dataset_dl.layout import check_directory
from dataset_dl.manifest.lines import manifest_header
from dataset_dl.model import Plan, PlanGroup, PlannedSeries, Share, Size, file_sizes
from dataset_dl.network import IDC_BUCKETS

if TYPE_CHECKING:
    from dataset_dl.frame import Frame

COLUMNS = (*PlannedSeries._fields, "idc_version")
# Of these: what the main index has by the same name.
FROM_INDEX = PlannedSeries._fields[: PlannedSeries._fields.index("directory")]
# The address is put together again from its parts, as IDC does, for it would be the largest column to read.
AS_THEY_ARE = tuple(name for name in FROM_INDEX if name != "series_aws_url")
ADDRESS = "'s3://' || aws_bucket || '/' || crdc_series_uuid || '/*' AS series_aws_url"
SIZE_BYTES = "round(series_size_MB * 1e6)::BIGINT"
# Reading holds a few row groups in memory: at DuckDB's own size of 122,880 rows that is 400 MB. Compression
# would halve the file (354 MB for all of IDC) and double the time that it takes to write.
_PARQUET_OPTIONS = "FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 8192"
# Lines of text as they are: a CSV of one column in which nothing is quoted.
_TEXT_OPTIONS = "FORMAT csv, HEADER false, QUOTE '', ESCAPE ''"
# CSV does not tell an empty directory, that of a flat layout, from none.
_CSV_VALUES = {"directory": "coalesce(directory, '')"}
_TYPES = {"instanceCount": "BIGINT", "size_bytes": "BIGINT", "idc_version": "BIGINT"}
_URL = re.compile(r"s3://([a-z0-9.-]+)/([0-9a-f-]{36})/\*")
FILES = re.compile(r"{0}(/{0})*".format(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.dcm:[0-9]*"))
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
            reason = first_line(error)
            raise ManifestError(str(self.path), f"The plan {self.path} cannot be read: {reason}.") from None
        return map(PlannedSeries._make, rows)

    @property
    def source(self) -> str:
        """The file as a source for SQL."""
        return self._table()

    @property
    def numbered(self) -> str:
        """The same, with `file_row_number` from 0."""
        return self._table(", file_row_number = true")

    def _table(self, options: str = "") -> str:
        table = f"read_parquet({quote(str(self.path))}{options})"
        return table if self._tells_files else f"(SELECT *, NULL::VARCHAR AS files FROM {table})"

    @functools.cached_property
    def _tells_files(self) -> bool:
        """Whether there can be files in it; the first plans had none."""
        columns = parquet_columns(self.path)
        return columns is None or "files" in columns

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
        row = "hash(crdc_series_uuid, directory, instanceCount, coalesce(files, ''))"
        earlier = f"SELECT {row} FROM {PlanFile(path).source}"
        sql = f"SELECT count(*) > 0 FROM {self.source} WHERE {row} NOT IN ({earlier})"
        return bool(Database().column(sql)[0])

    def lacks_directories(self) -> bool:
        """Whether a row has no directory yet."""
        return bool(Database().column(f"SELECT count(*) > count(directory) FROM {self.source}")[0])

    def unsized(self) -> list[PlannedSeries]:
        """The series of which files and bytes are not known exactly."""
        names = ", ".join(PlannedSeries._fields)
        rows = Database().run(f"SELECT {names} FROM {self.source} WHERE instanceCount = 0")
        return list(map(PlannedSeries._make, rows))

    def sizes_in(self, path: Path) -> dict[str, Size]:
        """Of those that the plan at `path` knows, by crdc_series_uuid."""
        names = ", ".join(f"known.{name}" for name in Size._fields)
        sql = f"""
            SELECT crdc_series_uuid, own.files, {names} FROM {self.source} AS own
            JOIN {PlanFile(path).source} AS known USING (crdc_series_uuid)
            WHERE own.instanceCount = 0 AND known.instanceCount > 0
            AND (own.files IS NULL) = (known.files IS NULL)
        """
        sizes = {}
        try:
            for uuid, files, *known in Database().run(sql):
                sizes[uuid] = Size(*known) if files is None else _size_of(files, known[-1])
        except duckdb.Error:
            return {}  # none is there, or it is no plan
        return {uuid: size for uuid, size in sizes.items() if size is not None}

    def sized(self, sizes: Mapping[str, Size]) -> Plan:
        """The plan with these files and bytes; a series of which they are still unknown is left out."""
        exact = ", ".join(f"coalesce(known.{name}, own.{name}) AS {name}" for name in Size._fields)
        select = f"""
            SELECT own.* REPLACE ({exact}) FROM {self.source} AS own LEFT JOIN
                (SELECT unnest($1::VARCHAR[]) AS uuid, unnest($2::BIGINT[]) AS instanceCount,
                        unnest($3::BIGINT[]) AS size_bytes, unnest($4::VARCHAR[]) AS files) AS known
            ON known.uuid = own.crdc_series_uuid
            WHERE coalesce(known.instanceCount, own.instanceCount) > 0
        """
        columns = [list(each) for each in zip(*sizes.values(), strict=True)] or [[], [], []]
        return PlanFile.create(Database(), select, [list(sizes), *columns]).plan(None)

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
            known = error.strerror if isinstance(error, OSError) else first_line(error)
            reason = "there is no such directory" if not path.parent.is_dir() else known
            raise StorageError(str(path), f"The plan cannot be written to {path}: {reason}.") from None
        finally:
            part.unlink(missing_ok=True)

    def elsewhere_in(self, path: Path) -> int:
        """How many of the series the plan at `path` has in other directories."""
        sql = f"""
            SELECT count(*) FROM {self.source} AS own
            JOIN {PlanFile(path).source} AS was USING (crdc_series_uuid)
            WHERE own.directory <> was.directory
        """
        try:
            count: int = Database().column(sql)[0]
        except duckdb.Error:
            return 0  # none is there, or it is no plan
        return count

    def save_with(self, path: Path) -> Path | None:
        """Write to ``.parquet``, with the series of the plan that is there and that this one lacks.

        An earlier version of a series that goes to the same directory is left out; of a series of which
        files were asked for, all that ever were are in it. Returns where a file was moved to that was there
        and is no plan.
        """
        if not set(COLUMNS) <= {*(parquet_columns(path) or ()), "files"}:
            set_aside = path.with_suffix(".damaged") if path.exists() else None
            if set_aside is not None:
                path.replace(set_aside)
            self.save(path)
            return set_aside
        columns = ", ".join(COLUMNS)
        earlier = PlanFile(path).source
        own = self._with_files_of(earlier) if self._names_files() else self.source
        # Where a whole series goes, no earlier version of it stays.
        place = "hash(SeriesInstanceUID, directory)"
        select = f"""
            SELECT {columns} FROM {earlier}
            WHERE crdc_series_uuid NOT IN (SELECT crdc_series_uuid FROM {own})
            AND {place} NOT IN (SELECT {place} FROM {own} WHERE files IS NULL)
            UNION ALL SELECT {columns} FROM {own}
        """
        try:
            if self._is_new_to(path):
                PlanFile.create(Database(), select, []).save(path)
        except duckdb.Error as error:
            reason = first_line(error)
            raise StorageError(
                str(path), f"What was asked for cannot be added to {path}: {reason}.", "Nothing was fetched."
            ) from None
        return None

    def _names_files(self) -> bool:
        return bool(Database().column(f"SELECT count(files) > 0 FROM {self.source}")[0])

    def _with_files_of(self, earlier: str) -> str:
        """The rows, as a source for SQL, for an earlier plan to be put beside them.

        A series of which it has all is left to it; one of which it has files there too, gets all of them.
        """
        both = f"SELECT * FROM {self.source} UNION ALL BY NAME SELECT * FROM {earlier}"
        files = f"""
            SELECT crdc_series_uuid AS uuid, unnest(string_split(files, '/')) AS file FROM ({both})
            WHERE (crdc_series_uuid, directory) IN (SELECT (crdc_series_uuid, directory) FROM {self.source})
        """
        return f"""(
            SELECT own.* REPLACE (coalesce(part.instances, instanceCount) AS instanceCount,
                                  coalesce(part.bytes, size_bytes) AS size_bytes,
                                  coalesce(part.files, own.files) AS files)
            FROM {self.source} AS own LEFT JOIN ({parts(files)}) AS part
            ON part.uuid = crdc_series_uuid AND own.files IS NOT NULL
            WHERE own.files IS NULL
            OR crdc_series_uuid NOT IN (SELECT crdc_series_uuid FROM {earlier} WHERE files IS NULL)
        )"""

    def to_pandas(self) -> Frame:
        """Every row as a frame."""
        from dataset_dl.frame import Frame

        return Frame.of(lambda: Database().run(f"FROM {self.source}"))

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
        rows = f"(SELECT directory, series_aws_url AS url FROM {self.source})"
        if self._names_files():
            address = "rtrim(series_aws_url, '*') || split_part(f, ':', 1)"
            several = f"list_transform(string_split(files, '/'), lambda f: {address})"
            urls = f"unnest(CASE WHEN files IS NULL THEN [series_aws_url] ELSE {several} END)"
            rows = f"(SELECT directory, {urls} AS url FROM {self.source})"
        select = f"""
            SELECT {quote(manifest_header(self.plan(None).idc_version))} UNION ALL
            SELECT 'cp ' || {_shell_quoted("url")} || ' ' || {_shell_quoted(directory)} FROM {rows}
        """
        Database().write(select, target, _TEXT_OPTIONS)


def parts(select: str) -> str:
    """Files as `PlannedSeries.files` tells them, in SQL: from `uuid` and `file`, each series once.

    It has `uuid`, `files`, how many `instances` that are (0 where a size is not known) and their `bytes`.
    """
    return f"""
        SELECT uuid, string_agg(name || ':' || coalesce(size::VARCHAR, ''), '/' ORDER BY name) AS files,
               CASE WHEN count(size) = count(*) THEN count(*) ELSE 0 END AS instances,
               coalesce(sum(size), 0)::BIGINT AS bytes
        FROM (SELECT uuid, split_part(file, ':', 1) AS name,
                     max(TRY_CAST(split_part(file, ':', 2) AS BIGINT)) AS size
              FROM ({select}) GROUP BY ALL)
        GROUP BY uuid
    """


def each_once(select: str) -> str:
    """Rows with `COLUMNS`, in SQL, as rows with each series once: all of it, or every file that is wanted."""
    columns = ", ".join(f"own.{name}" for name in COLUMNS if name not in Size._fields)
    files = f"""
        SELECT crdc_series_uuid AS uuid, unnest(string_split(files, '/')) AS file FROM ({select})
    """
    return f"""
        SELECT {columns}, coalesce(part.instances, instanceCount) AS instanceCount,
               coalesce(part.bytes, size_bytes) AS size_bytes, coalesce(part.files, own.files) AS files
        FROM (SELECT DISTINCT ON (crdc_series_uuid) * FROM ({select})
              ORDER BY files IS NOT NULL, directory) AS own
        LEFT JOIN ({parts(files)}) AS part ON part.uuid = crdc_series_uuid AND own.files IS NOT NULL
        ORDER BY directory
    """


def _size_of(files: str, known: str) -> Size | None:
    """The exact size of named files, told from those that are known; None if one is not among them."""
    sizes = {name: size for name, size in file_sizes(known).items() if size is not None}
    names = file_sizes(files).keys()
    return Size.of({name: sizes[name] for name in names}, named=True) if names <= sizes.keys() else None


def _shell_quoted(expression: str) -> str:
    """`manifest.shell_quote` in SQL."""
    mark, marked = quote("'"), quote("'\\''")
    return f"{mark} || replace({expression}, {mark}, {marked}) || {mark}"


def _remove(directory: Path, owner: int) -> None:
    # A forked child has the object too, but the file is its parent's.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


def open_plan(path: Path, name: str | None = None, *, may_be_empty: bool = False) -> PlanFile:
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
        _check_rows(rows, name, may_be_empty=may_be_empty)
    except duckdb.BinderException:
        raise ManifestError(
            name, f"{name} is not a plan: it lacks columns that a plan has.", "Nothing was started."
        ) from None
    except duckdb.Error as error:
        reason = first_line(error).rstrip(".")
        raise ManifestError(name, f"{name} is not a plan: {reason}.", "Nothing was started.") from None
    return rows


def parquet_columns(path: Path) -> list[str] | None:
    """The columns of a Parquet file; None if it is none."""
    try:
        return Database().column(f"DESCRIBE FROM read_parquet({quote(str(path))})")
    except duckdb.Error:
        return None


def parquet_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """The rows of a Parquet file."""
    yield from Database().run(f"FROM read_parquet({quote(str(path))})")


def _csv_select(path: Path) -> str:
    """The rows of a CSV file, its form said in full: a guess from its first lines misses a late quote."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    types = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in header)
    values = _CSV_VALUES | ({} if "files" in header else {"files": "NULL"})
    columns = ", ".join(
        f"CAST({values.get(column, column)} AS {_TYPES.get(column, 'VARCHAR')}) AS {column}"
        for column in COLUMNS
    )
    return (
        f"SELECT {columns} FROM read_csv({quote(str(path))}, header = true, auto_detect = false,"
        f" columns = {{{types}}},"
        " delim = ',', quote = '\"', escape = '\"')"
    )


def _check_rows(rows: PlanFile, name: str, *, may_be_empty: bool) -> None:
    """Let nothing through that a plan of our own could not hold."""
    ((count, uuid),) = Database().run(
        f"SELECT count(*), (SELECT crdc_series_uuid FROM {rows.source} GROUP BY 1 HAVING count(*) > 1"
        f" LIMIT 1) FROM {rows.source}"
    )
    if count == 0 and not may_be_empty:
        raise ManifestError(name, f"{name} holds no series, so nothing was started.")
    if uuid is not None:
        raise ManifestError(name, f"The series {uuid} stands more than once in {name}; nothing was started.")
    buckets = "|".join(re.escape(bucket) for bucket in IDC_BUCKETS)
    doubtful = Database().run(
        "SELECT file_row_number + 1, series_aws_url, crdc_series_uuid, directory, instanceCount, size_bytes,"
        f" files, SeriesInstanceUID IS NULL FROM {rows.numbered}"
        " WHERE files IS NOT NULL OR SeriesInstanceUID IS NULL OR NOT coalesce("
        "instanceCount > 0 AND size_bytes >= 0"
        f" AND regexp_full_match(series_aws_url, 's3://({buckets})/[0-9a-f-]{{36}}/\\*')"
        " AND contains(series_aws_url, '/' || crdc_series_uuid || '/')"
        " AND regexp_full_match(directory, $1), false)",
        [_PLAIN_DIRECTORY],
    )
    unsized = [series.crdc_series_uuid for series in rows.unsized()]
    earlier = with_earlier(Database(), unsized, [])[1] if unsized else set()
    for number, url, uuid, directory, count, size, files, is_nameless in doubtful:
        problem = (
            "it names no SeriesInstanceUID"
            if is_nameless
            else _row_problem(url, uuid, directory, count, size, uuid in earlier or files is not None)
        )
        if problem := problem or (files and _files_problem(files, count, size)):
            raise ManifestError(
                name, f"Row {number} of {name} is wrong: {problem}.", "Nothing was started.", number
            )


def _row_problem(
    url: str | None,
    uuid: str | None,
    directory: str | None,
    count: int | None,
    size: int | None,
    may_be_unsized: bool,
) -> str | None:
    match = _URL.fullmatch(url or "")
    if match is None or match[2] != uuid:
        return f"{url} is not the address of the series {uuid}"
    if match[1] not in IDC_BUCKETS:
        return f"{match[1]} is not a bucket of IDC"
    if count is None or count < 0 or size is None or size < 0 or (count == 0 and not may_be_unsized):
        return "it does not say how many files and bytes the series has"
    if directory is None:
        return "it names no directory"
    reason = check_directory(directory)
    return f"its directory “{directory}” is refused because {reason}" if reason else None


def _files_problem(files: str, count: int, size_bytes: int) -> str | None:
    if not FILES.fullmatch(files):
        return "its files are not told as NAME.dcm:BYTES/NAME.dcm:BYTES"
    sizes = file_sizes(files)
    if len(sizes) <= files.count("/"):
        return "it names a file more than once"
    if count == 0:
        return None
    told = [size for size in sizes.values() if size is not None]
    is_exact = len(told) == len(sizes) == count and sum(told) == size_bytes
    return None if is_exact else "its files are not as many, or not of as many bytes, as it says"
