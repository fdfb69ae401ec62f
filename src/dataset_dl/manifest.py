"""Manifests as text: what a file holds, and the line that s5cmd reads."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dataset_dl.errors import ManifestError
from dataset_dl.layout import check_directory
from dataset_dl.model import PlannedSeries, as_identifiers

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARQUET_MAGIC = b"PAR1"
_SHOWN_AT_MOST = 5
_OTHER_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
}
# Columns that other tools give to a list of series, best first.
_IDENTIFIER_COLUMNS = (
    "crdc_series_uuid",
    "seriesinstanceuid",
    "studyinstanceuid",
    "patientid",
    "collectionid",
)


class Entry(NamedTuple):
    """One series named by a manifest; the directory is None where the layout decides."""

    line: int
    crdc_series_uuid: str
    directory: str | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a manifest names.

    Attributes
    ----------
    is_plan
        Whether it is a table with all columns of a plan (Parquet or CSV), to be read as one.
    identifiers
        Identifiers of any kind.
    entries
        Series named by their place in a bucket.
    """

    is_plan: bool = False
    identifiers: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def copy_line(url: str, directory: str, exclude: Iterable[str] = ()) -> str:
    """The s5cmd command that fetches objects into a directory below the working directory."""
    words = [word for name in exclude for word in ("--exclude", shell_quote(name))]
    return (
        " ".join(["cp", *words, shell_quote(url), shell_quote(f"./{directory}/" if directory else "./")])
        + "\n"
    )


def list_line(url: str) -> str:
    """The s5cmd command that lists objects with their sizes and ETags."""
    return f"ls --etag {shell_quote(url)}\n"


def manifest_header(idc_version: int | None) -> str:
    """The first line of a ``.s5cmd`` manifest; `copy_line` says what the others are like."""
    return f"# IDC v{idc_version}: s5cmd --no-sign-request run FILE"


def read(path: Path) -> Contents:
    """Read a manifest; its kind is told from what is in it.

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
    for magic, what in _OTHER_MAGIC.items():
        if data.startswith(magic):
            raise _not_a_manifest(name, f"it is {what}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_a_manifest(name, "it is not text") from None
    if "\0" in text:
        raise _not_a_manifest(name, "it is not text")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        raise _not_a_manifest(name, "it names nothing")
    if (contents := _table(text, name)) is not None:
        return contents
    if any("://" in line for _, line in lines[:10]):
        return Contents(entries=_entries(name, lines))
    return Contents(identifiers=as_identifiers([line for _, line in lines]))


def _table(text: str, name: str) -> Contents | None:
    """A CSV with a header that names series, or a plan; None if it has no such header."""
    rows = csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    header = next(rows)
    if set(PlannedSeries._fields) <= set(header):
        return Contents(is_plan=True)
    plain = [re.sub(r"[^a-z_]", "", each.lower()) for each in header]
    for wanted in _IDENTIFIER_COLUMNS:
        for index, column in enumerate(plain):
            if wanted in (column, column.replace("_", "")):
                return Contents(identifiers=_column(rows, index, header, name))
    return None


def _column(rows: Iterator[list[str]], index: int, header: list[str], name: str) -> tuple[str, ...]:
    values = []
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ManifestError(
                name,
                f"Line {number} of {name} has {len(row)} fields where the header has {len(header)}.",
                "Nothing was started.",
                number,
            )
        values.append(row[index])
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))


def _entries(name: str, lines: list[tuple[int, str]]) -> tuple[Entry, ...]:
    entries = []
    wrong = []
    for number, line in lines:
        try:
            entries.append(_entry(number, line))
        except _WrongLine as error:
            wrong.append((number, line, str(error)))
    if wrong:
        raise _wrong_lines(name, wrong)
    return tuple(entries)


class _WrongLine(Exception):
    """Why one line of a manifest cannot be used."""


def _entry(number: int, line: str) -> Entry:
    try:
        words = shlex.split(line)
    except ValueError:
        raise _WrongLine("a quotation mark is left open") from None
    if words[0] == "cp":
        words = [word for word in words[1:] if not word.startswith("--")]
    if len(words) not in (1, 2):
        raise _WrongLine("it is not “cp s3://BUCKET/SERIES/* DIRECTORY”")
    address = urlsplit(words[0])
    if address.scheme not in ("s3", "gs") or not address.netloc:
        raise _WrongLine("it does not name an s3:// or gs:// address")
    uuid, _, objects = address.path.strip("/").partition("/")
    if not _UUID.fullmatch(uuid) or objects not in ("", "*"):
        raise _WrongLine("it does not name a whole series of IDC (BUCKET/SERIES/*)")
    directory = words[1].removeprefix("./").rstrip("/") if len(words) == 2 else "."
    if directory in ("", "."):
        return Entry(number, uuid, "" if len(words) == 2 and words[1] == "./" else None)
    if problem := check_directory(directory):
        raise _WrongLine(f"its directory is refused because {problem}")
    return Entry(number, uuid, directory)


def shell_quote(text: str) -> str:
    """One word of a command line as s5cmd reads it, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _not_a_manifest(name: str, reason: str) -> ManifestError:
    return ManifestError(
        name,
        f"{name} is not a manifest: {reason}.",
        "Give a .s5cmd, .csv or .parquet file, or a list of identifiers.",
    )


def _wrong_lines(name: str, wrong: list[tuple[int, str, str]]) -> ManifestError:
    sentences = []
    for number, line, reason in wrong[:_SHOWN_AT_MOST]:
        shown = line if len(line) <= 120 else line[:117] + "…"
        sentences.append(f"Line {number} of {name} is wrong: {reason} (“{shown}”).")
    if len(wrong) > _SHOWN_AT_MOST:
        sentences.append(f"{len(wrong) - _SHOWN_AT_MOST:,} more lines are wrong.")
    return ManifestError(name, " ".join(sentences), "Nothing was started.", wrong[0][0])
