"""Parse a manifest. Its content, not its name, decides what kind it is."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dataset_dl.errors import ManifestError
from dataset_dl.manifest import commands, table, tcia
from dataset_dl.manifest.commands import Places
from dataset_dl.manifest.entry import Entry, Line
from dataset_dl.model.plan import Account
from dataset_dl.plans.opening import is_plan
from dataset_dl.wording import shortened

PARQUET_MAGIC = b"PAR1"
_ZIP_MAGIC = b"PK\x03\x04"
_WORKBOOK = "xl/workbook.xml"
# A workbook compresses its XML 5 to 20 times. A large one that compresses far better is hostile.
_LARGE_WORKBOOK_BYTES, _MOST_PACKED = 20_000_000, 50
_OTHER_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "a document in an old Office format; save it as .xlsx or .csv",
}
_DELIMITERS = ",\t;"
_LINE_END = re.compile(r"\r\n|\n|\r")
_NAMES_SERIES = re.compile(r"[0-9]+(\.[0-9]+)+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LEFT_OUT_SHOWN = 3
# A cell that has a formula but no stored value.
_BARE_FORMULA = re.compile(
    rb"""<c r="([A-Z]+[0-9]+)"[^>]*>\s*<f[^>]*>[^<]*</f>\s*(?:<v\s*/>|<v></v>)?\s*</c>"""
)


class PlanTable(NamedTuple):
    """A saved plan as CSV, without comments and empty lines; `rows` does not count the header."""

    header: list[str]
    delimiter: str
    text: str
    rows: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a manifest names.

    Attributes
    ----------
    plan
        The manifest as a saved plan, if it has all columns of one.
    identifiers
        Identifiers of any kind, each once.
    optional
        Identifiers that IDC may not have, each once: those of a TCIA manifest, and lines of other buckets.
    entries
        Series named by their address in a bucket.
    accounts
        How the rows of the manifest were used.
    buckets
        The buckets in its addresses.
    retries
        How often to retry, if it says so.
    server
        The host of the archive that it is for, if it says so.
    """

    plan: PlanTable | None = None
    identifiers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    accounts: tuple[Account, ...] = ()
    buckets: tuple[str, ...] = ()
    retries: int | None = None
    server: str = ""


def parse(data: bytes, name: str, places: Places = Places()) -> Contents:  # noqa: B008
    """Parse a manifest of any kind but Parquet.

    Raises
    ------
    ManifestError
        If it is not a manifest, or has a wrong line.
    """
    if data.startswith(_ZIP_MAGIC):
        return _workbook(data, name)
    for magic, what in _OTHER_MAGIC.items():
        if data.startswith(magic):
            raise _not_a_manifest(name, f"it is {what}")
    every = list(enumerate(_LINE_END.split(_text(data, name)), 1))
    lines = [Line(number, text) for number, each in every if (text := each.strip()) and text[0] != "#"]
    if not lines:
        raise _not_a_manifest(name, "it names nothing")
    if tcia.is_manifest(lines, name):
        uids = tcia.series(lines, name)
        account = _account(name, uids)
        return Contents(
            optional=_once(uids), accounts=(account,), retries=tcia.retries(lines), server=tcia.server(lines)
        )
    if (contents := _delimited(every[lines[0].number - 1 :], name)) is not None:
        return contents
    if any("://" in line.text for line in lines):
        return _addresses(lines, name, places)
    named = [each for line in lines for part in line.text.split(",") if (each := part.strip())]
    return Contents(identifiers=_once(named), accounts=(_account(name, named),))


def _once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _account(name: str, named: Sequence[object], left_out: Sequence[str] = ()) -> Account:
    return Account(name, len(named), len({*named}), tuple(left_out))


def _text(data: bytes, name: str) -> str:
    # Excel saves “Unicode text” as UTF-16 with a byte order mark.
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise _not_a_manifest(name, "it is not text") from None
    if "\0" in text:
        raise _not_a_manifest(name, "it is not text")
    return text


def _addresses(lines: Sequence[Line], name: str, places: Places) -> Contents:
    """Parse lines that copy from a store; bare UIDs are identifiers, other lines are left out."""
    addressed = [line for line in lines if "://" in line.text or commands.copies(line.text)]
    others = [line for line in lines if line not in addressed]
    named = [line.text for line in others if _NAMES_SERIES.fullmatch(line.text)]
    rest = [line for line in others if not _NAMES_SERIES.fullmatch(line.text)]
    foreign = commands.foreign(addressed, places)
    found = commands.entries([line for line in addressed if line not in foreign], name, places)
    left_out = [
        f"line {line.number} has no address (“{shortened(line.text)}”)" for line in rest[:_LEFT_OUT_SHOWN]
    ]
    if len(rest) > _LEFT_OUT_SHOWN:
        left_out.append(f"{len(rest) - _LEFT_OUT_SHOWN:,} more lines have no address")
    unknown = [line.text for line in foreign]
    things = [*named, *unknown, *((each.key, each.files) for each in found)]
    return Contents(
        identifiers=_once(named),
        optional=_once(unknown),
        entries=found,
        accounts=(_account(name, things, left_out),),
        buckets=_once(commands.buckets(addressed)),
    )


def _delimited(lines: Sequence[tuple[int, str]], name: str) -> Contents | None:
    """Parse a plan, or a table with a column that names series; None if the first line is no such header."""
    first, text = lines[0]
    headers = {mark: fields for mark in _DELIMITERS if (fields := _fields(text, mark))}
    if not headers:
        return None
    delimiter = max(headers, key=lambda mark: len(headers[mark]))
    header = headers[delimiter]
    if is_plan(header):
        kept = [(number, line) for number, line in lines[1:] if line.strip()]
        count = sum(1 for _ in _rows(kept, delimiter, name))
        whole = "\n".join([text, *(line for _, line in kept)])
        return Contents(plan=PlanTable(header, delimiter, f"{whole}\n", count))
    if not table.columns_of(header):
        return None
    named = table.identifiers(_rows(lines[1:], delimiter, name), header, name)
    if not named:
        raise ManifestError(name, f"{name} has a header but no rows.", "Nothing was started.", first)
    return Contents(identifiers=_once(named), accounts=(_account(name, named),))


def _fields(line: str, delimiter: str) -> list[str]:
    """The fields of a single line; empty if it is not valid CSV."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _rows(lines: Sequence[tuple[int, str]], delimiter: str, name: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Each row with its line number; if the number of rows is ambiguous, raise an error.

    Raises
    ------
    ManifestError
        If quotation marks are wrong, or a field continues on the next line: a quotation mark left open by
        mistake would swallow the rows below it.
    """
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    done = 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            number = lines[min(done, len(lines) - 1)][0]
            raise ManifestError(
                name,
                f"Line {number} of {name} is wrong: {error}. Is a quotation mark left open?",
                "Nothing was started.",
                number,
            ) from None
        if row is None:
            return
        number = lines[done][0]
        if reader.line_num != done + 1:
            raise ManifestError(
                name,
                f"A field that begins in line {number} of {name} goes on in the next line."
                " Is a quotation mark left open?",
                "Nothing was started. Take line breaks out of the fields.",
                number,
            )
        done = reader.line_num
        if len(row) > 1 or (row and row[0].strip()):
            yield number, row


def _workbook(data: bytes, name: str) -> Contents:
    """Parse the sheets of an Excel workbook that have a column of identifiers; report the others."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            is_workbook = _WORKBOOK in archive.namelist()
            size_bytes = sum(each.file_size for each in archive.infolist())
    except zipfile.BadZipFile:
        is_workbook = False
    if not is_workbook:
        raise _not_a_manifest(name, "it is a ZIP archive")
    if size_bytes > max(_LARGE_WORKBOOK_BYTES, _MOST_PACKED * len(data)):
        raise _not_a_manifest(
            name, f"the workbook would unpack to {size_bytes / 1e6:,.0f} MB, which is too much"
        )
    import openpyxl

    _refuse_formulas(data, name)
    named: list[str] = []
    accounts: list[Account] = []
    left_out: list[str] = []
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # the dimensions in the file may be wrong
            rows = _cells(sheet.iter_rows(values_only=True))
            _, header = next(rows, (0, []))
            if table.columns_of(header):
                found = table.identifiers(
                    _of_width(rows, len(header)), header, f"{name}, sheet {sheet.title}"
                )
                accounts.append(_account(f"{name}, sheet {sheet.title}", found))
                named += found
            elif header:
                left_out.append(
                    f"the first row of the sheet {sheet.title} names no column of series, studies or patients"
                )
    except ManifestError:
        raise
    except Exception as error:  # a damaged workbook can raise anything
        raise _not_a_manifest(name, f"the workbook cannot be read ({error})") from None
    if not named:
        raise _not_a_manifest(name, "no sheet of the workbook has a column of series, studies or patients")
    if left_out:
        accounts.append(Account(name, 0, 0, tuple(left_out)))
    return Contents(identifiers=_once(named), accounts=tuple(accounts))


def _refuse_formulas(data: bytes, name: str) -> None:
    """Refuse a cell whose formula has no stored value: it would read as empty."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [
            each for each in archive.namelist() if each.startswith("xl/worksheets/") and each.endswith(".xml")
        ]
        for sheet in sheets:
            if match := _BARE_FORMULA.search(archive.read(sheet)):
                cell = match[1].decode(errors="replace")
                raise ManifestError(
                    name,
                    f"The cell {cell} of {name} holds a formula without a stored value; nothing was started.",
                    "Open it in a spreadsheet program and save it; that stores the values.",
                )


def _cells(rows: Iterable[Sequence[object]]) -> Iterator[tuple[int, list[str]]]:
    """The non-empty rows as texts, without trailing empty cells."""
    for number, row in enumerate(rows, 1):
        texts = [table.text_of(cell) for cell in row]
        while texts and not texts[-1]:
            texts.pop()
        if texts:
            yield number, texts


def _of_width(rows: Iterable[tuple[int, list[str]]], width: int) -> Iterator[tuple[int, list[str]]]:
    """Rows cut or padded to the width of the header; cells to the right of it belong to no column."""
    for number, row in rows:
        yield number, [*row[:width], *[""] * (width - len(row))]


def _not_a_manifest(name: str, reason: str) -> ManifestError:
    return ManifestError(
        name,
        f"{name} is not a manifest: {reason}.",
        "Give a .s5cmd, .tcia, .csv, .xlsx or .parquet file, or a list of identifiers.",
    )
