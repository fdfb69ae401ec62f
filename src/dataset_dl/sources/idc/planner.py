"""From a selection and a layout to the rows of a plan, in one statement over the index."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dataset_dl.duck import Database, quote
from dataset_dl.errors import ManifestError, SelectionError
from dataset_dl.manifest.entry import Entry
from dataset_dl.model.plan import Origin, Plan
from dataset_dl.model.selection import Condition, Request, Selection
from dataset_dl.plans.columns import FILES, parts
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.layout import PLAIN_DIRECTORY_LIMIT, Column, Layout, shorten
from dataset_dl.sources.idc import instances, references
from dataset_dl.sources.idc.columns import NEEDED, ROW, sizes
from dataset_dl.sources.idc.conditions import (
    Unmatched,
    among,
    joining_columns,
    known_column,
    near_values,
    own_clauses,
    unmatched,
    where_sql,
)
from dataset_dl.sources.idc.resolve import Matches, resolve
from dataset_dl.sources.idc.tables import MAIN_INDEX, idc_version, main_columns, table_sql
from dataset_dl.sources.idc.versions import check_conditions, with_earlier
from dataset_dl.wording import first_few

_INSERT_BATCH = 50_000
_FEW_VALUES = 100
# All files of a series by their names are the whole series.
_IS_PART = "part.instanceCount IS DISTINCT FROM chosen.instanceCount"


def make_plan(
    selection: Selection,
    layout: Layout,
    *,
    entries: Sequence[Entry] = (),
    into: Path | None = None,
    path_limit: int | None = None,
    version: int | None = None,
    optional: Collection[str] = frozenset(),
    only_series: Collection[str] = frozenset(),
    may_be_empty: bool = False,
    strict: bool = False,
    origin: Origin = Origin(),  # noqa: B008 (it is frozen)
) -> Plan:
    """Plan every series that is selected or named by a manifest, in the order of the index.

    Parameters
    ----------
    selection
        Identifiers and conditions.
    layout
        Where each series goes, unless its manifest entry says so itself.
    entries
        Series named by manifests; the conditions hold for them too.
    into
        The destination, kept with the plan.
    path_limit
        Characters that a directory may have; None where the system sets no limit worth keeping.
    version
        The IDC version that identifiers and conditions mean; today's if None. An entry means the series that
        it names, of whatever version.
    optional
        Identifiers that IDC may not have: they are in the plan's `missing` then.
    only_series
        Identifiers that can be nothing but SeriesInstanceUIDs.
    may_be_empty
        Give a plan without a series where nothing is selected, instead of an error.
    strict
        A value of a condition that matches nothing is an error, of whatever column.
    origin
        What is known already of what the plan is made from.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown, or nothing meets the conditions.
    ManifestError
        If an entry names a series that no IDC version held.
    """
    database = Database()
    named = [known_column(condition.column) for condition in selection.where]
    asked = [column if table == MAIN_INDEX else joining_columns(table)[0] for table, column, _ in named]
    columns = [*NEEDED, *layout.columns, *asked]
    matches = resolve(database, selection.identifiers, columns, version, optional, only_series)
    if studies := _studies(database, matches.missing, only_series):
        note = f"{studies[0]} is a StudyInstanceUID, and a manifest of TCIA names series: it was left out."
        origin = origin._replace(notes=(*origin.notes, note))
    if matches.missing and not (matches.values or matches.files or entries):
        may_be_empty = True  # the plan says what is missing
    entries = [*entries, *(Entry(0, each.crdc_series_uuid, None, each.file) for each in matches.files)]
    if entries:
        matches = _with_entries(database, matches, entries, columns, skip_missing=origin.skip_missing)
    everything = "false" if selection.identifiers else "true"
    chosen, parameters = _chosen(matches, with_entries=bool(entries), otherwise=everything)
    if matches.has_earlier:
        told = [column if table == MAIN_INDEX else f"{table}.{column}" for table, column, _ in named]
        check_conditions(database, told, f"{matches.rows} WHERE {chosen}", parameters)
    of_files, of_series = _split(selection.where)
    has_parts = bool(of_files) or any(entry.files is not None for entry in entries)
    if has_parts:
        _store_parts(database, matches, entries, of_files)
    clauses, bound = where_sql(of_series)
    if of_files:
        clauses.append("crdc_series_uuid IN (SELECT key FROM part)")
    rows = _Rows(
        matches.rows,
        " AND ".join([chosen, *clauses]),
        [*parameters, *bound],
        with_parts=has_parts,
        with_entries=bool(entries),
    )
    if not may_be_empty:
        origin = _accounted(database, selection, matches, entries, rows, origin, strict=strict)
    unreferenced: dict[str, int] = {}
    if selection.with_references or selection.with_annotations:
        rows, unreferenced = _with_related(database, rows, selection, matches)
    if selection.limit is not None or selection.sample is not None:
        rows, origin = _some(database, rows, selection, origin)
    growing = tuple(each for each in selection.identifiers if each in matches.growing)
    by_conditions_alone = selection.where and not selection.identifiers and not entries
    requests = origin.requests
    if growing or by_conditions_alone:
        related = selection.with_references, selection.with_annotations
        requests = (*requests, Request(growing, selection.where, layout.template, *related))
    if selection.limit is not None or selection.sample is not None:
        requests = ()  # nobody knows which of what a newer index adds would be among them
    origin = origin._replace(
        requests=requests,
        missing=tuple(dict.fromkeys([*origin.missing, *matches.missing])),
        unreferenced=unreferenced,
        file_template=layout.file_template or origin.file_template,
    )
    written = _write_rows(database, layout, rows, path_limit, version=version or idc_version(), origin=origin)
    plan = replace(written.plan(into), idc_version=version or idc_version())
    if plan.series_count == 0 and not (may_be_empty or plan.missing):
        raise _nothing(database, selection, matches.rows, chosen, parameters)
    return plan


def _studies(database: Database, missing: Sequence[str], only_series: Collection[str]) -> list[str]:
    """Those of some missing series that are StudyInstanceUIDs."""
    doubtful = [each for each in missing if each in only_series]
    if not doubtful:
        return []
    clause, bound = among("StudyInstanceUID", doubtful)
    sql = f"SELECT DISTINCT StudyInstanceUID FROM {table_sql()} WHERE {clause} ORDER BY 1"
    return database.column(sql, bound)


def _accounted(
    database: Database,
    selection: Selection,
    matches: Matches,
    entries: Sequence[Entry],
    rows: _Rows,
    origin: Origin,
    *,
    strict: bool,
) -> Origin:
    """Name what was asked for and matches nothing: values of conditions, and identifiers of whatever kind."""
    lost = unmatched(database, selection.where, rows.origin, rows.where, rows.parameters)
    wrong = [each for each in lost if strict or (each.is_identifier and not each.is_known)]
    if wrong:
        raise SelectionError(
            wrong[0].value, f"{_sentence(wrong)} Nothing was started.", "Take it out, or correct it."
        )
    excluded = _excluded(database, matches, entries, rows) if selection.where else []
    notes = [*origin.notes, *([_sentence(lost)] if lost else [])]
    return origin._replace(notes=tuple(notes), excluded=tuple(dict.fromkeys([*origin.excluded, *excluded])))


def _sentence(lost: Sequence[Unmatched]) -> str:
    unknown = [each.what for each in lost if not each.is_known]
    absent = [each.what for each in lost if each.is_known]
    said = []
    for what, several in (("No series of IDC has", unknown), ("No series asked for has", absent)):
        if several:
            said.append(f"{what} {first_few(several, noun='values')}.")
    return " ".join(said)


def _excluded(database: Database, matches: Matches, entries: Sequence[Entry], rows: _Rows) -> list[str]:
    """The identifiers that name series of IDC of which none meets the conditions."""
    if sum(map(len, matches.values.values())) + len(entries) < 2:
        return []  # if there is only one, nothing is selected at all
    excluded: list[str] = []
    asked = {column: list(values) for column, values in matches.values.items()}
    if entries:
        uuids = (each.key for each in entries)
        asked["crdc_series_uuid"] = list(dict.fromkeys([*asked.get("crdc_series_uuid", ()), *uuids]))
    named = {file.crdc_series_uuid: file.identifier for file in matches.files}
    for column, values in asked.items():
        clause, bound = among(f'"{column}"', values)
        sql = f'SELECT DISTINCT "{column}" FROM {rows.origin} WHERE ({rows.where}) AND {clause}'
        there = set(database.column(sql, [*rows.parameters, *bound]))
        excluded += [named.get(value, value) for value in values if value not in there]
    return excluded


def _some(database: Database, rows: _Rows, selection: Selection, origin: Origin) -> tuple[_Rows, Origin]:
    """The first rows, or some by chance, which do not depend on the version of DuckDB."""
    most = min(each for each in (selection.limit, selection.sample) if each is not None)
    every = f"FROM {rows.origin} WHERE {rows.where}"
    count: int = database.column(f"SELECT count(*) {every}", rows.parameters)[0]
    order = ""
    if selection.sample is not None:
        order = f"ORDER BY md5(crdc_series_uuid || {quote(f'/{selection.seed}')})"
    chosen = f"SELECT crdc_series_uuid {every} {order} LIMIT {most}"
    database.run(f"CREATE TEMP TABLE only_some AS {chosen}", rows.parameters)
    limited = rows._replace(
        where="crdc_series_uuid IN (SELECT crdc_series_uuid FROM only_some)", parameters=[]
    )
    return limited, origin._replace(matching_series=count)


def _with_related(
    database: Database, rows: _Rows, selection: Selection, matches: Matches
) -> tuple[_Rows, dict[str, int]]:
    """The rows with those that belong to them; and the annotations of which no table tells the image."""
    unreferenced = references.store_related(
        database,
        f"{rows.origin} WHERE {rows.where}",
        rows.parameters,
        references=selection.with_references,
        annotations=selection.with_annotations,
    )
    belonging = "SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM related)"
    if rows.with_parts:
        _keep_whole(database, belonging, [])
    # What may be done with the data is no matter of which series are meant.
    rights = [each for each in selection.where if known_column(each.column)[1] == "license_short_name"]
    clauses, bound = where_sql(rights)
    return rows._replace(
        origin=matches.rows if matches.has_earlier else table_sql(),
        where=f"(({rows.where}) OR ({' AND '.join([belonging, *clauses])}))",
        parameters=[*rows.parameters, *bound],
    ), unreferenced


def _with_entries(
    database: Database,
    matches: Matches,
    entries: Sequence[Entry],
    columns: Sequence[str],
    *,
    skip_missing: bool,
) -> Matches:
    """Make a table of the entries, and widen the rows to those that only an earlier version has."""
    database.run("CREATE TEMP TABLE entry_line (line BIGINT, uuid VARCHAR, directory VARCHAR, files VARCHAR)")
    for start in range(0, len(entries), _INSERT_BATCH):
        batch = entries[start : start + _INSERT_BATCH]
        values: list[object] = [list(column) for column in zip(*batch, strict=True)]
        each = "unnest(?), unnest(?), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])"
        database.run(f"INSERT INTO entry_line SELECT {each}", values)
    database.run(
        "CREATE TEMP TABLE entry AS SELECT uuid, min(line) AS line, arg_min(directory, line) AS directory,"
        " count(files) < count(*) AS is_whole FROM entry_line GROUP BY uuid"
    )
    _refuse_two_directories(database)
    unknown: dict[str, int] = dict(
        database.run(
            f"SELECT uuid, line FROM entry ANTI JOIN {table_sql()} ON uuid = crdc_series_uuid ORDER BY line"
        )
    )
    if not unknown and not matches.has_earlier:
        return replace(matches, rows=table_sql())
    asked = [*unknown, *matches.values.get("crdc_series_uuid", [])]
    rows, held = with_earlier(database, asked, [*matches.values, *columns])
    lost = {uuid: line for uuid, line in unknown.items() if uuid not in held}
    if lost and not skip_missing:
        uuid, line = next(iter(lost.items()))
        more = f" {len(lost) - 1:,} more of its series are unknown, too." if len(lost) > 1 else ""
        raise ManifestError(
            uuid,
            f"Line {line} of the manifest names the series {uuid}, which no IDC version up to"
            f" v{idc_version()} held.{more}",
            "Nothing was started. --skip-missing (skip_missing=True) fetches the others.",
            line,
        )
    return replace(matches, rows=rows, has_earlier=True, missing=(*matches.missing, *lost))


def _refuse_two_directories(database: Database) -> None:
    """A series goes to one place; which of several was meant nobody can know."""
    twice = list(
        database.run(
            "SELECT uuid, line, coalesce(directory, '.') FROM entry_line JOIN ("
            "  SELECT uuid FROM entry_line WHERE line > 0 GROUP BY uuid"
            "  HAVING count(DISTINCT (directory IS NULL, coalesce(directory, ''))) > 1 LIMIT 1"
            ") USING (uuid) WHERE line > 0 ORDER BY line"
        )
    )
    if twice:
        uuid, line, directory = twice[0]
        other = next(each for each in twice if each[2] != directory)
        raise ManifestError(
            uuid,
            f"Line {other[1]} of the manifest sends the series {uuid} to “{other[2]}”,"
            f" and line {line} sends it to “{directory}”; nothing was started.",
            "Keep one, or give --layout, which decides for all.",
            other[1],
        )


def _split(where: Iterable[Condition]) -> tuple[dict[str, list[Condition]], list[Condition]]:
    """Conditions on single files, by the table that tells of them, and those on series."""
    of_files: dict[str, list[Condition]] = {}
    of_series = []
    for condition in where:
        table = known_column(condition.column)[0]
        if instances.is_telling(table):
            of_files.setdefault(table, []).append(condition)
        else:
            of_series.append(condition)
    return of_files, of_series


def _store_parts(
    database: Database, matches: Matches, entries: Sequence[Entry], of_files: dict[str, list[Condition]]
) -> None:
    """Make a table of the series of which only files are wanted."""
    if of_files and any(entry.files is not None for entry in entries):
        raise SelectionError(
            next(iter(of_files)),
            "Some files are named one by one, so a condition on files was not expected; nothing was started.",
            "Give either.",
        )
    selects, bound = [], []
    for table, conditions in of_files.items():
        clauses, values = own_clauses(conditions)
        selects.append(instances.meeting(table, " AND ".join(clauses)))
        bound += values
    if not of_files:
        selects = ["SELECT uuid AS key, unnest(string_split(files, '/')) AS file FROM entry_line"
                   " WHERE uuid IN (SELECT uuid FROM entry WHERE NOT is_whole)"]  # fmt: skip
    database.run(f"CREATE TEMP TABLE part AS {parts(' INTERSECT '.join(selects))}", bound)
    strange = [each for each in database.column("SELECT files FROM part") if not FILES.fullmatch(each)]
    if strange:
        raise SelectionError(
            strange[0], f"A table names files as no file is called ({strange[0][:200]}); nothing was started."
        )
    if not of_files and matches.values:
        _keep_whole(database, *_chosen(matches, with_entries=False, otherwise="false"))


def _keep_whole(database: Database, condition: str, parameters: list[object]) -> None:
    """Series of which all is wanted for another reason are not wanted in parts."""
    whole = f"SELECT crdc_series_uuid FROM {table_sql()} WHERE {condition}"
    database.run(f"DELETE FROM part WHERE key IN ({whole})", parameters)


def _chosen(matches: Matches, *, with_entries: bool, otherwise: str) -> tuple[str, list[object]]:
    """The identifiers and entries as one condition, another one if there are none."""
    terms: list[str] = []
    parameters: list[object] = []
    for column, values in matches.values.items():
        term, bound = among(f'"{column}"', values)
        terms.append(term)
        parameters += bound
    if with_entries:
        terms.append("crdc_series_uuid IN (SELECT uuid FROM entry)")
    if not terms:
        return otherwise, []
    return f"({' OR '.join(terms)})", parameters


class _Rows(NamedTuple):
    """What to write: rows from a source that meet a condition, what to bind, and which tables go with it."""

    origin: str
    where: str
    parameters: list[object]
    with_parts: bool
    with_entries: bool


def _write_rows(
    database: Database,
    layout: Layout,
    rows: _Rows,
    path_limit: int | None,
    *,
    version: int,
    origin: Origin,
) -> PlanFile:
    """Write the rows. Directories that SQL cannot make by itself are then asked of the layout."""
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
    """The directory as SQL puts it together, before any cleaning; NULL where a value is."""
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
    """When a directory needs no cleaning: a condition on `raw`."""
    if not layout.columns:
        return "true"
    limit = min(PLAIN_DIRECTORY_LIMIT, path_limit or PLAIN_DIRECTORY_LIMIT)
    terms = [f"strlen(raw) <= {limit}", f"regexp_full_match(raw, {quote(layout.plain_pattern)})"]
    terms += [f"\"{name}\"::VARCHAR <> ''" for name in layout.columns]
    return " AND ".join(terms)


def _store_twins(database: Database, layout: Layout, origin: str) -> list[str]:
    """Keep the values that differ from another one of their column by letter case alone.

    The other one is looked for in the whole index, so that a series goes to the same directory whatever else
    is chosen. Returns the columns that have such values.
    """
    database.run("CREATE TEMP TABLE twin (name VARCHAR, value VARCHAR)")
    selects: list[str] = []
    bound: list[object] = []
    for name in layout.columns:
        if name.lower().endswith(("uid", "uuid")) or main_columns()[name] != "VARCHAR":
            continue  # figures and dots, or lower-case hexadecimal
        condition = ""
        if origin != table_sql():
            values = database.column(f'SELECT DISTINCT lower("{name}") FROM {origin} LIMIT {_FEW_VALUES + 1}')
            # A list of constants is looked up once for each value of the file, not for each row.
            if len(values) <= _FEW_VALUES:
                told, given = among(f'lower("{name}")', values)
                condition = f"WHERE {told}"
                bound += given
        selects.append(
            f"SELECT '{name}', unnest(list(value))"
            f' FROM (SELECT DISTINCT "{name}" AS value FROM {table_sql()} {condition})'
            " GROUP BY lower(value) HAVING count(*) > 1"
        )
    if selects:
        # A file of one row group is read by one thread for each of them.
        database.run(f"INSERT INTO twin {' UNION ALL '.join(selects)}", bound)
    return database.column("SELECT DISTINCT name FROM twin ORDER BY 1")


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
    for start in range(0, len(rows), _INSERT_BATCH):
        stop = start + _INSERT_BATCH
        keys = [list(row) for row in rows[start:stop]]
        database.run(
            "INSERT INTO cleaned SELECT unnest(?::VARCHAR[][]), unnest(?)", [keys, directories[start:stop]]
        )


def _nothing(
    database: Database, selection: Selection, rows: str, chosen: str, parameters: list[object]
) -> SelectionError:
    """Say which condition left nothing, and what values there are before it."""
    if not selection.where:
        name = selection.identifiers[0]
        return SelectionError(name, f"No series of “{name}” was in that IDC version; nothing was started.")
    clauses, bound = [chosen], list(parameters)
    for condition in selection.where:
        clause, values = where_sql([condition])
        sql = f"SELECT count(*) FROM {rows} WHERE {' AND '.join([*clauses, *clause])}"
        if not database.column(sql, [*bound, *values])[0]:
            break
        clauses += clause
        bound += values
    earlier = selection.where[: len(clauses) - 1]
    table, column, _ = known_column(condition.column)
    if table != MAIN_INDEX:
        key, own = joining_columns(table)
        those = f"SELECT {key} FROM {rows} WHERE {' AND '.join(clauses)}"
        rows, clauses = table_sql(table), [f"{own} IN ({those})"]
    there = database.column(
        f'SELECT DISTINCT "{column}"::VARCHAR FROM {rows} WHERE {" AND ".join(clauses)} ORDER BY 1 LIMIT 9',
        bound,
    )
    shown = ", ".join("(empty)" if value is None else value for value in there[:8])
    among = f" with {' and '.join(map(str, earlier))}" if earlier else ""
    near: list[str] = []
    if condition.operator in ("=", "!=", "~"):
        near = [
            each
            for value in condition.values
            if value
            for each in near_values(database, table, column, value)
        ]
    meant = f"Did you mean {' or '.join(near[:3])}? " if near and near[0] not in condition.values else ""
    return SelectionError(
        condition.column,
        f"No series asked for{among} has {condition}, so nothing was started.",
        f"{meant}The values there: {shown or '(none)'}{' …' if len(there) > 8 else ''}.",
    )
