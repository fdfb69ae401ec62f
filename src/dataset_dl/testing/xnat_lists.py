"""What XNAT lists: projects, files, prearchive, experiments and scans; each answer names what it follows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from dataset_dl.testing.xnat_store import Refused, Session, Store, catalog_of, row_of


class Lists:
    """Answers to requests that change nothing.

    Parameters
    ----------
    store
        What there is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_prearchive(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """PrearcSessionListResource; a query by tag is for administrators."""
        if "tag" in given:
            raise Refused(403, "Only site or data administrators and reviewers can query by tag")
        return table(
            [row_of(each) for each in self._store.prearchive if match[1] in ("", None, each.project)]
        )

    def prearchived(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """One that does not exist any more is an empty table."""
        session = self._store.find(match[1], match[2], match[3])
        return table([row_of(session)] if session else [])

    def scans(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """PrearcScansListResource."""
        scans = prearchived(self._store, match).scans
        return table([
            {"ID": number, "xsiType": "xnat:ctScanData", "series_description": scan.description}
            for number, scan in scans.items()
        ])  # fmt: skip

    def scan_files(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """PrearcSessionResourceFiles: no UID and no digest."""
        scan = prearchived(self._store, match).scans.get(match[4])
        if scan is None:
            raise Refused(404, "Unable to locate prearc resource.")
        return table(
            [{"Name": name, "Size": each.size_bytes, "URI": name} for name, each in scan.files.items()]
        )

    def list_projects(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """List the projects."""
        return table([
            {"ID": name, "name": name, "URI": f"/data/projects/{name}"} for name in self._store.projects
        ])  # fmt: skip

    def project(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """A project that the account may not see is 404, too."""
        if match[1] not in self._store.projects:
            raise Refused(404, "Unable to find the specified experiment.")
        return _item("xnat:projectData", {"ID": match[1], "name": match[1]})

    def list_files(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """List the files of a resource."""
        return table(
            [{"Name": name, "Size": len(data)} for name, data in files_of(self._store, match).items()]
        )

    def file(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """Return a file of a resource."""
        if match[3] not in files_of(self._store, match):
            raise Refused(404, "Not Found")
        return Response(files_of(self._store, match)[match[3]])

    def subjects(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """List subjects, or tell of one."""
        labels = {each.subject for each in self._store.archive if match[1] in (None, each.project)}
        if match[2] is None:
            return table([
                {"ID": f"S_{each}", "label": each, "URI": f"/data/subjects/S_{each}"}
                for each in sorted(labels)
            ])  # fmt: skip
        label = match[2].removeprefix("S_")
        if label not in labels:
            raise Refused(404, "Unable to find the specified subject.")
        return _item("xnat:subjectData", {"ID": f"S_{label}", "label": label, "project": match[1] or ""})

    def experiments(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """Experiments, their scans, and the catalogue of a scan with its SOPInstanceUIDs."""
        project, subject, name, lists_scans, number, is_catalog = match.groups()
        sessions = [
            each
            for each in self._store.archive
            if project in (None, each.project) and (subject or "").removeprefix("S_") in ("", each.subject)
        ]
        if name is None:
            return table([_row_of_experiment(each) for each in sessions])
        session = next((each for each in sessions if name in (each.label, _id_of(each))), None)
        if session is None:
            raise Refused(404, "Unable to find the specified experiment.")
        if lists_scans is None:
            fields = {"ID": _id_of(session), "label": session.label, "project": session.project}
            return _item(
                "xnat:ctSessionData", {**fields, "UID": session.uid, "subject_ID": f"S_{session.subject}"}
            )
        if number is None:
            return table([
                {"ID": key, "UID": scan.uid, "xsiType": "xnat:ctScanData", "type": "CT",
                 "series_description": scan.description,
                 "URI": f"/data/experiments/{_id_of(session)}/scans/{key}"}
                for key, scan in session.scans.items()
            ])  # fmt: skip
        if number not in session.scans:
            raise Refused(404, "Unable to find the specified scan.")
        scan = session.scans[number]
        if is_catalog:
            return Response(catalog_of(scan), media_type="application/xml")
        return _item("xnat:ctScanData", {"ID": number, "UID": scan.uid, "image_session_ID": _id_of(session)})


def prearchived(store: Store, match: re.Match[str]) -> Session:
    """Return the session of the prearchive that an address names."""
    session = store.find(match[1], match[2], match[3])
    if session is None:
        raise Refused(404, "The session does not exist")
    return session


def files_of(store: Store, match: re.Match[str]) -> dict[str, bytes]:
    """Return the files of a project's resource that an address names."""
    if match[1] not in store.projects:
        raise Refused(404, "Unable to find the specified project.")
    return store.projects[match[1]].setdefault(match[2], {})


def _id_of(session: Session) -> str:
    return f"E_{session.project}_{session.label}"


def _row_of_experiment(session: Session) -> dict[str, str]:
    return {
        "ID": _id_of(session), "label": session.label, "project": session.project, "UID": session.uid,
        "subject_label": session.subject, "xsiType": "xnat:ctSessionData",
        "URI": f"/data/experiments/{_id_of(session)}",
    }  # fmt: skip


def table(rows: list[Any]) -> Response:
    """Return rows in the form of XNAT's JSON (JSONTableRepresentation)."""
    return JSONResponse({"ResultSet": {"Result": rows, "totalRecords": str(len(rows))}})


def _item(kind: str, fields: dict[str, Any]) -> Response:
    made = {"children": [], "data_fields": fields, "meta": {"xsi:type": kind, "isHistory": False}}
    return Response(json.dumps({"items": [made]}), media_type="application/json")
