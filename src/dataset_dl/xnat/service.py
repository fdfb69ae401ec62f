"""What is asked of an XNAT server, and what its answers mean.

From the public source of the server (NrgXnat/xnat of 2024-06) and its official tests (NrgXnat/xnat-rest-tests
of 2026-08); no live server was asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import requests

from dataset_dl.errors import NetworkError, SelectionError, TransferError
from dataset_dl.wording import visible
from dataset_dl.xnat.asking import Asking, words_of
from dataset_dl.xnat.sending import Zip

# XNAT builds a session before it answers, and archives one for up to ten minutes.
_IMPORT_SECONDS, _COMMIT_SECONDS, _BUSY_SECONDS, _TICK_SECONDS = 900.0, 700.0, 700.0, 1.0
_URI = re.compile(r"(?:/data)?(/prearchive/projects/([^/\s]+)/([^/\s]+)/([^/\s]+))")
_ARCHIVED = re.compile(r"/archive/projects/[^/\s]+/subjects/([^/\s]+)/experiments/[^/\s]+")
# Statuses of the prearchive in which a session waits for someone, and not for XNAT.
_AT_REST = frozenset({"READY", "RECEIVING", "CONFLICT", "ERROR"})


class Prearchived(NamedTuple):
    """A session in the prearchive."""

    uri: str
    label: str
    study: str
    status: str

    @property
    def is_busy(self) -> bool:
        """Whether XNAT works on it."""
        return self.status.upper() not in _AT_REST


class Archived(NamedTuple):
    """A session in the archive."""

    ID: str
    label: str
    subject: str
    study: str


class Xnat(Asking):
    """A project of a server, asked from several threads.

    Parameters
    ----------
    network
        How to reach it.
    project
        Which project.
    account
        Who asks.
    """

    def has_project(self) -> bool:
        """Whether the project exists and the account may see it."""
        return self.ask("GET", self._path(), others=(404,), params={"format": "json"}).status_code == 200

    def make_project(self) -> None:
        """Make the project.

        Raises
        ------
        SelectionError
            If XNAT does not allow it.
        """
        response = self.ask("PUT", self._path(), others=(400, 403, 409, 417))
        if response.status_code != 200:
            raise SelectionError(
                str(self.project),
                f"{self.project.host} does not make the project {self.project.name}: {words_of(response)}."
                " Nothing was sent.",
                "Ask an administrator for it, or choose another name.",
            )

    def prearchived(self) -> list[Prearchived]:
        """Return the sessions that are in the project's prearchive."""
        rows = self.rows(f"/prearchive/projects/{quote(self.project.name)}")
        return [
            Prearchived(str(row.get("url", "")), label, str(row.get("tag", "")), str(row.get("status", "")))
            for row in rows
            if _URI.fullmatch(str(row.get("url", "")))
            for label in {str(row.get("folderName", "")), str(row.get("name", ""))}
        ]

    def archived(self) -> list[Archived]:
        """Return the sessions that are in the project's archive."""
        columns = "ID,label,UID,subject_label"
        rows = self.rows(self._path("experiments"), columns=columns)
        found = ((str(row.get(each, "")) for each in ("ID", "label", "subject_label", "UID")) for row in rows)
        return [Archived(*each) for each in found]

    def at_rest(self, label: str, study: str) -> Prearchived | None:
        """Return a session of the prearchive, as soon as XNAT does not work on it; the newest of several.

        Raises
        ------
        NetworkError
            If that takes too long.
        """
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            several = (each for each in self.prearchived() if (each.label, each.study) == (label, study))
            found = max(several, key=lambda each: each.uri, default=None)
            if found is None or not found.is_busy:
                return found
            if time.monotonic() >= deadline:
                raise NetworkError(
                    self.project.host,
                    f"XNAT has been at work on {found.uri} for {_BUSY_SECONDS:.0f} s ({found.status}).",
                    "Look there, then run the same command again.",
                )
            time.sleep(_TICK_SECONDS)

    def scans_before_archiving(self, uri: str, known: Collection[str]) -> dict[str, set[str]]:
        """Return the scans of a session in the prearchive but those that are known: the names of files."""
        found: dict[str, set[str]] = {}
        for scan in self.rows(f"{uri}/scans", none_if_missing=True):
            number = str(scan.get("ID", ""))
            if number not in known:
                path = f"{uri}/scans/{quote(number, safe='')}/resources/DICOM/files"
                rows = self.rows(path, none_if_missing=True)
                found[number] = {str(row.get("Name", "")) for row in rows}
        return found

    def files_before_archiving(self, uri: str) -> set[str]:
        """Return the names of all files of a session in the prearchive."""
        return set().union(*self.scans_before_archiving(uri, ()).values())

    def archived_instances(self, subject: str, label: str, series: Iterable[str]) -> set[str]:
        """Return the SOPInstanceUIDs in a session of the archive, also as the names of files give them.

        A site may replace UIDs when it makes data anonymous; names stay.

        Parameters
        ----------
        subject, label
            The session.
        series
            Only the scans with these SeriesInstanceUIDs, if there is one for each; otherwise all scans.
        """
        base = self._path("subjects", subject, "experiments", label, "scans")
        scans = self.rows(base, columns="ID,UID", none_if_missing=True)
        wanted = set(series)
        if wanted and wanted <= {str(each.get("UID", "")) for each in scans}:
            scans = [each for each in scans if str(each.get("UID", "")) in wanted]
        found: set[str] = set()
        for scan in scans:
            path = f"{base}/{quote(str(scan.get('ID', '')), safe='')}/resources/DICOM"
            response = self.ask("GET", path, others=(404,), params={"format": "xml"})
            if response.status_code == 200:
                found |= self._instances_of_catalog(response)
        return found

    def send(self, data: Zip, subject: str, label: str) -> str:
        """Send a zip of instances to the prearchive; return the session that they went to.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        TransferError
            If XNAT put them elsewhere, or refuses them.
        """
        name = self.project.name
        response = self.ask(
            "POST",
            "/services/import",
            params={
                "import-handler": "DICOM-zip",
                "inbody": "true",
                "Ignore-Unparsable": "true",
                "dest": f"/prearchive/projects/{name}",
                "project": name,
                "subject": subject,
                "session": label,
            },
            data=data,
            headers={"Content-Type": "application/zip"},
            seconds=_IMPORT_SECONDS,
        )
        lines = self.text(response).split()
        found = [_URI.fullmatch(line) for line in lines]
        for each in found:
            if each is None or each[2] != name:
                raise TransferError(
                    str(self.project),
                    f"XNAT put the series in {visible(lines[0])[:200]}, not in the project {name}; it was not"
                    " committed there.",
                    "Move or delete it there, and make sure that the account may create data in the project.",
                )
        if not found or found[0] is None:
            raise TransferError(
                str(self.project),
                f"{self.project.host} took the series, and kept nothing of it: a filter or a script of the"
                " site drops it.",
                "Ask the site's administrator.",
            )
        return found[0][1]

    def commit(self, uri: str, *, replaces: bool) -> str:
        """Archive a session of the prearchive; return the subject that it has there if XNAT says that it has.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        """
        if replaces:
            path, given = "/services/archive", {"src": uri, "overwrite": "delete"}
        else:
            path, given = uri, {"action": "commit", "AA": "true"}
        response = self.ask("POST", path, params=given, seconds=_COMMIT_SECONDS, others=(301, 303))
        found = _ARCHIVED.search(response.text)
        return unquote(found[1]) if found else ""

    def keep_file(self, resource: str, name: str, data: bytes) -> None:
        """Keep a file as a resource of the project, and make sure that it is there.

        Raises
        ------
        TransferError
            If it is not.
        """
        path = self._path("resources", resource, "files", name)
        kind = {"Content-Type": "application/octet-stream"}
        self.ask("PUT", path, params={"inbody": "true", "overwrite": "true"}, data=data, headers=kind)
        # Without the right to edit, XNAT answers 200 and keeps nothing.
        back = self.ask("GET", path, others=(404,))
        if back.status_code != 200 or back.content != data:
            raise TransferError(
                str(self.project),
                f"{self.project.host} did not keep {name} in the resource {resource} of {self.project.name};"
                " the series are not affected.",
                "The account may lack the right to edit the project.",
            )

    def _path(self, *parts: str) -> str:
        return "/".join(["/projects", *(quote(each, safe="") for each in (self.project.name, *parts))])

    def _instances_of_catalog(self, response: requests.Response) -> set[str]:
        try:
            entries = ET.fromstring(response.content).iter()
        except ET.ParseError:
            raise self.strange(response) from None
        found: set[str] = set()
        for entry in entries:
            if entry.tag.endswith("}entry") or entry.tag == "entry":
                found.add(entry.get("UID", ""))
                found.add(entry.get("URI", "").rpartition("/")[2].removesuffix(".dcm"))
        return found
