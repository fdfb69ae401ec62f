"""Instances go to an archive by STOW-RS, in parts; those that the answer does not name go again alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import answers
from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.dicomweb import DicomWeb, NotTaken, Stored
from dataset_dl.pacs.instances import Instance, digest_of, unchanged
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.sending import CHANGED, Outcome, Rate

_FAILURE = 0x0110


class Posting:
    """Sends by STOW-RS, in batches; an instance that the answer does not name is sent again alone."""

    def __init__(self, node: Node, network: NetworkSettings) -> None:
        self._web = DicomWeb(node, network)
        self._rate = Rate(node)

    def send(self, instances: Sequence[Instance]) -> Iterator[Outcome]:
        """Send instances; see `sending.Sender`."""
        yield from self._batch(instances)

    def interrupt(self) -> None:
        """Do nothing: a request ends by itself, or after its time."""

    def close(self) -> None:
        """Close the connections."""
        self._web.close()

    def _batch(self, batch: Sequence[Instance]) -> Iterator[Outcome]:
        several: list[Instance] = []
        files: list[bytes] = []
        for each in batch:
            try:
                data = each.path.read_bytes()
            except OSError as error:
                words = f"it cannot be read ({error.strerror or error})"
                yield Outcome(each, Answer(answers.CANNOT_UNDERSTAND, words))
                continue
            if not unchanged(each, data):
                yield Outcome(each, Answer(answers.CANNOT_UNDERSTAND, CHANGED))
                continue
            several.append(each)
            files.append(data)
        if not several:
            return
        told, refusal = self._posted(files)
        self._rate.sent(sum(map(len, files)))
        digests = {
            each.uid: digest_of(data, each.identity.begins_at)
            for each, data in zip(several, files, strict=True)
        }
        left = []
        for each in several:
            if (stored := told.get(each.uid)) is not None:
                yield Outcome(each, _answer_of(stored), digests[each.uid])
            elif len(several) == 1:
                words = refusal or "the answer does not name it"
                yield Outcome(each, Answer(answers.CANNOT_UNDERSTAND, words), digests[each.uid])
            else:
                left.append(each)
        for each in left:
            yield from self._batch([each])

    def _posted(self, files: Sequence[bytes]) -> tuple[dict[str, Stored], str]:
        """Return what the archive says of each, and what it says of all if it refuses."""
        try:
            return self._web.store(files), ""
        except NotTaken as error:
            return {}, error.message.rstrip(".")


def _answer_of(stored: Stored) -> Answer:
    if stored.is_stored:
        return Answer(stored.reason or answers.SUCCESS)
    answer = Answer(stored.reason if stored.reason is not None else answers.CANNOT_UNDERSTAND)
    # Whatever reason it gives, it says that it has not stored it.
    return Answer(_FAILURE, f"reason {stored.reason}") if answer.is_stored else answer
