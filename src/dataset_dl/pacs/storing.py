"""Instances go to an archive by C-STORE, each with an answer of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from dataset_dl.errors import NetworkError
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import answers, services
from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.association import Association, Context
from dataset_dl.pacs.instances import Instance, digest_of, unchanged
from dataset_dl.pacs.negotiation import MOST_CONTEXTS, Proposal, associate
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.sending import CHANGED, Outcome, Rate
from dataset_dl.pacs.transcoding import uncompressed
from dataset_dl.pixels.identity import Identity, contents

# An instance without an answer is sent again, in a new association.
_TRIES = 3
# After so many in a row, it is not for the instances.
_MOST_SILENT = 3
_PAUSE_SECONDS = 0.5
_NO_CONTEXT = 0x0122
_DEFLATED = "1.2.840.10008.1.2.1.99"


class Storing:
    """Sends by C-STORE, and keeps the association as long as its contexts are enough."""

    def __init__(self, node: Node, network: NetworkSettings, *, transcode: bool) -> None:
        self._peer = node.peer(network)
        self._transcode = transcode
        self._rate = Rate(node)
        self._association: Association | None = None
        self._proposed: set[tuple[str, str]] = set()
        self._is_sending = self._is_interrupted = False

    def send(self, instances: Sequence[Instance]) -> Iterator[Outcome]:
        """Send instances; see `sending.Sender`."""
        pairs = {(each.identity.SOPClassUID, each.identity.TransferSyntaxUID) for each in instances}
        silent = 0
        for each in instances:
            self._is_sending = True
            try:
                answer, digest = self._sent(each, pairs)
            finally:
                self._is_sending = False
            yield Outcome(each, answer, digest)
            silent = silent + 1 if answer.status is None else 0
            if silent == _MOST_SILENT:
                raise NetworkError(
                    self._peer.name,
                    f"{self._peer.name} had no answer for {silent} instances in a row, the last {each.uid}:"
                    f" {answer.words}.",
                    "Try again later.",
                )

    def interrupt(self) -> None:
        """End what it is sending, from another thread."""
        self._is_interrupted = True
        if self._is_sending and (association := self._association) is not None:
            association.interrupt()

    def close(self) -> None:
        """End the association."""
        if self._association is not None:
            self._association.release()

    def _sent(self, instance: Instance, pairs: set[tuple[str, str]]) -> tuple[Answer, bytes]:
        """Send an instance until it has an answer; after a few tries leave it, not the others."""
        words = ""
        for number in range(_TRIES):
            if number:
                time.sleep(number * _PAUSE_SECONDS)
            if self._is_interrupted:
                raise NetworkError(self._peer.name, "It was interrupted.")
            # If there is no association to be had, the others have no hope either.
            association = self._associated(instance.identity, pairs)
            try:
                answer, digest = self._once(association, instance)
            except NetworkError as error:
                if self._is_interrupted:
                    raise
                words = error.message.partition(";")[0]
                continue
            if answer.status is not None:
                return answer, digest
            # An answer without a status says nothing: neither that it is there, nor that it is not.
            words = f"{self._peer.name} answered without saying whether it has it"
            self._leave()
        return Answer(None, words), b""

    def _once(self, association: Association, instance: Instance) -> tuple[Answer, bytes]:
        identity = instance.identity
        context = association.context(identity.SOPClassUID, identity.TransferSyntaxUID)
        try:
            with contents(instance.path) as data:
                if not unchanged(instance, data):
                    return Answer(answers.CANNOT_UNDERSTAND, CHANGED), b""
                digest = digest_of(data, identity.begins_at)
                if context is None:
                    return self._converted(association, instance, data), digest
                view = memoryview(data)
                try:
                    return self._stored(association, context, instance, view[identity.begins_at :]), digest
                finally:
                    view.release()
        except OSError as error:
            return Answer(answers.CANNOT_UNDERSTAND, f"it cannot be read ({error.strerror or error})"), b""

    def _stored(
        self, association: Association, context: Context, instance: Instance, data: memoryview | bytes
    ) -> Answer:
        if context.syntax == _DEFLATED and len(data) % 2:
            data = bytes(data) + b"\0"  # PS3.5, A.5; a file may lack it
        answer = services.store(association, context, instance.uid, data)
        self._rate.sent(len(data))
        return answer

    def _converted(self, association: Association, instance: Instance, data: bytes) -> Answer:
        """Send an instance in another transfer syntax, if that is wanted and the archive takes one."""
        identity = instance.identity
        for syntax in (services.EXPLICIT, services.IMPLICIT) if self._transcode else ():
            if (context := association.context(identity.SOPClassUID, syntax)) is not None:
                converted = uncompressed(bytes(data), syntax)
                if isinstance(converted, str):
                    return Answer(_NO_CONTEXT, converted)
                return self._stored(association, context, instance, converted)
        return Answer(_NO_CONTEXT, _not_taken(association, identity.SOPClassUID, identity.TransferSyntaxUID))

    def _associated(self, identity: Identity, pairs: set[tuple[str, str]]) -> Association:
        """Return an association whose contexts were negotiated for what the files are."""
        needed = _with_plain({(identity.SOPClassUID, identity.TransferSyntaxUID)})
        if self._association is not None and self._association.is_open and needed <= self._proposed:
            return self._association
        self._leave()
        # What the others need, and what was needed before, as far as there is room.
        several = dict.fromkeys([*sorted(needed), *sorted(_with_plain(pairs)), *sorted(self._proposed)])
        kept = list(several)[:MOST_CONTEXTS]
        self._association = associate(
            self._peer, [Proposal(abstract, (syntax,)) for abstract, syntax in kept]
        )
        self._proposed = set(kept)
        return self._association

    def _leave(self) -> None:
        if self._association is not None:
            self._association.release()
            self._association = None


def _with_plain(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Add the syntaxes without compression, to know what an archive takes instead."""
    return pairs | {
        (abstract, syntax) for abstract, _ in pairs for syntax in (services.EXPLICIT, services.IMPLICIT)
    }


def _not_taken(association: Association, abstract: str, syntax: str) -> str:
    from pydicom.uid import UID

    taken = sorted(
        {UID(each.syntax).name for each in association.contexts.values() if each.abstract == abstract}
    )
    if not taken:
        return f"{association.name} does not take {UID(abstract).name}"
    return (
        f"{association.name} takes {UID(abstract).name} only as {' or '.join(taken)}, and this is"
        f" {UID(syntax).name}; --transcode converts it"
    )
