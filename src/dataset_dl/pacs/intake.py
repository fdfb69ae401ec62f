"""Takes the instances of a series as they come: each is checked before it gets its name."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_dl.engines.receiving import Receiving
from dataset_dl.model.series import PlannedSeries
from dataset_dl.pacs.arriving import Arriving
from dataset_dl.pacs.ledger import Entry, Ledger, now
from dataset_dl.pacs.nodes import Node
from dataset_dl.pixels.identity import Identity, is_uid
from dataset_dl.pixels.unreadable import Unreadable

UNFINISHED = ".pacs.part"
# Rows of the ledger that are written together, where no archive waits for an answer.
_COMMIT = 50


def is_unfinished(name: str) -> bool:
    """Whether a file is one that has not come to its end."""
    return name.startswith(".") and name.endswith(UNFINISHED)


def name_of(uid: str) -> str:
    """Return the name of an instance's file."""
    return f"{uid}.dcm"


class Refused(Exception):
    """An instance is not taken; the message is half a sentence about it. Never leaves an engine."""


class Counted:
    """Takes the bytes of an instance that comes by DIMSE: counts them, and holds them to the rate."""

    def __init__(self, arriving: Arriving, intake: Intake) -> None:
        self._arriving = arriving
        self._intake = intake

    def write(self, data: memoryview) -> None:
        """Take the next bytes.

        Raises
        ------
        Stopped
            If everything was ended.
        """
        self._intake.receiving.check()
        self._arriving.write(data)
        self._intake.receiving.received(len(data))
        self._intake.heard_at = time.monotonic()


class Intake:
    """Takes the instances of one series, from several threads.

    Parameters
    ----------
    row
        The series.
    wanted
        The SOPInstanceUIDs that are to come.
    directory
        Where they go.
    node
        Where they come from.
    ledger
        Where each is recorded.
    receiving
        What counts the bytes, and holds them to the rate of the node.
    is_whole
        Whether all of the series is wanted.

    Attributes
    ----------
    failure
        Why the disk does not take them.
    problems
        Why instances were refused, by SOPInstanceUID.
    said
        What the archive said in the end, unless all went well.
    heard_at
        When bytes came last, by the clock of `time.monotonic`.
    """

    def __init__(
        self,
        row: PlannedSeries,
        wanted: set[str],
        directory: Path,
        node: Node,
        ledger: Ledger,
        receiving: Receiving,
        *,
        is_whole: bool = True,
    ) -> None:
        self.row = row
        self.wanted = wanted
        self._directory = directory
        self._node = node
        self._ledger = ledger
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._busy: set[str] = set()
        self._number = 0
        self._arrived: dict[str, int] = {}
        self._unrecorded: list[Entry] = []
        self.receiving = receiving
        self.heard_at = time.monotonic()
        self.is_whole = is_whole
        self.said = ""
        self.failure: OSError | None = None
        self.problems: dict[str, str] = {}

    @property
    def missing(self) -> set[str]:
        """The SOPInstanceUIDs that have not come."""
        return self.wanted - self._arrived.keys()

    @property
    def arrived_count(self) -> int:
        """How many have come."""
        return len(self._arrived)

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of those that have come, by SOPInstanceUID."""
        with self._lock:
            return dict(self._arrived)

    def record(self) -> None:
        """Write the rows of what has come into the ledger.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        with self._lock:
            entries, self._unrecorded = self._unrecorded, []
        if entries:
            self._ledger.record(entries)

    def begin(self, before: bytes = b"") -> Arriving:
        """Begin with an instance."""
        with self._lock:
            self._number += 1
            number = self._number
        return Arriving(self._directory / f".{self.row.SeriesInstanceUID}.{number}{UNFINISHED}", before)

    def end(self, arriving: Arriving, *, is_synced: bool = False) -> str:
        """Check an instance and give it its name; return its SOPInstanceUID.

        Raises
        ------
        Refused
            If it is not one of those that are to come, or not whole.
        OSError
            If it cannot be written.
        """
        try:
            identity = self._checked(arriving)
            uid = identity.SOPInstanceUID
            if uid not in self.wanted:
                raise Refused(f"the instance {uid} is not one that the archive had listed")
            with self._claimed(uid):
                if not self._is_here(arriving, uid):
                    arriving.keep(self._directory / name_of(uid), is_synced=is_synced)
                    with self._lock:
                        self._arrived[uid] = arriving.size_bytes
        except BaseException as error:
            arriving.drop()
            if isinstance(error, OSError):
                self.failure = error
            raise
        entry = Entry(
            "received", self._node.name, self._node.address,
            uid, identity.SeriesInstanceUID, identity.StudyInstanceUID,
            0, "", b"", arriving.size_bytes, now(),
        )  # fmt: skip
        with self._lock:
            self._unrecorded.append(entry)
            is_due = is_synced or len(self._unrecorded) >= _COMMIT
        if is_due:
            self.record()
        return uid

    @contextmanager
    def _claimed(self, uid: str) -> Iterator[None]:
        """Let one thread at a time work on an instance."""
        with self._changed:
            while uid in self._busy:
                self._changed.wait()
            self._busy.add(uid)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(uid)
                self._changed.notify_all()

    def _is_here(self, arriving: Arriving, uid: str) -> bool:
        """Whether an instance has come before, with the same contents.

        Raises
        ------
        Refused
            If its contents differ; then neither is kept, for nobody can tell which one is right.
        """
        if uid in self.problems:
            raise Refused(self.problems[uid])
        if uid not in self._arrived:
            return False
        target = self._directory / name_of(uid)
        if not arriving.is_same(target):
            with self._lock:
                del self._arrived[uid]
            target.unlink()
            raise self._problem(uid, f"the instance {uid} came twice, with different contents")
        arriving.drop()
        return True

    def _checked(self, arriving: Arriving) -> Identity:
        try:
            identity = arriving.identity()
        except Unreadable as error:
            raise self._problem("", f"an instance came damaged: {error}") from None
        uid, row = identity.SOPInstanceUID, self.row
        if not is_uid(uid):
            raise self._problem("", f"an instance came without a valid SOPInstanceUID ({uid[:70]!r})")
        if identity.SeriesInstanceUID != row.SeriesInstanceUID:
            raise self._problem(uid, f"the instance {uid} is of the series {identity.SeriesInstanceUID[:70]}")
        if identity.StudyInstanceUID != row.StudyInstanceUID:
            raise self._problem(uid, f"the instance {uid} is of the study {identity.StudyInstanceUID[:70]}")
        expected = row.PatientID
        if expected is not None and identity.PatientID != expected and not self._node.any_patient_id:
            raise self._problem(
                uid,
                f"the instance {uid} has another PatientID than {self._node.name} says of it, so it may be of"
                " another patient (a node with --any-patient-id takes it)",
            )
        return identity

    def _problem(self, uid: str, words: str) -> Refused:
        with self._lock:
            self.problems[uid] = words
        return Refused(words)
