"""Tables of others: which columns name series or files, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dataset_dl.errors import ManifestError

# What a column is called where it names one thing exactly, best first, without case and punctuation.
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
    plain = [re.sub(r"[^a-z]", "", each.lower()) for each in header]
    return [index for names in _NAMES for index, column in enumerate(plain) if column in names]


def identifiers(rows: Iterable[tuple[int, Sequence[object]]], header: Sequence[str], name: str) -> list[str]:
    """What each row names most exactly, in their order, with repetitions.

    Parameters
    ----------
    rows
        The number of its line or row, and each row.
    header
        The names of the columns.
    name
        Of the table, for an error.

    Raises
    ------
    ManifestError
        If a row has another number of fields than the header, or names nothing.
    """
    columns = columns_of(header)
    found: list[str] = []
    for number, row in rows:
        if len(row) != len(header):
            raise ManifestError(
                name,
                f"Line {number} of {name} has {len(row)} fields where the header has {len(header)}.",
                "Nothing was started.",
                number,
            )
        value = next((text for index in columns if (text := text_of(row[index]))), "")
        if not value:
            empty = ", ".join(header[index] for index in columns)
            raise ManifestError(
                name,
                f"Row {number} of {name} names nothing: it is empty in {empty}.",
                "Nothing was started. Fill it in, or take the row out.",
                number,
            )
        found.append(value)
    return found


def text_of(value: object) -> str:
    """A cell as a text; empty if it is missing."""
    # What is missing is None, or a float that is not equal to itself.
    if value is None or value != value:  # noqa: PLR0124
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes floats of whole numbers where one is missing
    text = str(value).strip()
    return "" if text in ("<NA>", "NaT") else text
