"""The consumer ``xnat:PROJECT``: series go to sessions, and a session to the archive when it is whole."""

from __future__ import annotations

import base64
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, cast, get_args

from dataset_dl.destination.consumers import ConsumerRequest, Group
from dataset_dl.errors import SelectionError, TransferError, UnreadableObject
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.network import NetworkSettings
from dataset_dl.wording import counted
from dataset_dl.xnat import require
from dataset_dl.xnat.manifests import Manifests
from dataset_dl.xnat.names import SESSION, SUBJECT, Labels
from dataset_dl.xnat.project import Project, find_account
from dataset_dl.xnat.sending import instances_of
from dataset_dl.xnat.service import Xnat
from dataset_dl.xnat.sessions import Existing, Sessions

Place = Literal["archive", "prearchive"]

_THREADS = 4
_OPTIONS = ("subject", "session", "existing", "into", "create", "manifest")


class XnatProject:
    """Delivers series to a project of XNAT; implements `destination.consumers.Consumer`.

    Parameters
    ----------
    request
        ``xnat:https://HOST/PROJECT`` with the options ``subject`` and ``session`` (templates), ``existing``
        (what to do if the archive has a session already), ``into`` (``archive`` or ``prearchive``),
        ``create`` (``yes``: make the project if there is none), and ``manifest`` (a file to keep with it).

    Raises
    ------
    SelectionError
        If an option is wrong, or there is no account.

    Attributes
    ----------
    has_project
        Whether the project exists, as `check` has found.
    """

    threads = _THREADS

    def __init__(self, request: ConsumerRequest) -> None:
        request.refuse(*_OPTIONS)
        given = request.options
        self.project = Project.of(request.where)
        self.existing = cast(
            Existing, _one_of("existing", given.get("existing", "error"), get_args(Existing))
        )
        self.into = cast(Place, _one_of("into", given.get("into", "archive"), get_args(Place)))
        self._creates = _one_of("create", given.get("create", "no"), ("yes", "no")) == "yes"
        self.labels = Labels(given.get("subject", SUBJECT), given.get("session", SESSION))
        self.name = f"xnat:{self.project}"
        # What to do with sessions changes nothing of what was sent before.
        self.options: Mapping[str, Any] = {"subject": self.labels.subject, "session": self.labels.session}
        self._manifests = Manifests(given.get("manifest", ""), self._final)
        self._account = find_account(self.project)
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._confirmed = self._skipped = 0
        self._is_begun = self.has_project = False

    @cached_property
    def xnat(self) -> Xnat:
        """The server."""
        return Xnat(NetworkSettings.gather(), self.project, self._account)

    @cached_property
    def _sessions(self) -> Sessions:
        return Sessions(self.xnat, self.existing, has_project=self.has_project)

    @property
    def _final(self) -> str:
        """The last state of a session."""
        return "confirmed" if self.into == "archive" else "uploaded"

    def group(self, planned: PlannedSeries) -> str:
        """Return the session of a series.

        Raises
        ------
        SelectionError
            If two patients or two studies would get the same label.
        """
        subject, label = self.labels.subject_of(planned), self.labels.session_of(planned)
        self._manifests.expect(planned, subject, label)
        return label

    def check(self) -> None:
        """Log in, and find the project, before anything else happens.

        Raises
        ------
        SelectionError
            If the account is refused, or there is no such project and it is not to be made.
        NetworkError
            If the server does not answer.
        """
        try:
            self.xnat.log_in()
            self.has_project = self.xnat.has_project()
        except TransferError as error:
            raise SelectionError(error.reference, f"{error.message} Nothing was sent.", error.hint) from None
        if not self.has_project and not self._creates:
            raise SelectionError(
                str(self.project),
                f"{self.project.host} has no project {self.project.name}, or the account may not see it;"
                " nothing was sent.",
                "`--create-project` makes it (`?create=yes` behind a consumer).",
            )

    def begin(self) -> None:
        """Make the project if there is none, and keep the original manifest with it.

        Raises
        ------
        SelectionError
            If the account is refused, or there is no such project.
        NetworkError
            If the server does not answer.
        """
        if not self.has_project:
            self.xnat.make_project()
        self._manifests.keep_original(self.xnat)
        _ = self._sessions.known  # asked once, before several threads want to know
        self._is_begun = True

    def take(self, series: Series) -> Mapping[str, Any]:
        """Send what XNAT lacks of a series, and make sure that it has all of it.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        TransferError
            If XNAT refuses it, keeps only a part, or has the session already.
        UnreadableObject
            If a file cannot be sent.
        """
        row = series.planned
        subject, label = self.labels.subject_of(row), self.labels.session_of(row)
        study, uid = row.StudyInstanceUID, row.SeriesInstanceUID or row.key
        if not study:
            raise UnreadableObject(
                row.key, f"{row.title} has no StudyInstanceUID in the plan, so no session is its own."
            )
        instances = instances_of(series.paths, study, row.SeriesInstanceUID)
        state = self._sessions.take(subject, label, study, uid, instances)
        with self._lock:
            self._taken.add(row.key)
            self._skipped += state == "skipped"
        return {
            "state": state,
            "subject": subject,
            "session": label,
            "study": study,
            "series": uid,
            "instances": len(instances),
            "uids": packed(each.SOPInstanceUID for each in instances),
        }

    def complete(self, group: Group) -> Iterator[Mapping[str, Any]]:
        """Archive a session, and make sure that the archive has every instance.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        TransferError
            If XNAT cannot archive it, or has lost something.
        """
        several = [made for made in group.made.values() if made["state"] != "skipped"]
        first = next(iter(group.made.values()))
        subject, label = first["subject"], group.name
        told = {"session": label, "subject": subject, "series": len(several)}
        if not several:
            yield {**told, "state": "skipped"}
            return
        if self.into == "archive":
            expected: dict[str, set[str]] = {}
            for made in several:  # a plan may have a series in several parts
                expected.setdefault(made["series"], set()).update(unpacked(made["uids"]))
            there = self._sessions.archive(label, first["study"], set().union(*expected.values()))
            yield {**told, "state": "committed"}
            self._sessions.confirm(there, label, expected)
        yield {**told, "state": self._final}
        with self._lock:
            self._confirmed += 1
        self._manifests.finish(label, group.made)

    def confirms(self, key: str, made: Mapping[str, Any]) -> bool:
        """Whether XNAT still has the session that a receipt tells of."""
        label, state = str(made["session"]), made["state"]
        if state == "skipped":
            return self.existing == "skip" and label in self._sessions.known
        if key.startswith("group:"):
            # What was sent in this run is to be archived once more.
            holds = state in ("confirmed", self._final) and self._sessions.is_unchanged(label)
            if holds:
                self._manifests.finish(label, {})
            return holds
        if key in self._taken:
            return True
        holds = self._sessions.still_has(label, unpacked(made["uids"]))
        if holds:
            self._manifests.keep(key, made)
        return holds

    def frees(self, made: Mapping[str, Any]) -> bool:
        """Whether a series with such a receipt may be removed: one that was skipped is not in XNAT."""
        return bool(made["state"] != "skipped")

    def summary(self) -> str:
        """Say what became of sessions."""
        where = f"in the {self.into} of {self.project.name} on {self.project.host}"
        said = f"{counted(self._confirmed, 'session')} {self._final} {where}." if self._confirmed else ""
        skipped = f"{self._skipped:,} series skipped, as their sessions exist." if self._skipped else ""
        return " ".join(filter(None, (said, skipped)))

    def close(self) -> None:
        """Keep the filled manifest with the project unless the run is ended by an error, and log out.

        Raises
        ------
        NetworkError, TransferError
            If the manifest cannot be kept.
        """
        try:
            if self._is_begun and sys.exc_info()[0] is None:
                self._manifests.keep_filled(self.xnat)
        finally:
            self.xnat.close()


def _one_of(option: str, value: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise SelectionError(
            option, f"“{value}” is no value for {option}.", f"Write one of {', '.join(values)}."
        )
    return value


def packed(uids: Iterable[str]) -> str:
    """Return UIDs as a short text for a receipt."""
    return base64.b85encode(zlib.compress("\n".join(sorted(uids)).encode(), 9)).decode()


def unpacked(text: str) -> set[str]:
    """Return what `packed` was made from."""
    return set(zlib.decompress(base64.b85decode(text)).decode().split("\n"))


def make(request: ConsumerRequest) -> XnatProject:
    """Make the consumer.

    Raises
    ------
    MissingExtra
        If what it needs is not installed.
    SelectionError
        If an option is wrong, or there is no account.
    """
    require()
    return XnatProject(request)
