"""Write the rows of a plan with their directories: made in SQL, or in Python if SQL cannot."""

from __future__ import annotations

from typing import NamedTuple

from dataset_dl.duck import Database, quote
from dataset_dl.model.plan import Origin
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.layout import PLAIN_DIRECTORY_LIMIT, Column, Layout
from dataset_dl.plans.names import shorten
from dataset_dl.sources.idc.columns import ROW, sizes
from dataset_dl.sources.idc.conditions import (
    among,
)
from dataset_dl.sources.idc.releases import chosen
from dataset_dl.sources.idc.tables import main_columns, table_sql

INSERT_BATCH = 50_000
_FEW_VALUES = 100
# If all files of a series are named, the whole series is wanted.
_IS_PART = "part.instanceCount IS DISTINCT FROM chosen.instanceCount"


class Rows(NamedTuple):
    """Rows to write: a table in SQL, a condition on it, values to bind, and which tables to join."""

    origin: str
    where: str
    parameters: list[object]
    with_parts: bool
    with_entries: bool


def write_rows(
    database: Database,
    layout: Layout,
    rows: Rows,
    path_limit: int | None,
    *,
    version: int,
    origin: Origin,
) -> PlanFile:
    """Write the rows; for directories that SQL cannot make, call the layout and write again."""
    raw = raw_sql(layout)
    plain = plain_sql(layout, path_limit)
    for name in _store_twins(database, layout, rows.origin):
        plain += f" AND \"{name}\" NOT IN (SELECT value FROM twin WHERE name = '{name}')"
    chosen = f"(SELECT *, {raw} AS raw FROM {rows.origin} WHERE {rows.where}) AS chosen"
    directories, joins = [f"CASE WHEN {plain} THEN raw END"], []
    if rows.with_parts:
        joins.append(f"LEFT JOIN part ON part.key = crdc_series_uuid AND {_IS_PART}")
    if rows.with_entries:
        directories.insert(0, "entry.directory")
        joins.append("LEFT JOIN entry ON entry.uuid = crdc_series_uuid")

    def write() -> PlanFile:
        select = f"""
            SELECT {ROW}, coalesce({", ".join(directories)}) AS directory,
                   {sizes(with_parts=rows.with_parts)}, {version}::BIGINT AS idc_version
            FROM {chosen} {" ".join(joins)}
        """
        return PlanFile.create(database, select, rows.parameters, origin)

    plan = write()
    if not plan.lacks_directories():
        return plan
    values = ", ".join(f'"{name}"::VARCHAR' for name in layout.columns)
    unclean = database.run(
        f"SELECT DISTINCT {values} FROM {chosen} WHERE NOT coalesce({plain}, false)", rows.parameters
    )
    _store_cleaned(database, layout, list(unclean), path_limit)
    directories.insert(-1, "cleaned.directory")
    joins.append(f"LEFT JOIN cleaned ON cleaned.key = [{values}]")
    return write()


def raw_sql(layout: Layout) -> str:
    """SQL for the directory before any cleaning; NULL if one of its values is NULL."""
    if not layout.columns:
        return quote(layout.directory({}))
    pieces: list[str] = []
    for component in layout.components:
        if pieces:
            pieces.append("'/'")
        pieces += [
            f'"{part.name}"::VARCHAR' if isinstance(part, Column) else quote(part) for part in component
        ]
    return " || ".join(pieces)


def plain_sql(layout: Layout, path_limit: int | None = None) -> str:
    """SQL condition on `raw` that is true if the directory needs no cleaning."""
    if not layout.columns:
        return "true"
    limit = min(PLAIN_DIRECTORY_LIMIT, path_limit or PLAIN_DIRECTORY_LIMIT)
    terms = [f"strlen(raw) <= {limit}", f"regexp_full_match(raw, {quote(layout.plain_pattern)})"]
    terms += [f"\"{name}\"::VARCHAR <> ''" for name in layout.columns]
    return " AND ".join(terms)


# Per index version and column, the values with a twin; filled when a plan has to read the whole column.
_twins: dict[tuple[str, str], list[str]] = {}


def _store_twins(database: Database, layout: Layout, origin: str) -> list[str]:
    """Store the values that differ from another value of their column only by letter case.

    The whole index is searched, so that a series goes to the same directory whatever else is selected.
    Returns the columns that have such values.
    """
    version = chosen()
    # The other columns hold digits and dots, or lower-case hexadecimal.
    names = [
        name
        for name in layout.columns
        if not name.lower().endswith(("uid", "uuid")) and main_columns()[name] == "VARCHAR"
    ]
    known = {name: _twins[version, name] for name in names if (version, name) in _twins}
    selects: list[str] = []
    bound: list[object] = []
    narrowed = set[str]()
    for name in names:
        if name in known:
            continue
        condition = ""
        if origin != table_sql():
            values = database.column(f'SELECT DISTINCT lower("{name}") FROM {origin} LIMIT {_FEW_VALUES + 1}')
            # DuckDB looks up constants once per distinct value in the file, not once per row.
            if len(values) <= _FEW_VALUES:
                narrowed.add(name)
                clause, given = among(f'lower("{name}")', values)
                condition = f"WHERE {clause}"
                bound += given
        selects.append(
            f"SELECT '{name}', unnest(list(value))"
            f' FROM (SELECT DISTINCT "{name}" AS value FROM {table_sql()} {condition})'
            " GROUP BY lower(value) HAVING count(*) > 1"
        )
    if selects:
        # One thread reads a row group; in one statement, each SELECT has a thread of its own.
        found: dict[str, list[str]] = {name: [] for name in names if name not in known}
        for name, value in database.run(" UNION ALL ".join(selects), bound):
            found[name].append(value)
        known |= found
        _twins.update({(version, name): values for name, values in found.items() if name not in narrowed})
    database.run("CREATE TEMP TABLE twin (name VARCHAR, value VARCHAR)")
    pairs = [(name, value) for name, values in known.items() for value in values]
    if pairs:
        columns: list[object] = [list(column) for column in zip(*pairs, strict=True)]
        database.run("INSERT INTO twin SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])", columns)
    return sorted(name for name, values in known.items() if values)


def _store_cleaned(
    database: Database,
    layout: Layout,
    rows: list[tuple[str | None, ...]],
    path_limit: int | None,
) -> None:
    twins: dict[str, set[str]] = {}
    for name, value in database.run("SELECT name, value FROM twin"):
        twins.setdefault(name, set()).add(value)
    directories = []
    for row in rows:
        directory = layout.directory(dict(zip(layout.columns, row, strict=True)), twins)
        if path_limit is not None and len(directory) > path_limit:
            directory = shorten(directory, path_limit)
        directories.append(directory)
    database.run("CREATE TEMP TABLE cleaned (key VARCHAR[], directory VARCHAR)")
    for start in range(0, len(rows), INSERT_BATCH):
        stop = start + INSERT_BATCH
        keys = [list(row) for row in rows[start:stop]]
        database.run(
            "INSERT INTO cleaned SELECT unnest(?::VARCHAR[][]), unnest(?)", [keys, directories[start:stop]]
        )
