"""What an XNAT server keeps, and the rules by which instances become sessions.

The rules are those of the server's source (NrgXnat/xnat of 2024-06) and its official tests
(NrgXnat/xnat-rest-tests of 2026-08); each function names where it was read.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_NOT_IN_LABELS = re.compile(r"[\s`~@#$%^&*()+=\[\]{}|\\/?:;\"',.<>]")


class Refused(Exception):
    """An answer with a status that is no success."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Instance(NamedTuple):
    """A stored instance."""

    SOPInstanceUID: str
    size_bytes: int
    md5: str


@dataclass
class Scan:
    """A series in a session: its SeriesInstanceUID, and file name → instance."""

    uid: str
    files: dict[str, Instance] = field(default_factory=dict)
    description: str = ""


@dataclass
class Session:
    """A session in the prearchive or the archive; `uid` is its StudyInstanceUID after scripts of the site."""

    project: str
    subject: str
    label: str
    study: str
    timestamp: str = ""
    status: str = "READY"
    uid: str = ""
    scans: dict[str, Scan] = field(default_factory=dict)

    @property
    def prearchive_uri(self) -> str:
        """Its address in the prearchive."""
        return f"/prearchive/projects/{self.project}/{self.timestamp}/{self.label}"

    @property
    def archive_uri(self) -> str:
        """Its address in the archive."""
        return f"/archive/projects/{self.project}/subjects/{self.subject}/experiments/{self.label}"

    def instances(self) -> Iterator[Instance]:
        """Yield all instances."""
        for scan in self.scans.values():
            yield from scan.files.values()


@dataclass
class Store:
    """Projects, and sessions in the prearchive and the archive.

    Attributes
    ----------
    projects
        Project → label of a resource → file name → content.
    prearchive, archive
        The sessions.
    changes_uids
        Whether a script of the site replaces SOPInstanceUIDs and StudyInstanceUIDs, as anonymisation may.
    drops
        SOPInstanceUIDs of instances that are dropped without a word, as if they could not be parsed.
    """

    projects: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    prearchive: list[Session] = field(default_factory=list)
    archive: list[Session] = field(default_factory=list)
    changes_uids: bool = False
    drops: set[str] = field(default_factory=set)
    _stamps: int = 0

    def receive(self, path: Path, given: Mapping[str, str]) -> list[Session]:
        """Take a zip of DICOM files into the prearchive (DicomZipImporter, GradualDicomImporter)."""
        ignores = given.get("Ignore-Unparsable", "").lower() == "true"
        touched: dict[int, Session] = {}
        for name, data in _entries(path):
            header = _header(data)
            if header is None:
                if not ignores:
                    raise Refused(400, f"unable to read DICOM object {name}")
                continue
            if str(header.SOPInstanceUID) not in self.drops:
                session = self._session_for(header, given)
                self._add(session, header, name, data)
                touched[id(session)] = session
        if not touched and not self.drops:
            raise Refused(400, "unable to read DICOM object")
        return list(touched.values())

    def _session_for(self, header: Any, given: Mapping[str, str]) -> Session:
        """Find or make a session by project, study and label (PrearcDatabase.eitherGetOrCreateSession)."""
        project = given.get("project") or given.get("PROJECT_ID") or str(header.get("StudyDescription", ""))
        if project not in self.projects:
            # GradualDicomImporter.getProject only logs it, and falls back to the header.
            project = "Unassigned"
        study = str(header.StudyInstanceUID)
        label = given.get("session") or given.get("EXPT_LABEL") or _of_header(header.get("PatientID"))
        subject = given.get("subject") or given.get("SUBJECT_ID") or _of_header(header.get("PatientName"))
        if given.get("timestamp"):
            aimed = self.find(project, given["timestamp"], label)
            if aimed is not None and aimed.study != study:
                raise Refused(400, "the session has another study instance UID")
        for session in self.prearchive:
            if (session.project, session.study, session.label) == (project, study, label):
                return session
        made = Session(project, subject, label, study, given.get("timestamp") or self._stamp())
        self.prearchive.append(made)
        return made

    def _add(self, session: Session, header: Any, name: str, data: bytes) -> None:
        """Store an instance; its name in the zip is kept unless another instance has it (getSafeFile)."""
        uid, series = str(header.SOPInstanceUID), str(header.SeriesInstanceUID)
        scan = next((each for each in session.scans.values() if each.uid == series), None)
        if scan is None:
            number = str(header.get("SeriesNumber") or "1")
            taken = sum(key == number or key.startswith(f"{number}-") for key in session.scans)
            scan = session.scans[f"{number}-MR{taken}" if taken else number] = Scan(series)
            scan.description = str(header.get("SeriesDescription", ""))
        kept_uid = self._changed(uid)
        session.uid = self._changed(session.study)
        safe = re.sub(r"[^\w.-]", "_", name.rpartition("/")[2])
        if safe in scan.files and scan.files[safe].SOPInstanceUID != kept_uid:
            safe = f"{session.study}-{len(scan.files)}.dcm"
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        scan.files[safe] = Instance(kept_uid, len(data), md5)

    def _changed(self, uid: str) -> str:
        return f"2.25.{int(hashlib.md5(uid.encode()).hexdigest(), 16)}" if self.changes_uids else uid

    def find(self, project: str, timestamp: str, label: str) -> Session | None:
        """Find a session of the prearchive."""
        wanted = project, timestamp, label
        found = (each for each in self.prearchive if (each.project, each.timestamp, each.label) == wanted)
        return next(found, None)

    def find_archived(self, project: str, label: str) -> Session | None:
        """Find a session of the archive."""
        found = (each for each in self.archive if (each.project, each.label) == (project, label))
        return next(found, None)

    def commit(self, session: Session, *, overwrites: bool) -> Session:
        """Archive a session, or merge it with the one there (PrearcSessionArchiver, MergeSessionsA)."""
        label, subject = _NOT_IN_LABELS.sub("_", session.label), _NOT_IN_LABELS.sub("_", session.subject)
        there = self.find_archived(session.project, label)
        if there is None:
            session.label, session.subject = label, self._subject(session.project, subject)
            self.archive.append(session)
            self.prearchive.remove(session)
            return session
        if there.study != session.study and not overwrites:
            self._fail(session, "Invalid modification of session UID via archive process.")
        if there.subject.lower() != subject.lower():
            self._fail(
                session,
                f"Invalid modification of session subject: {label} Already Exists for another Subject",
            )
        for scan in session.scans.values():
            kept = next((each for each in there.scans.values() if each.uid == scan.uid), None)
            if kept is not None and kept.files.keys() & scan.files.keys() and not overwrites:
                self._fail(session, "Session already exists with matching files.")
        for number, scan in session.scans.items():
            kept = next((each for each in there.scans.values() if each.uid == scan.uid), None)
            if kept is None:
                there.scans[f"{number}-MR1" if number in there.scans else number] = scan
            else:
                kept.files |= scan.files
        self.prearchive.remove(session)
        return there

    def _fail(self, session: Session, words: str) -> None:
        """Whatever the archiver meets reaches the caller as 500 (QueueBasedImageCommit)."""
        session.status = "CONFLICT"
        raise Refused(500, f"FAILED: {words}")

    def _subject(self, project: str, label: str) -> str:
        """Return the subject with a label; case does not count (retrieveMatchingSubject)."""
        for each in self.archive:
            if each.project == project and each.subject.lower() == label.lower():
                return each.subject
        return label

    def _stamp(self) -> str:
        self._stamps += 1
        return time.strftime("%Y%m%d_%H%M%S") + f"{self._stamps % 1000:03d}"


def row_of(session: Session) -> dict[str, str]:
    """Return a session as the prearchive lists it (PrearcDatabase, DatabaseSession)."""
    return {
        "project": session.project,
        "timestamp": session.timestamp,
        "lastmod": "2026-01-02 03:04:05.678",
        "uploaded": "2026-01-02 03:04:05.678",
        "scan_date": "2026-01-01 00:00:00.0",
        "scan_time": "10:00:00",
        "subject": session.subject,
        "folderName": session.label,
        "name": session.label,
        "tag": session.study,
        "status": session.status,
        "url": session.prearchive_uri,
        "autoarchive": "Manual",
        "prevent_anon": "false",
        "prevent_auto_commit": "false",
        "SOURCE": "",
        "VISIT": "",
        "PROTOCOL": "",
        "TIMEZONE": "",
    }


def catalog_of(scan: Scan) -> str:
    """Return the catalogue of a scan of the archive, as XML (CatalogResource)."""
    entries = (
        f'<cat:entry xsi:type="cat:dcmEntry" UID="{each.SOPInstanceUID}" URI="{name}" digest="{each.md5}"/>'
        for name, each in scan.files.items()
    )
    return (
        '<cat:DCMCatalog xmlns:cat="http://nrg.wustl.edu/catalog"'
        f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" UID="{scan.uid}"><cat:entries>'
        f"{''.join(entries)}</cat:entries></cat:DCMCatalog>"
    )


def _entries(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                # As java.util.zip.ZipInputStream, which reads from the front.
                if entry.compress_type == zipfile.ZIP_STORED and entry.flag_bits & 8:
                    raise Refused(400, "only DEFLATED entries can have EXT descriptor")
                yield entry.filename, archive.read(entry)
    except zipfile.BadZipFile:
        raise Refused(400, "Unable to identify upload format.") from None


def _header(data: bytes) -> Any:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(io.BytesIO(data), stop_before_pixels=True)
        return header if "SOPInstanceUID" in header and "StudyInstanceUID" in header else None
    except (InvalidDicomError, ValueError, EOFError):
        return None


def _of_header(value: object) -> str:
    """Return a label from a header: what is no letter, digit or dash becomes “_” (Labels.toLabelChars)."""
    return re.sub(r"[^\w-]", "_", str(value or "dicom_upload"), flags=re.ASCII)


def instances_of(sessions: Iterable[Session]) -> dict[str, list[Instance]]:
    """Return all instances of sessions by SOPInstanceUID; one that is there twice is listed twice."""
    found: dict[str, list[Instance]] = {}
    for session in sessions:
        for each in session.instances():
            found.setdefault(each.SOPInstanceUID, []).append(each)
    return found
