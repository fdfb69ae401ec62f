"""What a download leaves beside the data for people and for the next command: plain files."""

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
    """Add to what was asked for; a damaged record is set aside."""
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
    """What was asked for in a way that a newer index may bring more of.

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
            f"{path} is damaged ({error}), so nobody knows what was asked for in this destination.",
            "Remove it; what was downloaded is not touched by that.",
        ) from None


def write_failures(files: Files, failures: Iterable[SeriesFailure], idc_version: int | None) -> None:
    """Keep the failed series as a plan of their own; no file if all went well."""
    rows = [(*failure.planned, idc_version, failure.cause, failure.message) for failure in failures]
    if not rows:
        files.failed.unlink(missing_ok=True)
        return
    with files.failed.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*PlannedSeries._fields, "idc_version", "cause", "message"])
        writer.writerows(rows)


def write_missing(files: Files, missing: Sequence[str]) -> None:
    """Keep what IDC does not have as a manifest for TCIA's own program; no file if there is nothing."""
    if missing:
        files.missing.write_text(tcia.text_of(missing), encoding="utf-8", newline="\n")
    else:
        files.missing.unlink(missing_ok=True)


def write_rights(files: Files, rights: Rights) -> None:
    """Keep what may be done with the data, and the works to cite for it."""
    for name, text in (("LICENSES.md", rights.licences), ("CITATIONS.bib", rights.citations)):
        path, data = files.folder / name, text.encode()
        with suppress(OSError):
            if path.read_bytes() == data:
                continue
        path.write_bytes(data)
