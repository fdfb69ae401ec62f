"""The consumer ``pacs:NODE``: series go to an archive, and each instance has an answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import DatasetDlError, NetworkError, SelectionError
from dataset_dl.model.series import Series
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.delivering import Delivering, Sums
from dataset_dl.pacs.echo import echo
from dataset_dl.pacs.instances import of_series
from dataset_dl.pacs.ledger import AnyLedger, Ledger
from dataset_dl.pacs.limits import limits_of
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.wording import counted

_SWITCHES = ("transcode", "any-patient-id")
_NAMED = 3
_LONGEST_WAIT_SECONDS = 30.0


class PacsNode:
    """Delivers series to a node; implements `destination.consumers.Consumer`.

    Parameters
    ----------
    request
        ``pacs:NODE`` with the options ``transcode`` (``yes``: convert what the node does not take as it is)
        , ``any-patient-id`` (``yes``: files may have another PatientID than the plan) and ``again`` (any text
        that was not used before: send also what was sent).
    node, ledger
        A node that is not among those of the user, and a ledger elsewhere than in the destination.

    Raises
    ------
    SelectionError
        If there is no such node, or an option is wrong.
    """

    def __init__(
        self, request: ConsumerRequest, *, node: Node | None = None, ledger: AnyLedger | None = None
    ) -> None:
        request.refuse(*_SWITCHES, "again")
        given = request.options
        for name in _SWITCHES:
            if given.get(name, "no") not in ("yes", "no"):
                raise SelectionError(name, f"“{given[name]}” is no value for {name}.", "Write yes or no.")
        if not request.where and node is None:
            raise SelectionError(
                "pacs", "The consumer pacs needs a node; nothing was started.", "Write pacs:NODE."
            )
        self.node: Node = node or Nodes().find(request.where)
        self._ledger = ledger
        self.name = f"pacs:{self.node.name}"
        self._transcode = given.get("transcode", "no") == "yes"
        self._any_patient_id = given.get("any-patient-id", "no") == "yes" or self.node.any_patient_id
        self._again = given.get("again", "")
        # Receipts are of an archive, not of a name that another one may get.
        self.options: Mapping[str, Any] = {
            "transcode": self._transcode, "address": self.node.target, "again": self._again
        }  # fmt: skip
        self.threads = self.node.at_once
        self._destination = request.destination
        self._network = NetworkSettings.gather()
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._counts: Counter[str] = Counter()
        self._warnings: list[str] = []

    @cached_property
    def _delivering(self) -> Delivering:
        ledger = self._ledger or Ledger.of(self._destination)
        return Delivering(
            self.node, self._network, ledger, transcode=self._transcode, again=bool(self._again)
        )

    def check(self) -> None:
        """Ask whether the node listens, before anything else happens; in its hours only.

        Raises
        ------
        SelectionError
            If it lets nobody in.
        NetworkError
            If it does not answer.
        """
        if self.node.waits_seconds() == 0.0:
            with limits_of(self.node, "send").place(self._refuse_if_closed):
                echo(self.node, self._network)

    def _refuse_if_closed(self) -> None:
        if self._is_closed.is_set():
            raise NetworkError(self.node.name, f"Sending to {self.node.name} was interrupted.")

    def take(self, series: Series) -> Mapping[str, Any]:
        """Send what the node lacks of a series; wait for its hours.

        Raises
        ------
        NetworkError
            If it failed for a reason that may pass.
        TransferError
            If the node refuses instances.
        UnreadableObject
            If files cannot be sent.
        """
        while seconds := self.node.waits_seconds():
            if self._is_closed.wait(min(seconds, _LONGEST_WAIT_SECONDS)):
                raise NetworkError(self.node.name, f"{self.node.name} may not be asked at this hour.")
        row = series.planned
        instances, problems = of_series(series.paths, row, any_patient_id=self._any_patient_id)
        sums = Sums()
        try:
            self._delivering.send(instances, sums)
        except DatasetDlError as error:
            if problems and isinstance(error, NetworkError):
                error.message = f"{error.message} Besides, {problems[0].words}."
            raise
        finally:
            with self._lock:
                self._counts.update(sent=sums.sent, before=sums.before, warned=len(sums.warnings))
                self._warnings += [f"{uid}: {answer}" for uid, answer in sums.warnings.items()][:_NAMED]
        sums.problems[:0] = problems
        sums.raise_for(self.node.name, f"the series {row.title}", str(self._destination))
        return {"instances": len(instances), "warnings": len(sums.warnings)}

    def summary(self) -> str:
        """Say what became of instances."""
        counts = self._counts
        if not counts.total():
            return ""
        said = f"{counted(counts['sent'], 'instance')} sent to {self.node.name}"
        said += f", {counts['before']:,} sent before" if counts["before"] else ""
        if counts["warned"]:
            said += (
                f"; {counts['warned']:,} taken with a warning, for example"
                f" {'; '.join(self._warnings[:_NAMED])} (`dataset-dl pacs status` lists all)"
            )
        return f"{said}."

    def stop(self) -> None:
        """End what is being sent, and what waits for the hours of the node."""
        self._is_closed.set()
        if "_delivering" in self.__dict__:
            self._delivering.interrupt()

    def close(self) -> None:
        """End all associations."""
        if "_delivering" in self.__dict__:
            self._delivering.close()


def make(request: ConsumerRequest) -> PacsNode:
    """Make the consumer.

    Raises
    ------
    SelectionError
        If there is no such node, or an option is wrong.
    """
    return PacsNode(request)
