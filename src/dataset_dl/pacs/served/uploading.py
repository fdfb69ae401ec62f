"""The call of the page Upload: one instance after the other goes to a node."""

from __future__ import annotations

from collections import OrderedDict
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
        self._lock = Lock()

    def delivering(self, node: Node) -> Delivering:
        """Return what sends to a node."""
        with self._lock:
            if node not in self._known:
                # An upload by one person says nothing of that by another, so all is sent.
                made = Delivering(
                    node, NetworkSettings.gather(), Ledger(folder()), transcode=False, again=True
                )
                self._known[node] = made
            self._known.move_to_end(node)
            while len(self._known) > _MOST_OPEN:
                self._known.popitem(last=False)[1].close()
            return self._known[node]


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
    _open.delivering(node).send([found], sums)
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
