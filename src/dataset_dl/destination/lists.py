"""The directory that a download goes to: whether it can be used, and what the download keeps there."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from dataset_dl.destination.paths import _requests_path, missing_path, state
from dataset_dl.errors import ManifestError
from dataset_dl.manifest import tcia
from dataset_dl.model.outcome import SeriesFailure
from dataset_dl.model.selection import Request
from dataset_dl.model.series import PlannedSeries


def remember(destination: Path, asked: Sequence[Request]) -> None:
    """Add to what was asked for in a destination that `prepare` has made; a damaged record is set aside."""
    path = _requests_path(destination)
    try:
        known = requests(destination)
    except ManifestError:
        known = []
        path.replace(path.with_suffix(".damaged"))
    if new := [request for request in asked if request not in known]:
        import msgspec

        part = state(destination) / f".requests.{os.getpid()}.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode([*known, *new]), indent=1))
        part.replace(path)


def requests(destination: Path) -> list[Request]:
    """What was asked for in a destination in a way that a newer index may bring more of.

    Raises
    ------
    ManifestError
        If the file that tells it is damaged.
    """
    path = _requests_path(destination)
    if not path.is_file():
        return []
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Request])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ManifestError(
            str(path),
            f"{path} is damaged ({error}), so nobody knows what was asked for in {destination}.",
            "Remove it; what was downloaded is not touched by that.",
        ) from None


def leave_lists(
    destination: Path, failures: Sequence[SeriesFailure], missing: Sequence[str], idc_version: int | None
) -> None:
    """Keep what failed and what IDC does not have, each ready to be given back as a source."""
    write_failures(destination, failures, idc_version)
    write_missing(destination, missing)


def write_failures(
    destination: Path, failures: Iterable[SeriesFailure], idc_version: int | None
) -> Path | None:
    """Keep the failed series as a plan of their own; returns the file, None if all went well."""
    path = state(destination) / "failed.csv"
    path.unlink(missing_ok=True)
    rows = [(*failure.planned, idc_version, failure.cause, failure.message) for failure in failures]
    if not rows:
        return None
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*PlannedSeries._fields, "idc_version", "cause", "message"])
        writer.writerows(rows)
    return path


def leave_rights(destination: Path, licences: str, citations: str) -> None:
    """Keep what may be done with the data, and the works that it comes from."""
    for name, text in (("LICENSES.md", licences), ("CITATIONS.bib", citations)):
        path, data = state(destination) / name, text.encode()
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)


def write_missing(destination: Path, missing: Sequence[str]) -> None:
    """Keep them as a manifest of TCIA, whose own program may have them; no file if there are none."""
    path = missing_path(destination)
    if missing:
        path.write_text(tcia.text_of(missing), encoding="utf-8", newline="\n")
    else:
        path.unlink(missing_ok=True)
