"""Conditions on the tables, as SQL, and suggestions for values that match nothing."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from dataset_dl.duck import Database, literals
from dataset_dl.errors import SelectionError
from dataset_dl.model.selection import Condition
from dataset_dl.sources.idc.known import Column, joining_columns, known_column
from dataset_dl.sources.idc.tables import MAIN_INDEX

_DATE = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([DWMY]?)", re.IGNORECASE)
# DICOM's age string (VR AS): three digits and a unit.
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0}
_NEAR_VALUES = 3
_LONGEST_VALUE = 256


def where_sql(conditions: Iterable[Condition]) -> tuple[list[str], list[object]]:
    """Conditions as SQL with placeholders, and the values to bind to them, in order.

    Raises
    ------
    SelectionError
        If a column is unknown, or a value is not of the column's type.
    """
    return _clauses(conditions, own=False)


def own_clauses(conditions: Iterable[Condition]) -> tuple[list[str], list[object]]:
    """Like `where_sql`, but each condition applies to a row of the table that has its column."""
    return _clauses(conditions, own=True)


def _clauses(conditions: Iterable[Condition], *, own: bool) -> tuple[list[str], list[object]]:
    clauses: list[str] = []
    parameters: list[object] = []
    for condition in conditions:
        column = known_column(condition.column)
        is_without = column.is_list and condition.operator == "!="
        asked = Condition(condition.column, "=", condition.values) if is_without else condition
        clause, values = _clause(asked, column)
        if column.table != MAIN_INDEX and not own:
            key, theirs = joining_columns(column.table)
            clause = f"{key} IN (SELECT {theirs} FROM {column.rows} WHERE {clause})"
        clauses.append(f"NOT {clause}" if is_without else clause)
        parameters += values
    return clauses, parameters


def _clause(condition: Condition, column: Column) -> tuple[str, list[object]]:
    if condition.operator == "~":
        matches = " OR ".join(f"contains(lower({column.sql}::VARCHAR), lower(?))" for _ in condition.values)
        return f"({matches})", list(condition.values)
    if condition.operator not in ("=", "!="):
        return _ordered(condition, column)
    values = [_typed(condition, column, value) for value in condition.values if value]
    clause, bound = among(column.sql, values, column.type_name) if values else ("false", [])
    if _is_age(column):
        ages = [_years(condition, column, value) for value in condition.values if value]
        clause = f"({clause} OR {_years_sql(column)} IN (SELECT unnest(?::DOUBLE[])))"
        bound = [*bound, ages]
    if "" in condition.values:
        clause = f"({clause} OR {column.sql} IS NULL OR {column.sql}::VARCHAR = '')"
    return (clause if condition.operator == "=" else f"NOT coalesce({clause}, false)"), bound


def among(what: str, values: Sequence[Any], type_name: str = "VARCHAR") -> tuple[str, list[object]]:
    """SQL that tests whether an expression is one of some values, and what to bind; NULL never is."""
    constants = literals(values) if type_name == "VARCHAR" else None
    if constants is not None:
        return f"{what} IN ({constants or 'NULL'})", []
    return f"{what} IN (SELECT unnest(?::{type_name}[]))", [list(values)]


def _ordered(condition: Condition, column: Column) -> tuple[str, list[object]]:
    """Compare numbers as numbers, and text by what it holds: dates, ages, numbers or words."""
    (value,) = condition.values
    if column.type_name != "VARCHAR":
        return f"{column.sql} {condition.operator} ?", [_typed(condition, column, value)]
    if _is_date(column):
        return f"{column.sql} {condition.operator} ?", [_date(condition, column, value)]
    if _is_age(column):
        return f"{_years_sql(column)} {condition.operator} ?", [_years(condition, column, value)]
    try:
        return f"TRY_CAST({column.sql} AS DOUBLE) {condition.operator} ?", [float(value)]
    except ValueError:
        return f"{column.sql} {condition.operator} ?", [value]


def _typed(condition: Condition, column: Column, value: str) -> object:
    try:
        if column.type_name == "BIGINT":
            found = int(value)
            if not -(2**63) <= found < 2**63:
                raise ValueError
            return found
        if column.type_name == "DOUBLE":
            return float(value)
    except ValueError:
        raise _is_none(condition, column, "numbers", value) from None
    return _date(condition, column, value) if _is_date(column) else value


def _is_date(column: Column) -> bool:
    return column.name[0].isupper() and column.name.endswith("Date")  # as DICOM spells its keywords


def _date(condition: Condition, column: Column, value: str) -> str:
    match = _DATE.fullmatch(value)
    try:
        return datetime.date(*map(int, match.groups())).isoformat()  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        raise _is_none(condition, column, "dates", value, "Write one like 1999-06-01.") from None


def _is_age(column: Column) -> bool:
    return column.name == "PatientAge"


def _years(condition: Condition, column: Column, value: str) -> float:
    match = _AGE.fullmatch(value)
    if match is None:
        hint = "Write years like 70 or 070Y; months, weeks and days like 018M, 006W, 010D."
        raise _is_none(condition, column, "ages", value, hint)
    return float(match[1]) * _YEARS[match[2].upper()]


def _years_sql(column: Column) -> str:
    """SQL for the age of a row in years; NULL if it is not an age."""
    units = " ".join(f"WHEN '{unit}' THEN {years!r}" for unit, years in _YEARS.items() if unit)
    unit = f"CASE upper(right({column.sql}, 1)) {units} ELSE 1.0 END"
    return f"(TRY_CAST(regexp_extract({column.sql}, '^([0-9.]+)[DWMYdwmy]?$', 1) AS DOUBLE) * {unit})"


def _is_none(condition: Condition, column: Column, kind: str, value: str, hint: str = "") -> SelectionError:
    return SelectionError(
        condition.column,
        f"The column {column.name} holds {kind}, and “{value}” is not one; nothing was selected.",
        hint,
    )


class Unmatched(NamedTuple):
    """A value of a condition that matches nothing.

    Attributes
    ----------
    condition, value
        The condition and its value.
    is_known
        Whether the column contains the value, even if no requested series has it.
    is_identifier
        Whether the column holds identifiers.
    near
        Similar values of the column.
    """

    condition: Condition
    value: str
    is_known: bool
    is_identifier: bool
    near: tuple[str, ...]

    @property
    def what(self) -> str:
        """The value with its column, as the user would write it."""
        shown = f"{self.condition.column}{self.condition.operator}{self.value}"
        return f"{shown} (did you mean {' or '.join(self.near)}?)" if self.near else shown


def unmatched(
    database: Database, conditions: Iterable[Condition], rows: str, where: str, parameters: Sequence[object]
) -> list[Unmatched]:
    """Find values of conditions that match nothing: a typo would go unnoticed among other values.

    Parameters
    ----------
    database
        The session to query.
    conditions
        Only those with several values, or with ``!=``, are checked.
    rows, where, parameters
        The selection: a table in SQL, a condition on it, and values to bind.
    """
    found = []
    for condition in conditions:
        if condition.operator in ("<", "<=", ">", ">="):
            continue
        if len(condition.values) < 2 and condition.operator != "!=":
            continue  # if the only value matches nothing, nothing is selected, which is an error elsewhere
        column = known_column(condition.column)
        several = [value for value in condition.values if value]
        known = _meeting(database, condition, several, column.rows, "true", [])
        there = known
        if column.table == MAIN_INDEX and condition.operator != "!=":
            there = _meeting(database, condition, sorted(known), rows, where, parameters)
        for value in several:
            if value not in there:
                is_known = value in known
                near = () if is_known or _is_age(column) else near_values(database, column, value)
                found.append(Unmatched(condition, value, is_known, _is_identifier(column.name), near))
    return found


def _meeting(
    database: Database,
    condition: Condition,
    values: Sequence[str],
    rows: str,
    where: str,
    parameters: Sequence[object],
) -> set[str]:
    """The values that match at least one row."""
    operator = "=" if condition.operator == "!=" else condition.operator
    column = known_column(condition.column)
    if operator == "=" and not _is_age(column):
        typed = {value: _typed(condition, column, value) for value in values}
        clause, bound = among(column.sql, list(typed.values()), column.type_name)
        sql = f"SELECT DISTINCT {column.sql} FROM {rows} WHERE ({where}) AND {clause}"
        there = set(database.column(sql, [*parameters, *bound])) if values else set()
        return {value for value, each in typed.items() if each in there}
    met = set()
    for value in values:
        clause, bound = _clause(Condition(condition.column, operator, (value,)), column)
        sql = f"SELECT 1 FROM {rows} WHERE ({where}) AND {clause} LIMIT 1"
        if database.column(sql, [*parameters, *bound]):
            met.add(value)
    return met


def _is_identifier(column: str) -> bool:
    return column.lower().endswith(("uid", "uuid", "_id", "patientid"))


def near_values(database: Database, column: Column, value: str) -> tuple[str, ...]:
    """Values of a column that are spelt like the given one or similarly; letter case is ignored."""
    if len(value) > _LONGEST_VALUE:
        return ()
    sql = f"""
        SELECT value FROM (SELECT DISTINCT {column.sql}::VARCHAR AS value FROM {column.rows})
        WHERE jaro_winkler_similarity(lower(value), lower($1)) > 0.8
           OR starts_with(lower(value), lower($1)) OR starts_with(lower($1), lower(value))
        ORDER BY lower(value) = lower($1) DESC, jaro_winkler_similarity(lower(value), lower($1)) DESC, value
        LIMIT {_NEAR_VALUES}
    """
    return tuple(each for each in database.column(sql, [value]) if each)
