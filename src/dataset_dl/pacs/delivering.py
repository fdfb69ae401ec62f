"""The instances of a series or a directory go to a node, by the ledger: each once, each with an answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl.errors import NetworkError, TransferError, UnreadableObject
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import require
from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.instances import Instance, Problem, digest_at
from dataset_dl.pacs.ledger import AnyLedger, Entry, now
from dataset_dl.pacs.limits import limits_of
from dataset_dl.pacs.negotiation import Congested
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.sending import Outcome, Sender, batches
from dataset_dl.wording import counted

_NAMED = 3
# Rows of the ledger that are committed together, for answers that come together.
_COMMIT = 50
# An archive answers for an instance within this time, usually.
_GENTLE_SECONDS = 2.0


@dataclass
class Sums:
    """What became of instances.

    Attributes
    ----------
    sent, before
        How many the node has taken now, and earlier.
    counted
        How many it has, as an earlier try of this run has counted.
    warnings
        What it said of those that it took with a warning.
    problems
        Those that it has not, each with the reason.
    passing
        How many of these failed for a reason that may pass.
    """

    sent: int = 0
    before: int = 0
    counted: int = 0
    warnings: dict[str, Answer] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    passing: int = 0

    def raise_for(self, node: str, of: str, where: str) -> None:
        """Raise if a node has not all instances.

        Raises
        ------
        NetworkError
            If every reason may pass.
        UnreadableObject, TransferError
            If not.
        """
        if not self.problems:
            return
        named = "; ".join(each.words for each in self.problems[:_NAMED])
        more = f"; and {len(self.problems) - _NAMED:,} more" if len(self.problems) > _NAMED else ""
        there = self.sent + self.before + self.counted
        taken = f"{there:,} others are there" if there else "no other was sent"
        said = (
            f"{counted(len(self.problems), 'instance')} of {of} did not go to {node}, {taken}: {named}{more}."
        )
        if self.passing == len(self.problems):
            raise NetworkError(node, said, "The same command sends what is missing.")
        kind = TransferError if any(each.uid for each in self.problems) else UnreadableObject
        raise kind(node, said, f"`dataset-dl pacs status {where}` lists every answer.")


class Delivering:
    """Sends to a node, from several threads.

    Parameters
    ----------
    node, network
        Where to, and how it is reached.
    ledger
        What was answered.
    transcode
        Whether to convert what the node does not take as it is.
    again
        Whether to send also what was sent before this run.
    """

    def __init__(
        self, node: Node, network: NetworkSettings, ledger: AnyLedger, *, transcode: bool, again: bool = False
    ) -> None:
        self.node = node
        self._network = network
        self._ledger = ledger
        self._transcode = transcode
        self._again = again
        self._senders: list[Sender] = []
        # Those that wait for work; the one that was used last comes first, because it is connected.
        self._idle: list[Sender] = []
        self._most = node.at_once
        self._limits = limits_of(node, "send")
        self._changed = threading.Condition()
        self._is_ending = False
        self._lock = threading.Lock()
        # What the node has, by the SOPInstanceUID, of series that may be tried again in this run.
        self._counted: set[str] = set()
        # Parts of one series go at once, too.
        self._pool = ThreadPoolExecutor(node.at_once, thread_name_prefix="sending")

    def send(self, instances: Sequence[Instance], sums: Sums) -> None:
        """Send those that the node does not have by the ledger.

        Parameters
        ----------
        instances
            The instances.
        sums
            Gets what becomes of them, also if an error ends it.

        Raises
        ------
        NetworkError
            If the node does not answer any more.
        StorageError
            If a file cannot be read, or the ledger cannot be written.
        """
        with self._lock:
            counted_before = {each.uid for each in instances} & self._counted
        uids = counted_before if self._again else [each.uid for each in instances]
        known = self._ledger.find("sent", self.node.name, self.node.target, uids)
        left = []
        for each in instances:
            entry = known.get(each.uid)
            if entry is None or not Answer(entry.status).is_stored:
                left.append(each)
            elif not _is_of(entry, each):
                sums.problems.append(_other_content(each, self.node.name))
            elif each.uid in counted_before:
                sums.counted += 1
            else:
                self._count_before(each, entry, sums)
        parts = [self._pool.submit(self._send, batch, sums) for batch in batches(left)]
        try:
            for part in parts:
                part.result()
        finally:
            # One that was cancelled before it began never ends.
            wait([part for part in parts if not part.cancel()])
        if not sums.passing:
            with self._lock:
                self._counted.difference_update(each.uid for each in instances)

    def has(self, instance: Instance) -> bool:
        """Whether the node has an instance with these contents, by the ledger."""
        entry = self._ledger.find("sent", self.node.name, self.node.target, [instance.uid]).get(instance.uid)
        return entry is not None and Answer(entry.status).is_stored and _is_of(entry, instance)

    def close(self) -> None:
        """End all associations."""
        self.interrupt()
        self._pool.shutdown()
        with self._changed:
            several, self._senders = self._senders, []
        for each in several:
            self._limits.end(each)

    def interrupt(self) -> None:
        """End what is being sent; from another thread.

        What an archive is just taking gets a moment for its answer: without one it would be sent twice.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._is_ending = True
            self._changed.wait_for(lambda: len(self._idle) == len(self._senders), _GENTLE_SECONDS)
            several = list(self._senders)
        for each in several:
            each.interrupt()

    def _send(self, batch: Sequence[Instance], sums: Sums) -> None:
        left = {each.uid: each for each in batch}
        while left:
            sender = self._taken()
            try:
                self._limits.enter(self._check, sender)
                try:
                    self._send_by(sender, left, sums)
                finally:
                    self._limits.rest(sender)
            except Congested:
                if not self._give_up(sender):
                    raise
                continue
            finally:
                self._give_back(sender)

    def _send_by(self, sender: Sender, left: dict[str, Instance], sums: Sums) -> None:
        """Send instances, and take those out of `left` that have an answer."""
        told: list[Outcome] = []
        is_single = bool(self.node.dimse)
        try:
            for outcome in sender.send(list(left.values())):
                told.append(outcome)
                if is_single or len(told) >= _COMMIT:
                    self._record(told, sums, left)
                    told = []
                self._check()
        finally:
            self._record(told, sums, left)

    def _check(self) -> None:
        if self._is_ending:
            raise NetworkError(self.node.name, f"Sending to {self.node.name} was interrupted.")

    def _taken(self) -> Sender:
        """Take a sender that waits for work, or make one if there may be another one."""
        with self._changed:
            while not self._idle and len(self._senders) >= self._most:
                self._changed.wait()
            if self._idle:
                return self._idle.pop()
            made = sender_of(self.node, self._network, transcode=self._transcode)
            self._senders.append(made)
            return made

    def _give_back(self, sender: Sender) -> None:
        with self._changed:
            if sender in self._senders:
                self._idle.append(sender)
            self._changed.notify_all()

    def _give_up(self, sender: Sender) -> bool:
        """Leave the work to the other senders, for which the archive has room; False if there is none."""
        with self._changed:
            if len(self._senders) == 1:
                return False
            self._senders.remove(sender)
            self._most = len(self._senders)
        self._limits.end(sender)
        return True

    def _record(self, told: Sequence[Outcome], sums: Sums, left: dict[str, Instance]) -> None:
        if told:
            self._ledger.record([self._entry(each) for each in told])
        with self._lock:
            for each in told:
                self._count(each, sums)
                left.pop(each.instance.uid, None)

    def _entry(self, outcome: Outcome) -> Entry:
        instance, answer, digest = outcome
        identity = instance.identity
        return Entry(
            "sent", self.node.name, self.node.target,
            instance.uid, identity.SeriesInstanceUID, identity.StudyInstanceUID,
            answer.status, answer.words, digest, instance.data_bytes, now(),
        )  # fmt: skip

    def _count_before(self, instance: Instance, entry: Entry, sums: Sums) -> None:
        sums.before += 1
        if entry.status:
            sums.warnings[instance.uid] = Answer(entry.status, entry.words)
        with self._lock:
            self._counted.add(instance.uid)

    def _count(self, outcome: Outcome, sums: Sums) -> None:
        instance, answer, _ = outcome
        if answer.is_stored:
            sums.sent += 1
            self._counted.add(instance.uid)
            if answer.is_warning:
                sums.warnings[instance.uid] = answer
            return
        words = f"{instance.uid} ({instance.path.name}), {answer}"
        sums.problems.append(Problem(instance.path, instance.uid, words))
        sums.passing += answer.may_pass


def _is_of(entry: Entry, instance: Instance) -> bool:
    return entry.size_bytes == instance.data_bytes and entry.digest == digest_at(instance)


def _other_content(instance: Instance, node: str) -> Problem:
    return Problem(
        instance.path,
        instance.uid,
        f"{instance.uid} ({instance.path.name}) went to {node} before with other contents, and an archive may"
        " keep either",
    )


def sender_of(node: Node, network: NetworkSettings, *, transcode: bool = False) -> Sender:
    """Return what sends to a node: by STOW-RS if it speaks DICOMweb and no DIMSE, else by C-STORE.

    C-STORE comes first, because each instance has an answer of its own.
    """
    # Imported late, because each takes long and only one is needed.
    if node.directory:
        from dataset_dl.pacs.copying import Copying

        return Copying(Path(node.directory))
    if node.dimse:
        require()
        from dataset_dl.pacs.storing import Storing

        return Storing(node, network, transcode=transcode)
    from dataset_dl.pacs.posting import Posting

    return Posting(node, network)
