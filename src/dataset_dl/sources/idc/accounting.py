"""Report identifiers and values that match nothing, so that the user can correct them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.manifest.entry import Entry
from dataset_dl.model.plan import Origin
from dataset_dl.model.selection import Selection
from dataset_dl.sources.idc.conditions import (
    Unmatched,
    among,
    near_values,
    unmatched,
    where_sql,
)
from dataset_dl.sources.idc.directories import Rows
from dataset_dl.sources.idc.known import joining_columns, known_column
from dataset_dl.sources.idc.resolve import Matches
from dataset_dl.sources.idc.tables import MAIN_INDEX, table_sql
from dataset_dl.wording import first_few


def studies_among(database: Database, missing: Sequence[str], only_series: Collection[str]) -> list[str]:
    """The missing series that are in fact StudyInstanceUIDs."""
    doubtful = [each for each in missing if each in only_series]
    if not doubtful:
        return []
    clause, bound = among("StudyInstanceUID", doubtful)
    sql = f"SELECT DISTINCT StudyInstanceUID FROM {table_sql()} WHERE {clause} ORDER BY 1"
    return database.column(sql, bound)


def accounted(
    database: Database,
    selection: Selection,
    matches: Matches,
    entries: Sequence[Entry],
    rows: Rows,
    origin: Origin,
    *,
    strict: bool,
) -> Origin:
    """Add what matches nothing to the origin: values of conditions, and identifiers of any kind."""
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
    sentences = []
    for what, several in (("No series of IDC has", unknown), ("No series asked for has", absent)):
        if several:
            sentences.append(f"{what} {first_few(several, noun='values')}.")
    return " ".join(sentences)


def _excluded(database: Database, matches: Matches, entries: Sequence[Entry], rows: Rows) -> list[str]:
    """The identifiers whose series all fail the conditions."""
    if sum(map(len, matches.values.values())) + len(entries) < 2:
        return []  # if the only one is excluded, nothing is selected, which is an error elsewhere
    excluded: list[str] = []
    requested = {column: list(values) for column, values in matches.values.items()}
    if entries:
        uuids = (each.key for each in entries)
        requested["crdc_series_uuid"] = list(dict.fromkeys([*requested.get("crdc_series_uuid", ()), *uuids]))
    named = {file.crdc_series_uuid: file.identifier for file in matches.files}
    for column, values in requested.items():
        clause, bound = among(f'"{column}"', values)
        sql = f'SELECT DISTINCT "{column}" FROM {rows.origin} WHERE ({rows.where}) AND {clause}'
        there = set(database.column(sql, [*rows.parameters, *bound]))
        excluded += [named.get(value, value) for value in values if value not in there]
    return excluded


def nothing_selected(
    database: Database, selection: Selection, rows: str, chosen: str, parameters: list[object]
) -> SelectionError:
    """The error that names the condition that left nothing, and the values left before it."""
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
    column = known_column(condition.column)
    if column.table != MAIN_INDEX:
        key, own = joining_columns(column.table)
        those = f"SELECT {key} FROM {rows} WHERE {' AND '.join(clauses)}"
        rows, clauses = column.rows, [f"{own} IN ({those})"]
    there = database.column(
        f"SELECT DISTINCT {column.sql}::VARCHAR FROM {rows} WHERE {' AND '.join(clauses)} ORDER BY 1 LIMIT 9",
        bound,
    )
    shown = ", ".join("(empty)" if value is None else value for value in there[:8])
    among = f" with {' and '.join(map(str, earlier))}" if earlier else ""
    near: list[str] = []
    if condition.operator in ("=", "!=", "~"):
        near = [each for value in condition.values if value for each in near_values(database, column, value)]
    meant = f"Did you mean {' or '.join(near[:3])}? " if near and near[0] not in condition.values else ""
    return SelectionError(
        condition.column,
        f"No series asked for{among} has {condition}, so nothing was started.",
        f"{meant}The values there: {shown or '(none)'}{' …' if len(there) > 8 else ''}.",
    )
