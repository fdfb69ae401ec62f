"""The manifest that a delivery came from, and the filled one, kept as files of the project."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.series import PlannedSeries
from dataset_dl.xnat.service import Xnat

# The resource of a project in which the containers of XNAT look for manifests, too.
RESOURCE = "TCIA"
_COLUMNS = (
    "study_instance_uid", "series_instance_uid", "PatientID", "Modality", "collection_id",
    "license_short_name", "address", "subject", "session", "instances", "state",
)  # fmt: skip


class Manifests:
    """What is kept with a project.

    Parameters
    ----------
    original
        The file that named the series; none if empty.
    final
        The last state of a series.

    Raises
    ------
    SelectionError
        If the file cannot be read.
    """

    def __init__(self, original: str, final: str) -> None:
        self._original = Path(original) if original else None
        self._content = _read(self._original) if self._original else b""
        self._final = final
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[PlannedSeries, str, str]] = {}
        self._made: dict[str, Mapping[str, Any]] = {}
        self._finished: set[str] = set()

    def expect(self, row: PlannedSeries, subject: str, session: str) -> None:
        """Remember a series and where it goes."""
        self._rows[row.key] = row, subject, session

    def keep(self, key: str, made: Mapping[str, Any]) -> None:
        """Remember a series that XNAT has."""
        with self._lock:
            self._made[key] = made

    def finish(self, session: str, made: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember that a session is where it is to be, with series of it."""
        with self._lock:
            self._made |= made
            self._finished.add(session)

    def keep_original(self, xnat: Xnat) -> None:
        """Keep the original with the project."""
        if self._original is not None and self._content:
            xnat.keep_file(RESOURCE, self._original.name, self._content)

    def keep_filled(self, xnat: Xnat) -> None:
        """Keep the table of all series beside the original, if there is one."""
        if self._original is not None and self._made:
            xnat.keep_file(RESOURCE, f"{self._original.stem}-filled.csv", self._table().encode())

    def _table(self) -> str:
        out = io.StringIO(newline="")
        table = csv.writer(out, lineterminator="\n")
        table.writerow(_COLUMNS)
        for key, (row, subject, session) in sorted(self._rows.items()):
            made = self._made.get(key, {})
            state = str(made.get("state", ""))
            if state == "uploaded" and session in self._finished:
                state = self._final
            table.writerow([
                row.StudyInstanceUID, row.SeriesInstanceUID, row.PatientID, row.Modality, row.collection_id,
                row.license_short_name, row.address, subject, session,
                made.get("instances", row.instanceCount), state,
            ])  # fmt: skip
        return out.getvalue()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SelectionError(
            str(path), f"The manifest {path} cannot be read ({error.strerror}); nothing was started."
        ) from None
