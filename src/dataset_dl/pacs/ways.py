"""The ways on which instances come from an archive by DIMSE: C-GET and C-MOVE."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from dataset_dl.engines.threads import Failed
from dataset_dl.errors import NetworkError, TransferError
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import answers, services
from dataset_dl.pacs.answers import Numbers
from dataset_dl.pacs.archives import archive_of
from dataset_dl.pacs.arriving import Arriving, meta
from dataset_dl.pacs.association import Association, Context
from dataset_dl.pacs.commandsets import Command
from dataset_dl.pacs.intake import Counted, Intake, Refused
from dataset_dl.pacs.negotiation import MOST_CONTEXTS, Proposal, associate
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.receiver import Receiver

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# As objects are stored, most frequent first: each in its own context, so that the archive need not convert.
SYNTAXES = (
    services.EXPLICIT,
    services.IMPLICIT,
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.1.99",
)
# Of one request, whose list of UIDs an archive takes apart.
_AT_ONCE = 100
# Refused: SOP class not supported, not authorised, unrecognised operation (PS3.7, annex C).
_NO_SERVICE = (0x0122, 0x0124, 0x0211)
# After C-MOVE has ended, instances may still be on their way.
_LATE_SECONDS, _TICK_SECONDS = 10.0, 0.05


class Way(Protocol):
    """A way on which instances come."""

    def fetch(self, intake: Intake) -> None:
        """Fetch what an intake lacks, all in all or in part.

        Raises
        ------
        Failed, NetworkError, TransferError, OSError
            If it cannot go on.
        """


class Get:
    """By C-GET, in one association."""

    def __init__(
        self,
        node: Node,
        network: NetworkSettings,
        opened: Callable[[Association], object],
    ) -> None:
        self._node = node
        self._network = network
        self._opened = opened

    def fetch(self, intake: Intake) -> None:
        """Fetch what an intake lacks; see `Way`.

        Raises
        ------
        NotOffered
            If the archive does not offer C-GET.
        """
        peer = self._node.peer(self._network)
        association = associate(peer, _proposals(self._classes(intake)))
        self._opened(association)
        with association:
            if association.context(services.STUDY_GET) is None:
                raise NotOffered(self._node.name, f"{self._node.name} does not offer C-GET.")
            for identifier in _identifiers(intake):
                try:
                    numbers = self._get(association, intake, identifier, peer.ae_title)
                except NetworkError as error:
                    if intake.arrived_count or intake.failure is not None:
                        raise
                    # Some archives accept the context, and end the association when C-GET is used.
                    refusal = NotOffered(error.reference, error.message, error.hint)
                    refusal.is_certain = False
                    raise refusal from None
                if numbers.status in _NO_SERVICE and not intake.arrived_count:
                    raise NotOffered(self._node.name, f"{self._node.name} refuses C-GET: {numbers.words}.")

    def _get(self, association: Association, intake: Intake, identifier: Dataset, title: str) -> Numbers:
        arriving: list[Arriving] = []

        def sink(context: Context, command: Command) -> Counted:
            uid = str(command.get("AffectedSOPInstanceUID", ""))
            arriving.append(intake.begin(meta(context.abstract, uid, context.syntax, title)))
            return Counted(arriving[-1], intake)

        def taken(command: Command) -> int:
            if not arriving:
                return answers.CANNOT_UNDERSTAND
            try:
                intake.end(arriving.pop())
            except Refused:
                return answers.CANNOT_UNDERSTAND
            return answers.SUCCESS

        try:
            numbers = services.get(association, identifier, sink, taken)
        finally:
            for each in arriving:
                each.drop()
        intake.said = numbers.words if numbers.status != answers.SUCCESS else ""
        return numbers

    def _classes(self, intake: Intake) -> list[str]:
        return classes_of(self._node, self._network, intake)


class Move:
    """By C-MOVE, to a receiver of this process."""

    def __init__(
        self,
        node: Node,
        network: NetworkSettings,
        opened: Callable[[Association], object],
        receiver: Callable[[], Receiver],
    ) -> None:
        self._node = node
        self._network = network
        self._opened = opened
        self._receiver = receiver

    def fetch(self, intake: Intake) -> None:
        """Fetch what an intake lacks; see `Way`."""
        receiver = self._receiver()
        title = receiver.titles.receiver
        receiver.await_instances(intake)
        try:
            syntaxes = (services.EXPLICIT, services.IMPLICIT)
            association = associate(self._node.peer(self._network), [Proposal(services.STUDY_MOVE, syntaxes)])
            self._opened(association)
            with association:
                for identifier in _identifiers(intake):
                    numbers = services.move(association, identifier, title, self._patience(intake))
                    if numbers.status == 0xA801:
                        raise Failed(
                            "access_denied",
                            f"{self._node.name} does not know the AE title {title} to send to; its"
                            " administrator has to enter it with this machine's address and the port"
                            f" {receiver.port}",
                        )
                    intake.said = numbers.words if numbers.status != answers.SUCCESS else ""
                    self._wait(intake, numbers.completed or 0)
        finally:
            receiver.forget(intake)

    def _patience(self, intake: Intake) -> Callable[[bool], None]:
        """Return what ends the wait for an archive that neither says nor sends anything."""
        said_at = time.monotonic()

        def look(is_told: bool) -> None:
            nonlocal said_at
            intake.receiving.check()
            if is_told:
                said_at = time.monotonic()
            elif time.monotonic() - max(said_at, intake.heard_at) > self._node.timeout_seconds:
                raise NetworkError(
                    self._node.name,
                    f"{self._node.name} sent nothing for too long.",
                    "The same command goes on.",
                )

        return look

    def _wait(self, intake: Intake, completed: int) -> None:
        """Wait for instances that the archive has sent, but that are not taken yet."""
        ended_at = time.monotonic()
        while completed and intake.arrived_count < completed and intake.missing and not intake.problems:
            if time.monotonic() - max(ended_at, intake.heard_at) > _LATE_SECONDS:
                return
            intake.receiving.check()
            time.sleep(_TICK_SECONDS)


class NotOffered(TransferError):
    """An archive does not offer a service; never leaves an engine.

    `is_certain` unless the archive only ended the association.
    """

    is_certain = True


def classes_of(node: Node, network: NetworkSettings, intake: Intake) -> list[str]:
    """Return SOP classes for instances of a series, which have to be negotiated before they come."""
    row = intake.row
    keys = {
        "StudyInstanceUID": str(row.StudyInstanceUID),
        "SeriesInstanceUID": str(row.SeriesInstanceUID),
    }
    if intake.is_whole:
        # Nearly every series has one class, and an archive may read a file for each instance that is listed.
        keys["SOPInstanceUID"] = min(intake.missing)
    with archive_of(node.by_dimse, network) as archive:
        wanted = ("SOPInstanceUID", "SOPClassUID")
        found = {row.get("SOPClassUID", "") for row in archive.find("image", keys, wanted)}
    return sorted(found - {""})


def _usual_classes() -> list[str]:
    """Return the classes of most objects, for archives that do not tell and series of several."""
    from pynetdicom import StoragePresentationContexts

    return [str(each.abstract_syntax) for each in StoragePresentationContexts]


def _proposals(classes: Sequence[str]) -> list[Proposal]:
    """Return contexts: one for each syntax of the classes that are known, and one for each other class."""
    made = [Proposal(services.STUDY_GET, (services.EXPLICIT, services.IMPLICIT))]
    room = (MOST_CONTEXTS - 1) // len(SYNTAXES)
    made += [Proposal(each, (syntax,), True) for each in classes[:room] for syntax in SYNTAXES]
    others = [each for each in (*classes, *_usual_classes()) if each not in classes[:room]]
    made += [Proposal(each, SYNTAXES, True) for each in dict.fromkeys(others)]
    return made[:MOST_CONTEXTS]


def _identifiers(intake: Intake) -> Iterator[Dataset]:
    """Yield what to ask for: the series, or what is missing of it."""
    from pydicom.dataset import Dataset

    missing = sorted(intake.missing)
    is_all = intake.is_whole and len(missing) == len(intake.wanted)
    for begin in range(0, 1 if is_all else len(missing), _AT_ONCE):
        made = Dataset()
        made.QueryRetrieveLevel = "SERIES" if is_all else "IMAGE"
        made.StudyInstanceUID = intake.row.StudyInstanceUID
        made.SeriesInstanceUID = intake.row.SeriesInstanceUID
        if not is_all:
            made.SOPInstanceUID = missing[begin : begin + _AT_ONCE]
        yield made
