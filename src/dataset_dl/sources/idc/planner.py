"""Turn a selection and a layout into the rows of a plan, in one statement over the index."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dataset_dl.duck import Database, quote
from dataset_dl.errors import ManifestError, SelectionError
from dataset_dl.manifest.entry import Entry
from dataset_dl.model.plan import Origin, Plan
from dataset_dl.model.selection import Condition, Request, Selection
from dataset_dl.plans.columns import FILES, parts
from dataset_dl.plans.layout import Layout
from dataset_dl.sources.idc import instances, references
from dataset_dl.sources.idc.accounting import accounted, nothing_selected, studies_among
from dataset_dl.sources.idc.columns import NEEDED
from dataset_dl.sources.idc.conditions import (
    own_clauses,
    where_sql,
)
from dataset_dl.sources.idc.directories import INSERT_BATCH, Rows, write_rows
from dataset_dl.sources.idc.known import joining_columns, known_column
from dataset_dl.sources.idc.resolve import Matches, resolve
from dataset_dl.sources.idc.tables import MAIN_INDEX, idc_version, table_sql
from dataset_dl.sources.idc.versions import check_conditions, with_earlier


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
        Where each series goes, unless its manifest entry has a directory.
    entries
        Series named by manifests; the conditions apply to them too.
    into
        The destination, kept with the plan.
    path_limit
        The most characters that a directory may have; None if the system has no relevant limit.
    version
        The IDC version for identifiers and conditions; defaults to the current one. An entry may name a
        series of any version.
    optional
        Identifiers that IDC may not have; the plan then lists them in `missing`.
    only_series
        Identifiers that can only be SeriesInstanceUIDs.
    may_be_empty
        If nothing is selected, return a plan without series instead of raising an error.
    strict
        Raise an error for every value of a condition that matches nothing, not only for identifiers.
    origin
        The part of the plan's origin that is already known.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown, or nothing meets the conditions.
    ManifestError
        If no IDC version contains the series of an entry, or entries send one series to two directories.
    """
    database = Database()
    named = [known_column(condition.column) for condition in selection.where]
    requested = [each.reads if each.table == MAIN_INDEX else joining_columns(each.table)[0] for each in named]
    columns = [*NEEDED, *layout.columns, *requested]
    matches = resolve(database, selection.identifiers, columns, version, optional, only_series)
    if studies := studies_among(database, matches.missing, only_series):
        note = f"{studies[0]} is a StudyInstanceUID, but a manifest of TCIA names series: it was left out."
        origin = origin._replace(notes=(*origin.notes, note))
    if matches.missing and not (matches.values or matches.files or entries):
        may_be_empty = True  # the plan lists what is missing
    entries = [*entries, *(Entry(0, each.crdc_series_uuid, None, each.file) for each in matches.files)]
    if entries:
        matches = _with_entries(database, matches, entries, columns, skip_missing=origin.skip_missing)
    everything = "false" if selection.identifiers else "true"
    chosen, parameters = _chosen(matches, with_entries=bool(entries), otherwise=everything)
    if matches.has_earlier:
        names = [each.reads if each.table == MAIN_INDEX else f"{each.table}.{each.name}" for each in named]
        check_conditions(database, names, f"{matches.rows} WHERE {chosen}", parameters)
    of_files, of_series = _split(selection.where)
    has_parts = bool(of_files) or any(entry.files is not None for entry in entries)
    if has_parts:
        _store_parts(database, matches, entries, of_files)
    clauses, bound = where_sql(of_series)
    if of_files:
        clauses.append("crdc_series_uuid IN (SELECT key FROM part)")
    rows = Rows(
        matches.rows,
        " AND ".join([chosen, *clauses]),
        [*parameters, *bound],
        with_parts=has_parts,
        with_entries=bool(entries),
    )
    if not may_be_empty:
        origin = accounted(database, selection, matches, entries, rows, origin, strict=strict)
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
        requests = ()  # nothing defines which additions of a newer index would belong to the subset
    origin = origin._replace(
        requests=requests,
        missing=tuple(dict.fromkeys([*origin.missing, *matches.missing])),
        unreferenced=unreferenced,
        file_template=layout.file_template or origin.file_template,
    )
    written = write_rows(database, layout, rows, path_limit, version=version or idc_version(), origin=origin)
    plan = replace(written.plan(into), idc_version=version or idc_version())
    if plan.series_count == 0 and not (may_be_empty or plan.missing):
        raise nothing_selected(database, selection, matches.rows, chosen, parameters)
    return plan


def _some(database: Database, rows: Rows, selection: Selection, origin: Origin) -> tuple[Rows, Origin]:
    """Keep the first rows, or a random sample that does not depend on the version of DuckDB."""
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
    database: Database, rows: Rows, selection: Selection, matches: Matches
) -> tuple[Rows, dict[str, int]]:
    """Add the related rows; also return, by modality, how many annotations have no known image."""
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
    # Conditions on licences apply to related series too: they limit the use of data, not the topic.
    rights = [each for each in selection.where if known_column(each.column).name == "license_short_name"]
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
    """Create a table of the entries, and add the rows that only an earlier version contains."""
    database.run("CREATE TEMP TABLE entry_line (line BIGINT, uuid VARCHAR, directory VARCHAR, files VARCHAR)")
    for start in range(0, len(entries), INSERT_BATCH):
        batch = entries[start : start + INSERT_BATCH]
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
    requested = [*unknown, *matches.values.get("crdc_series_uuid", [])]
    rows, held = with_earlier(database, requested, [*matches.values, *columns])
    lost = {uuid: line for uuid, line in unknown.items() if uuid not in held}
    if lost and not skip_missing:
        uuid, line = next(iter(lost.items()))
        more = f" {len(lost) - 1:,} more of its series are unknown, too." if len(lost) > 1 else ""
        raise ManifestError(
            uuid,
            f"Line {line} of the manifest names the series {uuid}, which no IDC version up to"
            f" v{idc_version()} contains.{more}",
            "Nothing was started. --skip-missing (skip_missing=True) fetches the others.",
            line,
        )
    return replace(matches, rows=rows, has_earlier=True, missing=(*matches.missing, *lost))


def _refuse_two_directories(database: Database) -> None:
    """Refuse a series with several directories: which one was meant is unknown."""
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
            "Keep one, or give --layout, which overrides all directories.",
            other[1],
        )


def _split(where: Iterable[Condition]) -> tuple[dict[str, list[Condition]], list[Condition]]:
    """Split conditions into those on single files, by table, and those on series."""
    of_files: dict[str, list[Condition]] = {}
    of_series = []
    for condition in where:
        table = known_column(condition.column).table
        if instances.lists_files(table):
            of_files.setdefault(table, []).append(condition)
        else:
            of_series.append(condition)
    return of_files, of_series


def _store_parts(
    database: Database, matches: Matches, entries: Sequence[Entry], of_files: dict[str, list[Condition]]
) -> None:
    """Create a table of the series of which only some files are wanted."""
    if of_files and any(entry.files is not None for entry in entries):
        raise SelectionError(
            next(iter(of_files)),
            "Files are either named one by one or selected by a condition, not both; nothing was started.",
            "Give either the files or the condition.",
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
            strange[0], f"A table contains invalid file names ({strange[0][:200]}); nothing was started."
        )
    if not of_files and matches.values:
        _keep_whole(database, *_chosen(matches, with_entries=False, otherwise="false"))


def _keep_whole(database: Database, condition: str, parameters: list[object]) -> None:
    """Remove series from the table of parts that are wanted as a whole for another reason."""
    whole = f"SELECT crdc_series_uuid FROM {table_sql()} WHERE {condition}"
    database.run(f"DELETE FROM part WHERE key IN ({whole})", parameters)


def _chosen(matches: Matches, *, with_entries: bool, otherwise: str) -> tuple[str, list[object]]:
    """One condition for all identifiers and entries, and values to bind; `otherwise` if there are none."""
    terms, parameters = matches.terms()
    if with_entries:
        terms.append("crdc_series_uuid IN (SELECT uuid FROM entry)")
    if not terms:
        return otherwise, []
    return f"({' OR '.join(terms)})", parameters
