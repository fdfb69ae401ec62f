"""Plain files that a download leaves beside the data, for users and for the next command."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from dataset_dl.destination.paths import Files
from dataset_dl.errors import ManifestError
from dataset_dl.manifest import tcia
from dataset_dl.model.outcome import SeriesFailure
from dataset_dl.model.plan import Rights
from dataset_dl.model.selection import Request
from dataset_dl.model.series import PlannedSeries


def remember(files: Files, new: Sequence[Request]) -> None:
    """Add requests to those on record; set a damaged record aside."""
    try:
        known = requests(files)
    except ManifestError:
        known = []
        files.requests.replace(files.requests.with_suffix(".damaged"))
    if new := [request for request in new if request not in known]:
        part = files.folder / f".requests.{os.getpid()}.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode([*known, *new]), indent=1))
        part.replace(files.requests)


def requests(files: Files) -> list[Request]:
    """Return the requests that may match more series in a newer index.

    Raises
    ------
    ManifestError
        If the file is damaged.
    """
    path = files.requests
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Request])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ManifestError(
            str(path),
            f"{path} is damaged ({error}), so the requests of this destination are unknown.",
            "Remove it; downloaded files are not affected.",
        ) from None


def write_failures(files: Files, failures: Iterable[SeriesFailure], idc_version: int | None) -> None:
    """Write the failed series as a plan; remove the file if there are none."""
    rows = [(*failure.planned, idc_version, failure.cause, failure.message) for failure in failures]
    if not rows:
        files.failed.unlink(missing_ok=True)
        return
    with files.failed.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*PlannedSeries._fields, "idc_version", "cause", "message"])
        writer.writerows(rows)


def write_missing(files: Files, missing: Sequence[str]) -> None:
    """Write the series that IDC lacks as a manifest for TCIA's own program; remove it if there are none."""
    if missing:
        files.missing.write_text(tcia.text_of(missing), encoding="utf-8", newline="\n")
    else:
        files.missing.unlink(missing_ok=True)


def write_rights(files: Files, rights: Rights) -> None:
    """Write the licences of the data and the works to cite."""
    for name, text in (("LICENSES.md", rights.licences), ("CITATIONS.bib", rights.citations)):
        path, data = files.folder / name, text.encode()
        with suppress(OSError):
            if path.read_bytes() == data:
                continue
        path.write_bytes(data)
