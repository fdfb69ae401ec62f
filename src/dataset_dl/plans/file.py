"""A plan as a Parquet file: written once, read in batches, never held in memory."""

from __future__ import annotations

import functools
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dataset_dl.duck import Database, DuckError, DuckFileError, DuckNameError, first_line, quote
from dataset_dl.engines.s5cmd.lines import manifest_header
from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.model.plan import Origin, Plan, PlanGroup, Share
from dataset_dl.model.series import PlannedSeries, Size, file_sizes
from dataset_dl.network import IDC_BUCKETS
from dataset_dl.plans.layout import PLAIN_DIRECTORY_LIMIT, check_directory, has_control
from dataset_dl.scratch import Scratch, scratch_error, writing_scratch
from dataset_dl.sources.idc.versions import with_earlier

if TYPE_CHECKING:
    from dataset_dl.model.frame import Frame

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
# The key of the file's own metadata that keeps its `Origin`, as JSON.
_METADATA = "dataset_dl"
# More than all of IDC will have; sums of them stay whole numbers of 64 bits.
_MOST_INSTANCES, _MOST_BYTES = 10**9, 10**15
_COPY_BYTES = 1 << 22
_NOTHING = "Nothing was started."
_URL = re.compile(r"s3://([a-z0-9.-]+)/([0-9a-f-]{36})/\*")
FILES = re.compile(r"{0}(/{0})*".format(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.dcm:[0-9]*"))
_PLAIN_DIRECTORY = r"[A-Za-z0-9_#@+=,-]+(/[A-Za-z0-9_#@+=,-][A-Za-z0-9_#@+=.,-]*[A-Za-z0-9_-])*"


class PlanFile:
    """The rows of a plan, in a Parquet file of our own that nobody else writes to.

    Parameters
    ----------
    scratch
        The temporary directory that holds the file, and goes with the object.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.path = scratch.path / "plan.parquet"

    @classmethod
    def create(
        cls, database: Database, select: str, parameters: list[object], origin: Origin | None = None
    ) -> PlanFile:
        """Write the rows of a SELECT, which must have `COLUMNS`, and what they were made from."""
        rows = cls(Scratch("plan"))
        options = _parquet_options(origin or Origin())
        # The published index is a single row group, which DuckDB reads on one thread in any case; with more
        # of them it waits for the last row before it writes the first, and holds all.
        _write(select, rows.path, options, database=database, parameters=parameters, threads=1)
        return rows

    @classmethod
    def copy_of(cls, path: Path, name: str | None = None) -> PlanFile:
        """The rows of a file that others may change, in a copy; nothing is checked.

        Raises
        ------
        ManifestError
            If it is no file, or cannot be read.
        """
        rows = cls(Scratch("plan"))
        copy_file(path, rows.path, name or str(path))
        return rows

    @functools.cached_property
    def origin(self) -> Origin:
        """What the rows were made from, as the file says; nothing if it does not.

        Raises
        ------
        ManifestError
            If it says something else.
        """
        sql = f"SELECT value FROM parquet_kv_metadata({quote(str(self.path))}) WHERE key = '{_METADATA}'"
        values = Database().column(sql)
        try:
            return msgspec.json.decode(values[0], type=Origin) if values else Origin()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ManifestError(
                str(self.path), f"The metadata of the plan is damaged ({error}).", "Nothing was started."
            ) from None

    def __iter__(self) -> Iterator[PlannedSeries]:
        names = ", ".join(PlannedSeries._fields)
        try:
            rows = Database().run(f"SELECT {names} FROM {self.source}")
        except DuckFileError as error:
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
        origin = self.origin
        totals = Database().run(
            "SELECT count(*), coalesce(sum(instanceCount), 0)::BIGINT, coalesce(sum(size_bytes), 0)::BIGINT,"
            f" max(idc_version), count(*) FILTER (instanceCount = 0) FROM {self.source}"
        )
        series_count, instance_count, size_bytes, version, unsized = next(iter(totals))
        return Plan(series_count, instance_count, size_bytes, version, into, self, unsized, origin)

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

    def replaced_in(self, kept: PlanFile) -> set[str]:
        """The crdc series uuids that go where another plan has an earlier version of the series."""
        sql = f"""
            SELECT new.crdc_series_uuid FROM {self.source} AS new
            JOIN {kept.source} AS earlier USING (SeriesInstanceUID, directory)
            WHERE new.crdc_series_uuid <> earlier.crdc_series_uuid
        """
        return set(Database().column(sql)) if self.is_new_to(kept) else set()

    def is_new_to(self, kept: PlanFile) -> bool:
        """Whether another plan lacks something of this one."""
        row = "hash(crdc_series_uuid, directory, instanceCount, coalesce(files, ''))"
        earlier = f"SELECT {row} FROM {kept.source}"
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

    def sizes_in(self, kept: PlanFile) -> dict[str, Size]:
        """Of those that another plan knows, by crdc_series_uuid."""
        names = ", ".join(f"known.{name}" for name in Size._fields)
        sql = f"""
            SELECT crdc_series_uuid, own.files, {names} FROM {self.source} AS own
            JOIN {kept.source} AS known USING (crdc_series_uuid)
            WHERE own.instanceCount = 0 AND known.instanceCount > 0
            AND (own.files IS NULL) = (known.files IS NULL)
        """
        sizes = {
            uuid: Size(*known) if files is None else _size_of(files, known[-1])
            for uuid, files, *known in Database().run(sql)
        }
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
        return PlanFile.create(Database(), select, [list(sizes), *columns], self.origin).plan(None)

    def longest_directory(self) -> str:
        """The directory with the most characters."""
        sql = f"SELECT max_by(directory, length(directory)) FROM {self.source}"
        return Database().column(sql)[0] or ""

    def only(self, directories: Sequence[str]) -> Plan:
        """The plan of the series that go to some directories."""
        select = f"FROM {self.source} WHERE directory IN (SELECT unnest($1::VARCHAR[]))"
        return PlanFile.create(Database(), select, [list(directories)]).plan(None)

    def save(self, path: Path, origin: Origin | None = None) -> None:
        """Write to ``.parquet``, ``.csv`` or ``.s5cmd``; complete under its name or not there.

        A Parquet file keeps what the plan was made from: what these rows say of it, unless it is given.
        """
        writers: dict[str, Callable[[Path], Path]] = {
            ".parquet": functools.partial(self._write_parquet, origin=origin),
            ".csv": self._write_csv,
            ".s5cmd": self._write_s5cmd,
        }
        writer = writers.get(path.suffix.lower())
        if writer is None:
            raise ManifestError(
                str(path),
                f"A plan is not written to “{path.name}”, because the name does not say in which form.",
                "End it in .parquet, .csv or .s5cmd.",
            )
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with Scratch("save") as scratch:
            # DuckDB takes no name that is not UTF-8, and where it writes there is no other reason to fail.
            written = writer(scratch / "plan")
            try:
                shutil.copyfile(written, part)
                part.replace(path)
            except OSError as error:
                reason = "there is no such directory" if not path.parent.is_dir() else error.strerror
                raise StorageError(str(path), f"The plan cannot be written to {path}: {reason}.") from None
            finally:
                part.unlink(missing_ok=True)

    def elsewhere_in(self, kept: PlanFile) -> int:
        """How many of the series another plan has in other directories."""
        sql = f"""
            SELECT count(*) FROM {self.source} AS own JOIN {kept.source} AS was USING (crdc_series_uuid)
            WHERE own.directory <> was.directory
        """
        count: int = Database().column(sql)[0]
        return count

    def joined_with(self, kept: PlanFile) -> PlanFile:
        """These rows, and those of an earlier plan that are not among them.

        An earlier version of a series that goes to the same directory is left out; of a series of which
        files were asked for, all that ever were are in it.
        """
        columns = ", ".join(COLUMNS)
        own = self._with_files_of(kept.source) if self._names_files() else self.source
        # Where a whole series goes, no earlier version of it stays.
        place = "hash(SeriesInstanceUID, directory)"
        select = f"""
            SELECT {columns} FROM {kept.source}
            WHERE crdc_series_uuid NOT IN (SELECT crdc_series_uuid FROM {own})
            AND {place} NOT IN (SELECT {place} FROM {own} WHERE files IS NULL)
            UNION ALL SELECT {columns} FROM {own}
        """
        return PlanFile.create(Database(), select, [])

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
        from dataset_dl.model.frame import Frame

        return Frame.of(lambda: Database().run(f"FROM {self.source}"))

    def _write_parquet(self, scratch: Path, origin: Origin | None) -> Path:
        if origin is None or origin == self.origin:
            # It is copied, never given a second name: whoever changed one would change the other.
            return self.path
        return _write(f"FROM {self.source}", scratch, _parquet_options(origin), threads=1)

    def _write_csv(self, scratch: Path) -> Path:
        return _write(f"FROM {self.source}", scratch, "FORMAT csv, HEADER")

    def _write_s5cmd(self, scratch: Path) -> Path:
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
        return _write(select, scratch, _TEXT_OPTIONS)


def _write(
    select: str,
    path: Path,
    options: str,
    *,
    database: Database | None = None,
    parameters: Sequence[object] = (),
    threads: int | None = None,
) -> Path:
    """Write rows to a file in a temporary directory; returns the file."""
    try:
        (database or Database()).write(select, path, options, parameters, threads=threads)
    except DuckFileError as error:
        if str(path) in str(error):
            raise scratch_error(first_line(error)) from None
        raise
    return path


def _parquet_options(origin: Origin) -> str:
    text = msgspec.json.encode(origin).decode()
    return f"{_PARQUET_OPTIONS}, KV_METADATA {{{_METADATA}: {quote(text)}}}"


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


def copy_file(path: Path, target: Path, name: str) -> None:
    """Copy a file as it is now, opened once; what is no file, like a pipe without a writer, is refused.

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
                name, f"{name}, which should be a plan or a manifest, is no file that can be read.", _NOTHING
            )
        with writing_scratch(), target.open("wb") as copy:
            shutil.copyfileobj(file, copy, _COPY_BYTES)


def open_plan(path: Path, name: str | None = None, *, may_be_empty: bool = False) -> PlanFile:
    """Copy a plan that was saved as Parquet, and look at every row of the copy.

    Raises
    ------
    ManifestError
        If it is no plan, or a row in it could lead out of the destination or of IDC's buckets.
    """
    name = name or str(path)
    copied = PlanFile.copy_of(path, name)
    with _of_a_plan(name):
        rows = copied
        described = dict(
            row[:2] for row in Database().run(f"DESCRIBE FROM read_parquet({quote(str(copied.path))})")
        )
        if any(described.get(column) not in (None, _type_of(column)) for column in COLUMNS):
            columns = ", ".join(f"CAST({each} AS {_type_of(each)}) AS {each}" for each in COLUMNS)
            rows = PlanFile.create(Database(), f"SELECT {columns} FROM {copied.source}", [], copied.origin)
        _check_rows(rows, name, may_be_empty=may_be_empty)
        _ = rows.origin
    return rows


def open_table(path: Path, name: str, header: Sequence[str], delimiter: str) -> PlanFile:
    """Read a plan that was saved as CSV, and look at every row; its lines are those of the rows."""
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


def _type_of(column: str) -> str:
    return _TYPES.get(column, "VARCHAR")


def lacks_columns(path: Path) -> bool:
    """Whether a file is no Parquet file with the columns of a plan; the first plans told no files."""
    return not set(COLUMNS) <= {*(parquet_columns(path) or ()), "files"}


def parquet_columns(path: Path) -> list[str] | None:
    """The columns of a Parquet file; None if it is none."""
    try:
        return Database().column(f"DESCRIBE FROM read_parquet({quote(str(path))})")
    except DuckError:
        return None


def parquet_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """The rows of a Parquet file."""
    yield from Database().run(f"FROM read_parquet({quote(str(path))})")


def _csv_select(path: Path, header: Sequence[str], delimiter: str) -> str:
    """The rows of a CSV file, its form said in full: a guess from its first lines misses a late quote."""
    types = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in header)
    values = _CSV_VALUES | ({} if "files" in header else {"files": "NULL"})
    columns = ", ".join(
        f"CAST({values.get(column, column)} AS {_type_of(column)}) AS {column}" for column in COLUMNS
    )
    return (
        f"SELECT {columns} FROM read_csv({quote(str(path))}, header = true, auto_detect = false,"
        f" columns = {{{types}}},"
        f" delim = {quote(delimiter)},"
        " quote = '\"', escape = '\"')"
    )


def _check_rows(rows: PlanFile, name: str, *, may_be_empty: bool) -> None:
    """Let nothing through that a plan of our own could not hold."""
    ((count, uuid),) = Database().run(
        f"SELECT count(*), (SELECT crdc_series_uuid FROM {rows.source} GROUP BY 1 HAVING count(*) > 1"
        f" LIMIT 1) FROM {rows.source}"
    )
    if count == 0 and not (may_be_empty or rows.origin.missing):
        raise ManifestError(name, f"{name} holds no series, so nothing was started.")
    if uuid is not None:
        raise ManifestError(name, f"The series {uuid} stands more than once in {name}; nothing was started.")
    buckets = "|".join(re.escape(bucket) for bucket in IDC_BUCKETS)
    texts = " || ".join(f"coalesce({name}, '')" for name in COLUMNS if _type_of(name) == "VARCHAR")
    doubtful = Database().run(
        "SELECT file_row_number + 1, series_aws_url, crdc_series_uuid, directory, instanceCount, size_bytes,"
        f" files, SeriesInstanceUID IS NULL, {texts} FROM {rows.numbered}"
        " WHERE files IS NOT NULL OR SeriesInstanceUID IS NULL OR NOT coalesce("
        f"instanceCount > 0 AND instanceCount < {_MOST_INSTANCES}"
        f" AND size_bytes >= 0 AND size_bytes < {_MOST_BYTES}"
        f" AND regexp_full_match(series_aws_url, 's3://({buckets})/[0-9a-f-]{{36}}/\\*')"
        " AND contains(series_aws_url, '/' || crdc_series_uuid || '/')"
        f" AND regexp_full_match({texts}, '[ -~]*')"
        f" AND strlen(directory) <= {PLAIN_DIRECTORY_LIMIT} AND regexp_full_match(directory, $1), false)",
        [_PLAIN_DIRECTORY],
    )
    unsized = [series.crdc_series_uuid for series in rows.unsized()]
    earlier = with_earlier(Database(), unsized, [])[1] if unsized else set()
    for number, url, uuid, directory, count, size, files, is_nameless, text in doubtful:
        problem = (
            "it names no SeriesInstanceUID"
            if is_nameless
            else _row_problem(url, uuid, directory, count, size, uuid in earlier or files is not None)
        )
        if not problem and has_control(text):
            problem = "it holds a control character"
        if problem := problem or (files and _files_problem(files, count, size)):
            raise ManifestError(name, f"Row {number} of {name} is wrong: {problem}.", _NOTHING, number)


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
    if count >= _MOST_INSTANCES or size >= _MOST_BYTES:
        return "no series has so many files or bytes"
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
