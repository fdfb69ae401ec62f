"""A plan as a Parquet file: written once, read in batches, never held in memory."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dataset_dl.duck import Database, DuckFileError, first_line, quote
from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.model.plan import Origin, Plan, PlanGroup, Share
from dataset_dl.model.series import PlannedSeries, Size
from dataset_dl.plans.columns import type_of
from dataset_dl.scratch import Scratch, scratch_error

if TYPE_CHECKING:
    from dataset_dl.model.frame import Frame

# Reading holds a few row groups in memory: at DuckDB's own size of 122,880 rows that is 400 MB. Compression
# would halve the file (354 MB for all of IDC) and double the time to write it.
_PARQUET_OPTIONS = "FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 8192"
# Writes lines of text unchanged: a CSV of one column without quoting.
_TEXT_OPTIONS = "FORMAT csv, HEADER false, QUOTE '', ESCAPE ''"
# The key in the file's metadata that holds its `Origin` as JSON.
_METADATA = "dataset_dl"
_INSERT_BATCH = 50_000


class PlanFile:
    """The rows of a plan, in a private Parquet file that nobody else writes to.

    Parameters
    ----------
    scratch
        The temporary directory that holds the file; it is deleted with this object.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.path = scratch.path / "plan.parquet"

    @classmethod
    def create(
        cls, database: Database, select: str, parameters: list[object], origin: Origin | None = None
    ) -> PlanFile:
        """Write the rows of a SELECT, which must have `COLUMNS`, and their origin."""
        rows = cls(Scratch("plan"))
        options = _parquet_options(origin or Origin())
        # The published index is a single row group, which DuckDB reads on one thread anyway. With more
        # threads it holds all rows in memory, because it reads the last before it writes the first.
        _write(select, rows.path, options, database=database, parameters=parameters, threads=1)
        return rows

    @classmethod
    def of(
        cls, series: Iterable[PlannedSeries], origin: Origin | None = None, *, idc_version: int | None = None
    ) -> PlanFile:
        """Write rows that were made in Python, such as those a source returns."""
        database = Database()
        columns = ", ".join(f"{name} {type_of(name)}" for name in PlannedSeries._fields)
        database.run(f"CREATE TEMP TABLE given ({columns})")
        values = ", ".join(f"unnest(?::{type_of(name)}[])" for name in PlannedSeries._fields)
        several = iter(series)
        while batch := list(islice(several, _INSERT_BATCH)):
            database.run(
                f"INSERT INTO given SELECT {values}", [list(each) for each in zip(*batch, strict=True)]
            )
        version = "NULL" if idc_version is None else str(int(idc_version))
        return cls.create(database, f"SELECT *, {version}::BIGINT AS idc_version FROM given", [], origin)

    @functools.cached_property
    def origin(self) -> Origin:
        """What the rows were made from, read from the file's metadata; empty if it has none.

        Raises
        ------
        ManifestError
            If the metadata cannot be decoded.
        """
        return origin_in(self.path)

    def __iter__(self) -> Iterator[PlannedSeries]:
        names = ", ".join(PlannedSeries._fields)
        try:
            rows = Database().run(f"SELECT {names} FROM {self.sql}")
        except DuckFileError as error:
            reason = first_line(error)
            raise ManifestError(str(self.path), f"The plan {self.path} cannot be read: {reason}.") from None
        return map(PlannedSeries._make, rows)

    @property
    def sql(self) -> str:
        """SQL that reads the file as a table."""
        return f"read_parquet({quote(str(self.path))})"

    @property
    def numbered_sql(self) -> str:
        """Like `sql`, with the column `file_row_number`, which starts at 0."""
        return f"read_parquet({quote(str(self.path))}, file_row_number = true)"

    def plan(self, into: Path | None) -> Plan:
        """The plan of these rows, with its totals."""
        totals = Database().run(
            "SELECT count(*), coalesce(sum(instanceCount), 0)::BIGINT,"
            " coalesce(sum(coalesce(size_bytes, estimated_bytes)), 0)::BIGINT, max(idc_version),"
            f" count(*) FILTER (instanceCount IS NULL OR size_bytes IS NULL) FROM {self.sql}"
        )
        series_count, instance_count, size_bytes, version, unsized = next(iter(totals))
        return Plan(series_count, instance_count, size_bytes, version, into, self, unsized, self.origin)

    def groups(self) -> list[PlanGroup]:
        """Totals per collection and modality, largest first."""
        rows = Database().run(
            "SELECT collection_id, Modality, count(*), coalesce(sum(instanceCount), 0)::BIGINT,"
            " coalesce(sum(coalesce(size_bytes, estimated_bytes)), 0)::BIGINT"
            f" FROM {self.sql} GROUP BY ALL ORDER BY 5 DESC, 1, 2"
        )
        return [PlanGroup._make(row) for row in rows]

    def shares(self) -> list[Share]:
        """Totals per collection, licence and DOI."""
        rows = Database().run(
            "SELECT collection_id, license_short_name, source_DOI, count(*),"
            " coalesce(sum(coalesce(size_bytes, estimated_bytes)), 0)::BIGINT"
            f" FROM {self.sql} GROUP BY ALL"
        )
        return list(map(Share._make, rows))

    def schemes(self) -> list[str]:
        """The schemes of all addresses, sorted."""
        return Database().column(
            f"SELECT DISTINCT lower(split_part(coalesce(address, ''), '://', 1)) FROM {self.sql} ORDER BY 1"
        )

    def directories(self) -> Iterator[tuple[str, int, int, int]]:
        """Each directory, with the number of its series, instances and bytes."""
        yield from Database().run(
            "SELECT directory, count(*), coalesce(sum(instanceCount), 0)::BIGINT,"
            f" coalesce(sum(size_bytes), 0)::BIGINT FROM {self.sql} GROUP BY directory ORDER BY directory"
        )

    def shares_directories(self) -> bool:
        """Whether two series share a directory, also on a file system that ignores letter case."""
        # Hashes take a tenth of the memory; a collision would only make a check slower.
        sql = f"SELECT count(DISTINCT hash(lower(directory))) < count(*) FROM {self.sql}"
        return bool(Database().column(sql)[0])

    def needs_names(self) -> bool:
        """Whether a directory may hold files of several series, so that files must be known by name."""
        own = "contains(directory, SeriesInstanceUID) OR contains(directory, key)"
        sql = f"SELECT count(*) > 0 FROM {self.sql} WHERE NOT coalesce({own}, false)"
        return bool(Database().column(sql)[0]) or self.shares_directories()

    def lacks_directories(self) -> bool:
        """Whether a row has no directory yet."""
        return bool(Database().column(f"SELECT count(*) > count(directory) FROM {self.sql}")[0])

    def names_files(self) -> bool:
        """Whether any row wants only some files of its series."""
        return bool(Database().column(f"SELECT count(files) > 0 FROM {self.sql}")[0])

    def unsized(self) -> list[PlannedSeries]:
        """The series whose number of files or bytes is unknown."""
        names = ", ".join(PlannedSeries._fields)
        rows = Database().run(
            f"SELECT {names} FROM {self.sql} WHERE instanceCount IS NULL OR size_bytes IS NULL"
        )
        return list(map(PlannedSeries._make, rows))

    def sized(self, sizes: Mapping[str, Size], without: Iterable[str] = ()) -> PlanFile:
        """A copy with newly known sizes, by key, and without the rows of some keys."""
        select = f"""
            SELECT own.* REPLACE (
                coalesce(known.instanceCount, own.instanceCount) AS instanceCount,
                coalesce(known.size_bytes, own.size_bytes) AS size_bytes,
                coalesce(known.files, own.files) AS files,
                CASE WHEN known.key IS NULL THEN own.estimated_bytes END AS estimated_bytes)
            FROM {self.sql} AS own LEFT JOIN
                (SELECT unnest($1::VARCHAR[]) AS key, unnest($2::BIGINT[]) AS instanceCount,
                        unnest($3::BIGINT[]) AS size_bytes, unnest($4::VARCHAR[]) AS files) AS known
            USING (key)
            WHERE own.key NOT IN (SELECT unnest($5::VARCHAR[]))
        """
        columns = [list(each) for each in zip(*sizes.values(), strict=True)] or [[], [], []]
        return PlanFile.create(Database(), select, [list(sizes), *columns, list(without)], self.origin)

    def longest_directory(self) -> str:
        """The directory with the most characters."""
        sql = f"SELECT max_by(directory, length(directory)) FROM {self.sql}"
        return Database().column(sql)[0] or ""

    def largest_bytes(self) -> int:
        """Return the bytes of the largest series; 0 if no size is known."""
        found: int | None = Database().column(f"SELECT max(size_bytes) FROM {self.sql}")[0]
        return found or 0

    def only(self, directories: Sequence[str]) -> PlanFile:
        """The rows of the series in some directories."""
        select = f"FROM {self.sql} WHERE directory IN (SELECT unnest($1::VARCHAR[]))"
        return PlanFile.create(Database(), select, [list(directories)])

    def of_keys(self, keys: Sequence[str]) -> PlanFile:
        """The rows of some keys."""
        select = f"FROM {self.sql} WHERE key IN (SELECT unnest($1::VARCHAR[]))"
        return PlanFile.create(Database(), select, [list(keys)])

    def save(self, path: Path, origin: Origin | None = None) -> None:
        """Write to ``.parquet``, ``.csv`` or ``.s5cmd``, complete or not at all.

        A Parquet file also holds the origin of the plan, by default the origin of these rows.
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
                f"The plan was not written to “{path.name}”, because the name has no known ending.",
                "Use a name that ends in .parquet, .csv or .s5cmd.",
            )
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with Scratch("save") as scratch:
            # DuckDB refuses names that are not UTF-8, so it writes to scratch, and Python copies the file.
            written = writer(scratch / "plan")
            try:
                shutil.copyfile(written, part)
                part.replace(path)
            except OSError as error:
                reason = "there is no such directory" if not path.parent.is_dir() else error.strerror
                raise StorageError(str(path), f"The plan cannot be written to {path}: {reason}.") from None
            finally:
                part.unlink(missing_ok=True)

    def to_pandas(self) -> Frame:
        """Every row as a frame, with key and address also under their IDC names."""
        from dataset_dl.model.frame import Frame

        names = "key AS crdc_series_uuid, address AS series_aws_url"
        # The lambda refers to self, so the frame keeps the file alive.
        return Frame.of(lambda: Database().run(f"SELECT *, {names} FROM {self.sql}"))

    def _write_parquet(self, scratch: Path, origin: Origin | None) -> Path:
        if origin is None or origin == self.origin:
            # `save` copies this file. A hard link would let a change to one file change the other.
            return self.path
        return _write(f"FROM {self.sql}", scratch, _parquet_options(origin), threads=1)

    def _write_csv(self, scratch: Path) -> Path:
        return _write(f"FROM {self.sql}", scratch, "FORMAT csv, HEADER")

    def _write_s5cmd(self, scratch: Path) -> Path:
        directory = "CASE directory WHEN '' THEN './' ELSE './' || directory || '/' END"
        rows = f"(SELECT directory, address AS url FROM {self.sql})"
        if self.names_files():
            address = "rtrim(address, '*') || split_part(f, ':', 1)"
            several = f"list_transform(string_split(files, '/'), lambda f: {address})"
            urls = f"unnest(CASE WHEN files IS NULL THEN [address] ELSE {several} END)"
            rows = f"(SELECT directory, {urls} AS url FROM {self.sql})"
        select = f"""
            SELECT {quote(_manifest_header(self.plan(None).idc_version))} UNION ALL
            SELECT 'cp ' || {_shell_quoted("url")} || ' ' || {_shell_quoted(directory)} FROM {rows}
        """
        return _write(select, scratch, _TEXT_OPTIONS)


def origin_in(path: Path) -> Origin:
    """Return the origin in the metadata of a plan; see `PlanFile.origin`."""
    sql = f"SELECT value FROM parquet_kv_metadata({quote(str(path))}) WHERE key = '{_METADATA}'"
    values = Database().column(sql)
    try:
        return msgspec.json.decode(values[0], type=Origin) if values else Origin()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ManifestError(
            str(path), f"The metadata of the plan is damaged ({error}).", "Nothing was started."
        ) from None


def _write(
    select: str,
    path: Path,
    options: str,
    *,
    database: Database | None = None,
    parameters: Sequence[object] = (),
    threads: int | None = None,
) -> Path:
    """Write rows to a file in a temporary directory and return its path."""
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


def _manifest_header(idc_version: int | None) -> str:
    """The first line of a ``.s5cmd`` manifest."""
    return f"# IDC v{idc_version}: s5cmd --no-sign-request run FILE"


def _shell_quoted(expression: str) -> str:
    """SQL that quotes an expression as one word of a command line."""
    mark, marked = quote("'"), quote("'\\''")
    return f"{mark} || replace({expression}, {mark}, {marked}) || {mark}"
