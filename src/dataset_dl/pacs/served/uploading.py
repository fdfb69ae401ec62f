"""The call of the page Upload: one instance after the other goes to a node."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Call, Given, Place, Right
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.delivering import Delivering, Sums
from dataset_dl.pacs.instances import Problem, looked_at
from dataset_dl.pacs.ledger import Ledger
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.served.fetching import node_of
from dataset_dl.pacs.served.records import log
from dataset_dl.pacs.upload import folder

_MOST_BYTES = 2 << 30
_MOST_OPEN = 4


class _Open:
    """What sends to the nodes that were used last, which stays connected."""

    def __init__(self) -> None:
        self._known: OrderedDict[Node, Delivering] = OrderedDict()
        self._users: Counter[Node] = Counter()
        self._lock = Lock()

    @contextmanager
    def delivering(self, node: Node) -> Iterator[Delivering]:
        """Give what sends to a node; it stays open at least as long as somebody uses it."""
        with self._lock:
            if node not in self._known:
                # An upload by one person says nothing of that by another, so all is sent.
                made = Delivering(
                    node, NetworkSettings.gather(), Ledger(folder()), transcode=False, again=True
                )
                self._known[node] = made
            self._known.move_to_end(node)
            self._users[node] += 1
            found = self._known[node]
        try:
            yield found
        finally:
            with self._lock:
                self._users[node] -= 1
                idle = [each for each in self._known if not self._users[each]]
                left = [self._known.pop(each) for each in idle[: max(0, len(self._known) - _MOST_OPEN)]]
            for each in left:
                each.close()


_open = _Open()


def upload(place: Place, given: Given) -> dict[str, Any]:
    """Send one instance to a node; say what it answered."""
    node = node_of(given.text("node"))
    node.refuse_now("nothing was sent")
    assert given.body is not None, "the call takes a body"
    found = looked_at(given.body)
    if isinstance(found, Problem):
        raise SelectionError("body", f"This is no file that could be sent: {found.words}.")
    sums = Sums()
    with _open.delivering(node) as delivering:
        delivering.send([found], sums)
    log(given.person, "send", node.name, found.uid)
    problem = sums.problems[0].words if sums.problems else ""
    return {"SOPInstanceUID": found.uid, "is_stored": not problem, "problem": problem}


CALLS: tuple[Call, ...] = (
    Call(
        "pacs/nodes/{node}/instances",
        upload,
        "Send one instance to a node.",
        {"node": "The name of a node."},
        method="POST",
        rights=(Right("send", "node"),),
        takes=("application/dicom",),
        most_bytes=_MOST_BYTES,
    ),
)
