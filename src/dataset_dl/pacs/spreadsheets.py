"""Spreadsheets with a query in each row: read with merged cells and numbers, answered in another one."""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.errors import ManifestError, SelectionError
from dataset_dl.pacs.query import KEYWORDS, Query
from dataset_dl.scratch import written_whole
from dataset_dl.wording import counted, shortened

_NAMED = 20
_MOST_UNPACKED_BYTES, _MOST_ROWS, _MOST_COLUMNS = 200_000_000, 200_000, 256
# Merged cells, and single ones, which stand at any place of a sheet.
_AREA = re.compile(rb'<(?:mergeCell|dimension) ref="([A-Z0-9:]+)"|<c r="([A-Z]{3,}[0-9]+|[A-Z]+[0-9]{6,})"')
_ALIASES = {
    "accession": "AccessionNumber",
    "accessionno": "AccessionNumber",
    "birthdate": "PatientBirthDate",
    "mrn": "PatientID",
    "patient": "PatientID",
    "seriesuid": "SeriesInstanceUID",
    "studyuid": "StudyInstanceUID",
}
_KNOWN = {keyword.lower(): keyword for keyword in KEYWORDS} | _ALIASES


class Asked(NamedTuple):
    """A row: its number in the file, all its cells, and what it asks."""

    number: int
    cells: Sequence[str]
    query: Query


def read(path: Path, level: str) -> tuple[list[str], list[Asked]]:
    """Read a spreadsheet, ``.xlsx`` or ``.csv``; return its columns and its rows.

    Raises
    ------
    ManifestError
        If it cannot be read, or rows are wrong; all of them are named.
    """
    refuse_ending(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(
            str(path), f"{path} cannot be read: {error.strerror}. Nothing was started."
        ) from None
    header, rows = table(path, data)
    keywords = [_KNOWN.get(re.sub(r"[^a-z]", "", name.lower())) for name in header]
    if not any(keywords):
        raise ManifestError(
            str(path),
            f"No column of {path} is known; it has {shortened(', '.join(header))}. Nothing was started.",
            f"Name columns {', '.join(KEYWORDS)}.",
        )
    if double := next((each for each in keywords if each and keywords.count(each) > 1), None):
        raise ManifestError(str(path), f"{path} has several columns for {double}; nothing was started.")
    found: list[Asked] = []
    wrong: list[tuple[int, str]] = []
    for number, cells in rows:
        conditions = {
            keyword: text for keyword, text in zip(keywords, cells, strict=True) if keyword and text
        }
        try:
            if not conditions:
                raise SelectionError("", "it has no condition.")
            query = Query.of(conditions, level)
        except SelectionError as error:
            wrong.append((number, error.message.rstrip(".").removesuffix("; nothing was asked")))
            continue
        found.append(Asked(number, cells, query))
    refuse_rows(path, wrong, "cannot be asked, so nothing was")
    if not found:
        raise ManifestError(str(path), f"{path} has no row below its header; nothing was started.")
    return header, found


def refuse_rows(path: Path, wrong: Sequence[tuple[int, str]], what: str) -> None:
    """Refuse a spreadsheet with wrong rows, and name them.

    Raises
    ------
    ManifestError
        If there are any.
    """
    if not wrong:
        return
    named = "; ".join(f"row {number}: {reason}" for number, reason in wrong[:_NAMED])
    more = f"; and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
    raise ManifestError(
        str(path),
        f"{counted(len(wrong), 'row')} of {path} {what}: {named}{more}.",
        "Mend them, then do the same again.",
        line=wrong[0][0],
    )


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, ``.xlsx`` or ``.csv``; it appears when it is whole.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    with written_whole(path) as target:
        if path.suffix.lower() == ".csv":
            with target.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(rows)
            return
        _write_workbook(target, columns, rows)


def refuse_target(path: Path) -> None:
    """Refuse a file for answers that cannot be written.

    Raises
    ------
    ManifestError
        If it is neither ``.xlsx`` nor ``.csv``, or its directory is not there.
    """
    refuse_ending(path)
    if not path.absolute().parent.is_dir():
        raise ManifestError(str(path), f"{path} has no directory to be in; nothing was started.")


def refuse_ending(path: Path) -> None:
    """Refuse a file that is neither ``.xlsx`` nor ``.csv``.

    Raises
    ------
    ManifestError
        If it is another one.
    """
    if path.suffix.lower() not in (".xlsx", ".csv"):
        raise ManifestError(str(path), f"{path} is neither .xlsx nor .csv; nothing was started.")


def table(path: Path, data: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header of a spreadsheet, and each row that is not empty with its number.

    Parameters
    ----------
    path
        What it is called.
    data
        Its contents.

    Raises
    ------
    ManifestError
        If it is no spreadsheet.
    """
    refuse_ending(path)
    rows_of_all = _of_csv(path, data) if path.suffix.lower() == ".csv" else _of_workbook(path, data)
    for place, (_, cells) in enumerate(rows_of_all):
        if any(cells):
            header = cells
            rest = rows_of_all[place + 1 :]
            break
    else:
        raise ManifestError(str(path), f"{path} is empty; nothing was started.")
    width = max(index + 1 for index, name in enumerate(header) if name)
    header = [name or f"column {index + 1}" for index, name in enumerate(header[:width])]
    rows = [(number, [*cells[:width], *[""] * (width - len(cells))]) for number, cells in rest if any(cells)]
    return header, rows


def _of_csv(path: Path, data: bytes) -> list[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(
            str(path), f"{path} is not in UTF-8; nothing was started.", "Save it as UTF-8."
        ) from None
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ManifestError(str(path), f"{path} is no table: {error}. Nothing was started.") from None
    return [(number, [cell.strip() for cell in row]) for number, row in enumerate(rows, 1)]


def _refuse_huge(path: Path, data: bytes) -> None:
    """Refuse a workbook that unpacks to more than any list of studies, before that happens.

    Raises
    ------
    ManifestError
        If it does.
    """
    is_huge = False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            is_huge = sum(each.file_size for each in archive.infolist()) > _MOST_UNPACKED_BYTES
            for name in [] if is_huge else archive.namelist():
                if name.startswith("xl/worksheets/"):
                    is_huge |= any(_is_huge(one or other) for one, other in _AREA.findall(archive.read(name)))
    except zipfile.BadZipFile:
        return  # it is said later that it is no workbook
    if is_huge:
        raise ManifestError(
            str(path),
            f"{path} is larger than any list of studies; nothing was started.",
            "Are columns or rows formatted to the end of the sheet, or merged? Copy the list into a new one.",
        )


def _is_huge(area: bytes) -> bool:
    from openpyxl.utils import range_boundaries

    _, _, right, bottom = range_boundaries(area.decode())
    return right is None or bottom is None or right > _MOST_COLUMNS or bottom > _MOST_ROWS


def _of_workbook(path: Path, data: bytes) -> list[tuple[int, list[str]]]:
    import openpyxl

    _refuse_huge(path, data)
    try:
        sheet: Any = openpyxl.load_workbook(io.BytesIO(data), data_only=True).active
        formulas: Any = openpyxl.load_workbook(io.BytesIO(data)).active
        merged = {
            (row, column): (each.min_row, each.min_col)
            for each in sheet.merged_cells.ranges
            for row in range(each.min_row, each.max_row + 1)
            for column in range(each.min_col, each.max_col + 1)
        }
        rows = []
        for number, row in enumerate(sheet.iter_rows(), 1):
            cells = (
                sheet.cell(*merged[number, column]) if (number, column) in merged else cell
                for column, cell in enumerate(row, 1)
            )
            texts = []
            for cell in cells:
                if cell.value is None and formulas[cell.coordinate].value is not None:
                    # Nobody has computed it, and without it the row would ask for more.
                    raise _Uncomputed(cell.coordinate)
                texts.append(_text(cell.value, str(cell.number_format)))
            rows.append((number, texts))
    except _Uncomputed as error:
        raise ManifestError(
            str(path),
            f"The cell {error} of {path} is a formula without a value. Nothing was started.",
            "Open it in a program for spreadsheets and save it, or write the value.",
        ) from None
    except Exception as error:  # openpyxl raises whatever a strange file leads to
        raise ManifestError(
            str(path),
            f"{path} is no workbook that can be read ({type(error).__name__}). Nothing was started.",
        ) from None
    return rows


def _text(value: object, number_format: str) -> str:
    """Return a cell as a text: a number as it is shown, for an ID may begin with zeros."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return f"{value:%Y%m%d}"
    if isinstance(value, int | float):
        if isinstance(value, float) and not value.is_integer():
            return repr(value)
        digits = str(int(value))
        return digits.zfill(len(number_format)) if re.fullmatch("0+", number_format) else digits
    return str(value).strip()


def _write_workbook(target: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    for row in (columns, *rows):
        cells = []
        for text in row:
            # Explicitly as a text: a value like “=1+1” from an archive must not become a formula.
            cell: Any = WriteOnlyCell(sheet, _plain(text))
            cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)
    book.save(target)


class _Uncomputed(Exception):
    """A formula has no value."""


def _plain(text: str) -> str:
    """Leave out characters that a workbook cannot hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", text)
