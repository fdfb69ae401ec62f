"""Tables of others: which column names the series, by the names that people give it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dataset_dl.errors import ManifestError

# What a column is called where it names one thing exactly, best first, without case and punctuation.
_NAMES = (
    ("crdcseriesuuid", "idcseriesuuid", "seriesuuid"),
    ("seriesinstanceuid", "seriesuid", "seriesinstanceuids", "seriesuids", "imageseriesuid"),
    ("studyinstanceuid", "studyuid", "studyinstanceuids", "studyuids"),
    ("patientid", "subjectid", "casesubmitterid", "patientids"),
    ("collectionid", "collection", "collectionids"),
)


def column_of(header: Sequence[str]) -> int | None:
    """The column that names series most exactly; None if none names any."""
    plain = [re.sub(r"[^a-z]", "", each.lower()) for each in header]
    for names in _NAMES:
        for index, column in enumerate(plain):
            if column in names:
                return index
    return None


def identifiers(rows: Iterator[tuple[int, list[str]]], name: str) -> tuple[str, ...]:
    """The values of that column, each once.

    Parameters
    ----------
    rows
        The number of its line, and each row; the first is the header.
    name
        Of the table, for an error.
    """
    _, header = next(rows)
    index = column_of(header)
    assert index is not None, "whoever calls has looked"
    values = []
    for number, row in rows:
        if len(row) != len(header):
            raise ManifestError(
                name,
                f"Line {number} of {name} has {len(row)} fields where the header has {len(header)}.",
                "Nothing was started.",
                number,
            )
        values.append(row[index])
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
