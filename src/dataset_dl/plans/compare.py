"""Compare a plan with the one that a destination keeps from earlier downloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataset_dl.duck import Database, quote
from dataset_dl.model.series import Size, file_sizes
from dataset_dl.plans.columns import COLUMNS, SIZES, of_part, parts
from dataset_dl.plans.file import PlanFile


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a plan differs from the kept one.

    Attributes
    ----------
    is_new
        Whether the plan has a row that the kept plan lacks or has differently.
    replaced
        Keys whose directory holds another version of the same series in the kept plan.
    moved
        How many series have another directory in the kept plan.
    sizes
        By key, the sizes that only the kept plan knows.
    """

    is_new: bool = False
    replaced: frozenset[str] = frozenset()
    moved: int = 0
    sizes: Mapping[str, Size] = field(default_factory=dict)


def compare(own: PlanFile, kept: PlanFile) -> Comparison:
    """Compare the rows of a plan with the kept ones."""
    row = "hash(key, directory, instanceCount, size_bytes, coalesce(files, ''))"
    differs = f"SELECT count(*) > 0 FROM {own.sql} WHERE {row} NOT IN (SELECT {row} FROM {kept.sql})"
    if not Database().column(differs)[0]:
        return Comparison()
    rows = Database().run(f"""
        SELECT own.key, own.files, coalesce(own.directory <> was.directory, false), there.key IS NOT NULL,
               (own.instanceCount IS NULL OR own.size_bytes IS NULL) AND was.instanceCount IS NOT NULL
               AND was.size_bytes IS NOT NULL AND (own.files IS NULL) = (was.files IS NULL),
               was.instanceCount, was.size_bytes, was.files
        FROM {own.sql} AS own
        LEFT JOIN {kept.sql} AS was USING (key)
        LEFT JOIN {kept.sql} AS there
        ON there.SeriesInstanceUID = own.SeriesInstanceUID AND there.directory = own.directory
        AND there.key <> own.key
        WHERE there.key IS NOT NULL OR (was.key IS NOT NULL AND (own.directory <> was.directory
              OR own.instanceCount IS NULL OR own.size_bytes IS NULL))
    """)
    replaced, sizes, moved = set[str](), {}, 0
    for key, files, is_moved, is_replaced, is_known, *known in rows:
        moved += is_moved
        if is_replaced:
            replaced.add(key)
        if (
            is_known
            and (size := Size(*known) if files is None else size_of_named(files, known[-1])) is not None
        ):
            sizes[key] = size
    return Comparison(True, frozenset(replaced), moved, sizes)


def joined(own: PlanFile, kept: PlanFile) -> PlanFile:
    """The rows of a plan, and the rows that only the kept plan has.

    If a whole series is wanted, other versions of it in the same directory are left out. If only some
    files of a series are wanted, its row lists all files that were ever wanted. A kept row is left out if all
    of its files now belong to other rows of the same directory, as when an object was replaced in its store.
    """
    columns = ", ".join(COLUMNS)
    table, replaced = own.sql, "SELECT NULL WHERE false"
    if own.names_files():
        table, replaced = _with_files_of(own, kept), _replaced_by_name(own, kept)
    # A whole series replaces other versions of it in its directory.
    place = "hash(SeriesInstanceUID, directory)"
    select = f"""
        SELECT {columns} FROM {kept.sql}
        WHERE key NOT IN (SELECT key FROM {table})
        AND {place} NOT IN (SELECT {place} FROM {table} WHERE files IS NULL)
        AND key NOT IN ({replaced})
        UNION ALL SELECT {columns} FROM {table}
    """
    return PlanFile.create(Database(), select, [])


def together(several: Sequence[PlanFile]) -> PlanFile | None:
    """The rows of several plans, in order; None if a series is in two of them."""
    listed = ", ".join(quote(str(each.path)) for each in several)
    table = f"read_parquet([{listed}])"
    if Database().column(f"SELECT count(DISTINCT key) < count(*) FROM {table}")[0]:
        return None
    return PlanFile.create(Database(), f"SELECT {', '.join(COLUMNS)} FROM {table}", [])


def each_once(select: str) -> str:
    """SQL that merges rows of the same series: to the whole series, or to all files that any row wants."""
    columns = ", ".join(f"own.{name}" for name in COLUMNS if name not in SIZES)
    files = f"SELECT key, unnest(string_split(files, '/')) AS file FROM ({select})"
    return f"""
        SELECT {columns}, {of_part("part", "own")}
        FROM (SELECT DISTINCT ON (key) * FROM ({select}) ORDER BY files IS NOT NULL, directory) AS own
        LEFT JOIN ({parts(files)}) AS part ON part.key = own.key AND own.files IS NOT NULL
        ORDER BY directory
    """


def _with_files_of(own: PlanFile, kept: PlanFile) -> str:
    """SQL for the rows of a plan, where each row with files lists all that were ever wanted.

    A row with files is left out if the kept plan has the whole series.
    """
    both = f"SELECT * FROM {own.sql} UNION ALL BY NAME SELECT * FROM {kept.sql}"
    files = f"""
        SELECT key, unnest(string_split(files, '/')) AS file FROM ({both})
        WHERE (key, directory) IN (SELECT (key, directory) FROM {own.sql})
    """
    columns = ", ".join(f"own.{name}" for name in COLUMNS if name not in SIZES)
    return f"""(
        SELECT {columns}, {of_part("part", "own")}
        FROM {own.sql} AS own LEFT JOIN ({parts(files)}) AS part
        ON part.key = own.key AND own.files IS NOT NULL
        WHERE own.files IS NULL OR own.key NOT IN (SELECT key FROM {kept.sql} WHERE files IS NULL)
    )"""


def _replaced_by_name(own: PlanFile, kept: PlanFile) -> str:
    """SQL for the keys of kept rows whose files all have the names of files of other rows of the plan."""
    file = "split_part(unnest(string_split(files, '/')), ':', 1) AS name"
    return f"""
        SELECT was.key FROM (SELECT key, directory, {file} FROM {kept.sql} WHERE files IS NOT NULL) AS was
        LEFT JOIN (SELECT DISTINCT directory, {file} FROM {own.sql} WHERE files IS NOT NULL) AS own
        USING (directory, name)
        GROUP BY was.key HAVING count(*) = count(own.name)
    """


def size_of_named(files: str, known: str) -> Size | None:
    """Return the exact size of named files, from the known sizes; None if one is unknown."""
    sizes = {name: size for name, size in file_sizes(known).items() if size is not None}
    names = file_sizes(files).keys()
    return Size.of({name: sizes[name] for name in names}, named=True) if names <= sizes.keys() else None
