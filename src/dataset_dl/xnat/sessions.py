"""Sessions of a project: what XNAT has of each, and how it comes to have all of it.

What this run knows of a session spares requests. After anything unexpected that is forgotten, and the server
is asked, so a lost answer, a killed run and a second one all go the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from dataset_dl.errors import NetworkError, TransferError
from dataset_dl.xnat.sending import Instance, batches, name_of
from dataset_dl.xnat.service import Archived, Xnat

_ANEW = (
    "Look at the session in XNAT. While its series are on this disk, you may delete it there; then the same"
    " command sends it anew."
)
Existing = Literal["error", "skip", "append", "replace"]


@dataclass
class Session:
    """What is known of a session.

    Attributes
    ----------
    archived
        The session of the archive, if there is one.
    uri
        Where its instances went in the prearchive.
    scans
        The scans in the prearchive: the names of their files.
    """

    archived: Archived | None = None
    uri: str = ""
    scans: dict[str, set[str]] = field(default_factory=dict)


class Sessions:
    """The sessions of a project that a run works on.

    Parameters
    ----------
    xnat
        The server.
    existing
        What to do with a session that the archive has already.
    has_project
        Whether there was the project when the run began.
    """

    def __init__(self, xnat: Xnat, existing: Existing, *, has_project: bool) -> None:
        self._xnat = xnat
        self._has_project = has_project
        self._existing = existing
        self._certain: dict[str, Session] = {}
        self._begun: set[str] = set()
        self._names: dict[str, set[str]] = {}

    @cached_property
    def known(self) -> frozenset[str]:
        """The labels of all sessions that were in the archive or the prearchive when the run began."""
        if not self._has_project:
            return frozenset()
        return frozenset([*self._archived, *self._waiting])

    @cached_property
    def _archived(self) -> dict[str, Archived]:
        """The sessions of the archive when the run began, by label."""
        return {each.label: each for each in self._xnat.archived()}

    @cached_property
    def _waiting(self) -> dict[str, list[str]]:
        """Where the sessions of the prearchive were when the run began, by label."""
        found: dict[str, list[str]] = {}
        for each in self._xnat.prearchived():
            found.setdefault(each.label, []).append(each.uri)
        return found

    def still_has(self, label: str, instances: Collection[str]) -> bool:
        """Whether XNAT still has what an earlier run has sent: the session in the archive, or each file."""
        if label not in self.known:
            return False
        if label in self._archived:
            return True
        if label not in self._names:
            every = map(self._xnat.files_before_archiving, self._waiting[label])
            self._names[label] = set().union(*every)
        return all(name_of(each) in self._names[label] for each in instances)

    def is_unchanged(self, label: str) -> bool:
        """Whether there was a session before, and nothing of it was sent in this run."""
        return label in self.known and label not in self._begun

    def take(
        self, subject: str, label: str, study: str, series: str, instances: Sequence[Instance]
    ) -> Literal["uploaded", "confirmed", "skipped"]:
        """Bring the instances of a series to XNAT; return what became of it.

        It is ``uploaded`` if the prearchive has all of it now, ``confirmed`` if the archive had all of it.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        TransferError
            If XNAT refuses it, or has the session already.
        """
        session = self._certain.pop(label, None) or self._looked_at(label, study)
        self._begun.add(label)
        there: set[str] = set()
        if session.archived is not None:
            self._refuse_other_subject(session.archived, subject)
            there = self._xnat.archived_instances(session.archived.subject, label, [series])
            if self._existing != "replace" and all(each.SOPInstanceUID in there for each in instances):
                return "confirmed"
            if self._existing == "skip":
                return "skipped"
            self._refuse(session.archived, study)
            if self._existing == "replace":
                there = set()
        wanted = [each for each in instances if each.SOPInstanceUID not in there]
        # A file that is sent again replaces the one in the prearchive, which may be of another version.
        for each in batches(wanted):
            session.uri = self._xnat.send(each, subject, label)
        self._update(session, wanted)
        self._certain[label] = session
        return "uploaded"

    def archive(self, label: str, study: str, instances: Collection[str]) -> str:
        """Bring a session from the prearchive to the archive, if it is not there already.

        Parameters
        ----------
        label, study
            The session.
        instances
            The SOPInstanceUIDs that it has.

        Returns
        -------
        str
            The subject that it has in the archive, as XNAT spells it.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        TransferError
            If the session is gone.
        """
        session = self._certain.pop(label, None)
        uri = session.uri if session is not None else self._uri_of(label, study, instances)
        if not uri:
            return self._subject_in_archive(label)
        if session is None:
            self._refuse_incomplete(uri, label, instances)
        try:
            if found := self._xnat.commit(uri, replaces=self._existing == "replace"):
                return found
        except NetworkError:
            # The answer may be lost, or late, and the session archived nevertheless.
            if self._xnat.at_rest(label, study) is not None:
                raise
        if self._xnat.at_rest(label, study) is not None:
            project = self._xnat.project
            raise NetworkError(
                project.host,
                f"XNAT left the session {label} in the prearchive of {project.name}.",
                "Look there for the reason, then run the same command again.",
            )
        return self._subject_in_archive(label)

    def confirm(self, subject: str, label: str, several: Mapping[str, Collection[str]]) -> None:
        """Make sure that the archive has every instance of a session.

        Parameters
        ----------
        subject, label
            The session.
        several
            SeriesInstanceUID → SOPInstanceUIDs.

        Raises
        ------
        NetworkError
            If it lacks one.
        """
        there = self._xnat.archived_instances(subject, label, several)
        for series, uids in several.items():
            if lost := set(uids) - there:
                raise NetworkError(
                    self._xnat.project.host,
                    f"The archive lacks {len(lost):,} of {len(uids):,} instances of the series {series} in"
                    f" the session {label} of {subject}, {min(lost)} among them.",
                    _ANEW,
                )

    def _refuse_incomplete(self, uri: str, label: str, instances: Collection[str]) -> None:
        """Make sure that a session that an earlier run has sent still has all instances."""
        names = self._xnat.files_before_archiving(uri)
        lost = {each for each in instances if name_of(each) not in names}
        if lost and (archived := self._in_archive(label)) is not None:
            lost -= self._xnat.archived_instances(archived.subject, label, ())
        if lost:
            raise TransferError(
                str(self._xnat.project),
                f"The prearchive has lost {len(lost):,} of {len(instances):,} instances of the session"
                f" {label}, {min(lost)} among them, so it was not committed.",
                _ANEW,
            )

    def _looked_at(self, label: str, study: str) -> Session:
        if label in self._begun:
            archived = self._in_archive(label)
        elif label in self.known:
            archived = self._archived.get(label)
        else:
            return Session()
        # What is sent while XNAT works on a session may be lost.
        self._xnat.at_rest(label, study)
        return Session(archived)

    def _in_archive(self, label: str) -> Archived | None:
        return next((each for each in self._xnat.archived() if each.label == label), None)

    def _subject_in_archive(self, label: str) -> str:
        if (found := self._in_archive(label)) is not None:
            return found.subject
        project = self._xnat.project
        raise TransferError(
            str(project),
            f"The session {label} is neither in the prearchive nor in the archive of {project.name} now.",
            "Run the same command again: its series will be sent anew.",
        )

    def _update(self, session: Session, wanted: Sequence[Instance]) -> None:
        """Ask which files the prearchive has, and make sure that it has the wanted ones."""
        if not wanted:
            return
        for known in (session.scans, {}):
            session.scans = {**known, **self._xnat.scans_before_archiving(session.uri, known)}
            names = set().union(*session.scans.values())
            lost = [each for each in wanted if each.name not in names]
            if not lost:
                return
        raise NetworkError(
            self._xnat.project.host,
            f"XNAT took the series and has {len(wanted) - len(lost):,} of {len(wanted):,} instances;"
            f" {lost[0].SOPInstanceUID} is the first that it lacks. It was not committed.",
            "Its disk may be full, or a script of the site drops instances.",
        )

    def _refuse_other_subject(self, archived: Archived, subject: str) -> None:
        # XNAT takes subjects for the same whose labels differ by case only.
        if archived.subject.lower() != subject.lower():
            raise self._of_another(archived)

    def _of_another(self, archived: Archived) -> TransferError:
        project = self._xnat.project
        return TransferError(
            str(project),
            f"{project.name} has the session {archived.label} in its archive already, of the subject"
            f" {archived.subject} and the study {archived.study or 'unknown'}; nothing was sent.",
            "Give --session a template that tells them apart.",
        )

    def _refuse(self, archived: Archived, study: str) -> None:
        project = self._xnat.project
        where = f"{project.name} has the session {archived.label} in its archive already"
        if archived.study and archived.study != study:
            raise self._of_another(archived)
        if self._existing == "error":
            raise TransferError(
                str(project),
                f"{where}, without this series or a part of it; nothing was sent.",
                "--existing append adds what it lacks, replace replaces files, skip leaves it as it is.",
            )

    def _uri_of(self, label: str, study: str, instances: Collection[str]) -> str:
        """Return where a session is in the prearchive; empty if it is not there.

        A site may replace StudyInstanceUIDs on arrival; then the session is known by its files.
        """
        if (place := self._xnat.at_rest(label, study)) is not None:
            return place.uri
        names = set(map(name_of, instances))
        for other in self._xnat.prearchived():
            if other.label == label and names and names <= self._xnat.files_before_archiving(other.uri):
                return other.uri
        return ""
