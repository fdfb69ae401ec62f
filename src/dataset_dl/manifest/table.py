"""Tables from elsewhere: find the columns that name series or files by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dataset_dl.errors import ManifestError

# Names of identifying columns, the most exact kind first, without case and punctuation.
_NAMES = (
    ("sopinstanceuid", "instanceuid", "sopinstanceuids", "crdcinstanceuuid"),
    ("crdcseriesuuid", "idcseriesuuid", "seriesuuid"),
    ("seriesinstanceuid", "seriesuid", "seriesinstanceuids", "seriesuids", "imageseriesuid"),
    ("studyinstanceuid", "studyuid", "studyinstanceuids", "studyuids"),
    ("patientid", "subjectid", "casesubmitterid", "patientids"),
    ("collectionid", "collection", "collectionids"),
)


def columns_of(header: Sequence[str]) -> list[int]:
    """The columns that name something, the most exact first."""
    plain = list(map(_plain, header))
    return [index for names in _NAMES for index, column in enumerate(plain) if column in names]


def identifiers(rows: Iterable[tuple[int, Sequence[object]]], header: Sequence[str], name: str) -> list[str]:
    """The most exact identifier in each row, in order, with repetitions.

    Parameters
    ----------
    rows
        Each row with its line or row number.
    header
        The column names.
    name
        Name of the table, for errors.

    Raises
    ------
    ManifestError
        If a row has more or fewer fields than the header, names nothing, or contradicts itself.
    """
    columns = columns_of(header)
    rivals = _rivals(header, columns)
    found: list[str] = []
    for number, row in rows:
        if len(row) != len(header):
            raise ManifestError(
                name,
                f"Line {number} of {name} has {len(row)} fields, but the header has {len(header)}.",
                "Nothing was started.",
                number,
            )
        value = next((text for index in columns if (text := text_of(row[index]))), "")
        for first, second in rivals:
            if (one := _squashed(row[first])) and (other := _squashed(row[second])) and one != other:
                raise ManifestError(
                    name,
                    f"Row {number} of {name} names one thing in two ways: its {header[first]} and its"
                    f" {header[second]} differ.",
                    "Nothing was started. Keep only the column that you mean.",
                    number,
                )
        if not value:
            empty = ", ".join(header[index] for index in columns)
            raise ManifestError(
                name,
                f"Row {number} of {name} names nothing: it is empty in {empty}.",
                "Nothing was started. Fill it in, or delete the row.",
                number,
            )
        found.append(value)
    return found


def _rivals(header: Sequence[str], columns: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of columns that name the same kind of thing, so their values must agree."""
    kinds: dict[int, list[int]] = {}
    for index in columns:
        kind = next(number for number, names in enumerate(_NAMES) if _plain(header[index]) in names)
        if kind:  # a file has two identifiers of its own
            kinds.setdefault(kind, []).append(index)
    return [(several[0], other) for several in kinds.values() for other in several[1:]]


def _squashed(value: object) -> str:
    return re.sub(r"[^a-z0-9]", "", text_of(value).lower())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def text_of(value: object) -> str:
    """A cell as text; empty if the value is missing."""
    # A missing value is None or NaN, which is not equal to itself.
    if value is None or value != value:  # noqa: PLR0124
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas turns integers into floats if a value is missing
    text = str(value).strip()
    return "" if text in ("<NA>", "NaT") else text
