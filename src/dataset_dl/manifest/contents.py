"""What a manifest names, told from what is in it and not from its name."""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dataset_dl.errors import ManifestError
from dataset_dl.manifest import commands, table, tcia
from dataset_dl.manifest.commands import Entry
from dataset_dl.model import PlannedSeries, as_identifiers

_PARQUET_MAGIC = b"PAR1"
_ZIP_MAGIC = b"PK\x03\x04"
_WORKBOOK = "xl/workbook.xml"
_OTHER_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "a document of an old Office; save it as .xlsx or .csv",
}
_DELIMITERS = ",\t;"


class Line(NamedTuple):
    """A line that is not empty and no comment, and its number from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a manifest names.

    Attributes
    ----------
    is_plan
        Whether it is a table with all columns of a plan (Parquet or CSV), to be read as one.
    identifiers
        Identifiers of any kind.
    optional
        SeriesInstanceUIDs that IDC may not have: those of a manifest of TCIA.
    entries
        Series named by their place in a bucket.
    """

    is_plan: bool = False
    identifiers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def read(path: Path) -> Contents:
    """Read a manifest.

    Raises
    ------
    ManifestError
        If it cannot be read, is no manifest, or has a wrong line.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1024)
            rest = b"" if start.startswith(_PARQUET_MAGIC) else file.read()
    except OSError as error:
        raise ManifestError(
            str(path), f"The manifest {path} cannot be read: {error.strerror}.", "Nothing was started."
        ) from None
    return parse(start + rest, str(path))


def parse(data: bytes, name: str) -> Contents:
    """Read a manifest that is in memory, for example from standard input."""
    if data.startswith(_PARQUET_MAGIC):
        return Contents(is_plan=True)
    if data.startswith(_ZIP_MAGIC):
        return _workbook(data, name)
    for magic, what in _OTHER_MAGIC.items():
        if data.startswith(magic):
            raise _not_a_manifest(name, f"it is {what}")
    text = _text(data, name)
    lines = [Line(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [line for line in lines if line.text and not line.text.startswith("#")]
    if not lines:
        raise _not_a_manifest(name, "it names nothing")
    if tcia.is_manifest(lines, name):
        return Contents(optional=tcia.series(lines, name))
    if (contents := _delimited(text, name)) is not None:
        return contents
    if any("://" in line.text for line in lines):
        return Contents(entries=commands.entries(lines, name))
    return Contents(identifiers=as_identifiers([line.text for line in lines]))


def _text(data: bytes, name: str) -> str:
    # What Excel calls Unicode text is UTF-16 with a mark at its start.
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise _not_a_manifest(name, "it is not text") from None
    if "\0" in text:
        raise _not_a_manifest(name, "it is not text")
    return text


def _delimited(text: str, name: str) -> Contents | None:
    """A table with a header that names series, or a plan; None if it has no such header."""
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    headers = {mark: next(csv.reader([numbered[0][1]], delimiter=mark)) for mark in _DELIMITERS}
    delimiter = max(headers, key=lambda mark: len(headers[mark]))
    header = headers[delimiter]
    if is_plan(header):
        return Contents(is_plan=True)
    if not table.columns_of(header):
        return None
    reader = csv.reader((line for _, line in numbered), delimiter=delimiter)
    next(reader)
    rows = ((numbered[reader.line_num - 1][0], row) for row in reader)
    return Contents(identifiers=table.identifiers(rows, header, name))


def is_plan(columns: Sequence[str]) -> bool:
    """Whether a table has the columns of a plan; those of the first ones did not tell files."""
    return {*PlannedSeries._fields} - {"files"} <= {*columns}


def _workbook(data: bytes, name: str) -> Contents:
    """The first sheet of an Excel workbook that has a column of identifiers."""
    try:
        is_workbook = _WORKBOOK in zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile:
        is_workbook = False
    if not is_workbook:
        raise _not_a_manifest(name, "it is a ZIP archive")
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = [[list(row) for row in sheet.iter_rows(values_only=True)] for sheet in book.worksheets]
    except Exception as error:  # a damaged workbook raises whatever its parts raise
        raise _not_a_manifest(name, f"the workbook cannot be read ({error})") from None
    for cells in sheets:
        rows = [
            (number, ["" if cell is None else str(cell).strip() for cell in row])
            for number, row in enumerate(cells, 1)
            if any(cell is not None for cell in row)
        ]
        if rows and table.columns_of(rows[0][1]):
            return Contents(identifiers=table.identifiers(rows[1:], rows[0][1], name))
    raise _not_a_manifest(
        name, "no sheet of the workbook begins with a column of series, studies or patients"
    )


def _not_a_manifest(name: str, reason: str) -> ManifestError:
    return ManifestError(
        name,
        f"{name} is not a manifest: {reason}.",
        "Give a .s5cmd, .tcia, .csv, .xlsx or .parquet file, or a list of identifiers.",
    )
