"""The selection: identifiers and conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from dataset_dl.errors import SelectionError

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
Where = Mapping[str, object] | Iterable["str | Condition"]
_CONDITION = re.compile(
    r"\s*((?:[A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*)\s*(!=|<>|<=|>=|=<|=>|==|=|<|>|~)(.*)",
    re.DOTALL,
)
# A value in double quotes ("" escapes one), in single quotes, or bare; up to a comma or the end.
_VALUE = re.compile(
    r"""\s*(?:"(?P<double>(?:[^"]|"")*)"|'(?P<single>[^']*)'(?=\s*(?:,|$))|(?P<bare>[^,]*?))\s*(?P<end>,|$)""",
    re.DOTALL,
)
# Alternative spellings of operators.
_SPELLINGS = {"==": "=", "<>": "!=", "=>": ">=", "=<": "<="}
# Stands for “no value” in a condition.
EMPTY = "(empty)"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on a column of the main index.

    Attributes
    ----------
    column
        Name of the column, as IDC spells it; for tables other than the main index ``TABLE.COLUMN``.
    operator
        ``=`` (any of the values), ``!=`` (none of them), ``<``, ``<=``, ``>``, ``>=``
        (one value), ``~`` (contains any of the values, in any letter case).
    values
        The values to compare with, at least one; an empty string stands for no value.
    """

    column: str
    operator: Operator
    values: tuple[str, ...]

    def __str__(self) -> str:
        """Write the condition as `parse` reads it."""
        return f"{self.column}{self.operator}{','.join(map(_written, self.values))}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse ``COLUMN=VALUE[,VALUE…]``; a value that contains a comma needs quotes.

        No value, or ``(empty)``, matches series without a value in the column.

        Raises
        ------
        SelectionError
            If `text` is not a condition.
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise SelectionError(
                text,
                f"“{text}” is not a condition, so nothing was selected.",
                'Write COLUMN=VALUE, for example "Modality=CT,MR" or "instanceCount>=100".',
            )
        column, operator, rest = match.groups()
        return cls._checked(column, _SPELLINGS.get(operator, operator), _values(rest, text), text)

    @classmethod
    def of(cls, column: str, value: object) -> Condition:
        """Require equality with a value, or with any of several; None stands for no value."""
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        values = tuple(map(_text, value if several else [value]))  # type: ignore[call-overload]
        return cls._checked(column, "=", values, f"{column}={value!r}")

    @classmethod
    def _checked(cls, column: str, operator: Any, values: tuple[str, ...], text: str) -> Condition:
        if not values or ("" in values and operator not in ("=", "!=")):
            raise SelectionError(text, f"The condition “{text}” lacks a value.", "Add one.")
        if operator in ("<", "<=", ">", ">=") and len(values) > 1:
            raise SelectionError(
                text, f"“{operator}” takes one value, but “{text}” has {len(values)}.", "Keep one."
            )
        return cls(column, operator, values)


def _values(text: str, condition: str) -> tuple[str, ...]:
    values: list[str] = []
    place = 0
    while True:
        match = _VALUE.match(text, place)
        if match is None or (match["bare"] or "").startswith('"'):
            raise SelectionError(
                condition,
                f"The values of the condition “{condition}” cannot be read: a quotation mark is not closed.",
                'Write COLUMN="VALUE, WITH A COMMA".',
            )
        bare = match["bare"]
        if bare is not None:
            values.append("" if bare == EMPTY else bare)
        else:
            values.append(
                match["double"].replace('""', '"') if match["double"] is not None else match["single"]
            )
        if bare == "" and (match["end"] or len(values) > 1):
            raise SelectionError(
                condition,
                f"The condition “{condition}” has no value next to a comma.",
                f"Remove the comma, or write {EMPTY} for series without a value.",
            )
        if not match["end"]:
            return tuple(values)
        place = match.end()


def _written(value: str) -> str:
    if not value:
        return EMPTY
    is_bare = value != EMPTY and value == value.strip() and "," not in value and value[0] not in "\"'=<>"
    return value if is_bare else '"' + value.replace('"', '""') + '"'


def _text(value: object) -> str:
    # Missing values are None, NaN and NaT (unequal to themselves), and pandas.NA (cannot be compared).
    if value is None or type(value).__name__ == "NAType" or value != value:  # noqa: PLR0124
        return ""
    return str(value)


def conditions(where: Where | None) -> tuple[Condition, ...]:
    """Parse conditions from a mapping ``{column: value or values}`` or strings like ``"Modality=CT"``."""
    if where is None:
        return ()
    if isinstance(where, str):
        return (Condition.parse(where),)
    if isinstance(where, Mapping):
        return tuple(Condition.of(str(column), value) for column, value in where.items())
    return tuple(_condition(each) for each in where)


def _condition(each: object) -> Condition:
    if isinstance(each, Condition):
        return each
    if isinstance(each, str):
        return Condition.parse(each)
    raise SelectionError(
        str(each),
        f"{each!r} is not a condition, so nothing was selected.",
        'Write where={"Modality": "CT"} or where=["Modality=CT"].',
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection: identifiers of any kind, narrowed by conditions.

    Attributes
    ----------
    identifiers
        Any mix of collections, analysis results, patients, studies, series and crdc_series_uuids.
    where
        Conditions that every series must meet.
    with_references, with_annotations
        Add the images that selected annotations refer to, and the annotations that refer to selected images,
        regardless of all conditions except those on the licence.
    limit
        Keep only this many series, the first ones in the order of the index.
    sample, seed
        Keep only this many series, chosen at random; the same seed gives the same choice.
    """

    identifiers: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    with_references: bool = False
    with_annotations: bool = False
    limit: int | None = None
    sample: int | None = None
    seed: int = 0


class Request(NamedTuple):
    """The inputs of a plan; with a newer index they also match the series that it adds."""

    identifiers: tuple[str, ...]
    where: tuple[Condition, ...]
    layout: str
    with_references: bool = False
    with_annotations: bool = False
