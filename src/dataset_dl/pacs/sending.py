"""How instances go to an archive, each with one answer: what all ways have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.instances import Instance
from dataset_dl.pacs.limits import limits_of
from dataset_dl.pacs.nodes import Node

CHANGED = "it changed while it was sent"
_BATCH, _BATCH_BYTES = 50, 16 << 20


class Outcome(NamedTuple):
    """What became of an instance, with a digest of what was sent."""

    instance: Instance
    answer: Answer
    digest: bytes = b""


class Sender(Protocol):
    """Sends instances to a node, in one thread."""

    def send(self, instances: Sequence[Instance]) -> Iterator[Outcome]:
        """Send instances, and yield the outcome of each, in any order.

        Raises
        ------
        NetworkError
            If the archive does not answer any more; those without an outcome may be sent again.
        StorageError
            If a file cannot be read.
        """

    def interrupt(self) -> None:
        """Make it end what it is doing, from another thread; do nothing if it does nothing."""

    def close(self) -> None:
        """End it."""


class Rate:
    """Holds what is sent to the rate of a node."""

    def __init__(self, node: Node) -> None:
        self._pace = limits_of(node, "send").pace

    def sent(self, size_bytes: int) -> None:
        """Count bytes, and wait as long as the rate demands."""
        if self._pace is not None and (seconds := self._pace.moved(size_bytes)):
            time.sleep(seconds)


def batches(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Yield instances in parts that go out together, at most 50 and 16 MB, but at least one."""
    batch: list[Instance] = []
    size_bytes = 0
    for each in instances:
        if batch and (len(batch) >= _BATCH or size_bytes + each.size_bytes > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += each.size_bytes
    if batch:
        yield batch
