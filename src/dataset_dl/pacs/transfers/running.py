"""One task: fetched from its node and sent to its target, by the river, on a bounded disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl import configuration
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import DatasetDlError, DestinationBusy, NetworkError, SelectionError, StorageError
from dataset_dl.model.events import Event, Finished, SeriesDelivered, Started
from dataset_dl.model.job import JobState
from dataset_dl.model.outcome import PASSING_CAUSES, Report
from dataset_dl.pacs.address import Address
from dataset_dl.pacs.consumer import PacsNode
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.pacs.query import Query
from dataset_dl.pacs.transferring import LAYOUT
from dataset_dl.pacs.transfers.nouns import TransferJob, TransferTask
from dataset_dl.pacs.transfers.recording import TaskLedger
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.working import Sums, pinned_key
from dataset_dl.wording import counted, first_few

_BUDGET = "20GB"
# After this long, another worker may have the key for pseudonyms.
_KEY_SECONDS = 60.0
# A worker that has lost its task sees that within a second, once it goes on.
_BUSY_SECONDS = 10.0
# A database that was away takes a moment to come back.
_QUEUE_SECONDS = 5.0
_RETRIES = 3
# Tries of a task that fails for passing reasons: with pauses from half a minute on, over forty minutes.
_TRIES = 5
_LOOK_SECONDS = 0.2


class Ended(NamedTuple):
    """How a task ended.

    Attributes
    ----------
    state, message, sums
        For the record; PENDING if it was stopped, or is tried again.
    pause_seconds
        After how long it is tried again.
    """

    state: JobState
    message: str
    sums: Sums
    pause_seconds: float = 0.0


class Running:
    """Does tasks.

    Parameters
    ----------
    store
        Where the answers for instances go.
    place
        Where instances are on their way; with the jobs of this machine if None.
    pause_seconds
        After how long a task is tried again that failed for a passing reason; each time after four times as
        long.
    """

    def __init__(self, store: Store, place: Path | None = None, pause_seconds: float = 30.0) -> None:
        self._store = store
        self._pause_seconds = pause_seconds
        digest = hashlib.blake2b(store.address.encode(), digest_size=6).hexdigest()
        self._place = (place or configuration.state_path() / "transfers") / f"queue-{digest}"

    def run(
        self,
        task: TransferTask,
        job: TransferJob,
        is_unwanted: Callable[[], bool],
        note: Callable[[Sums], object],
    ) -> Ended:
        """Do a task; what went before is not sent again.

        Parameters
        ----------
        task, job
            What to do.
        is_unwanted
            Whether it should stop.
        note
            Told how far it is.
        """
        ledger = TaskLedger(self._store, task.id)
        # Receipts of before a restart would say that the target has what it is to get anew.
        place = self._place / f"task-{task.id}-{job.options.get('restarts', 0)}"
        for each in self._of_task(task.id):
            if each != place or task.attempts == 1:
                shutil.rmtree(each, ignore_errors=True)
        run = _Run(self._store, task, job, ledger, place, is_unwanted, note)
        try:
            ended, may_pass = run.ended()
            return self._again(task, ended) if may_pass else ended
        except DestinationBusy as error:
            words = f"{error.message} It is the worker that had the task before, whose end it waits for."
            return Ended("PENDING", words, run.sums, _BUSY_SECONDS)
        except DatasetDlError as error:
            if isinstance(error, StorageError) and error.reference == "queue":
                # Nothing is wrong with the task.
                return Ended("PENDING", str(error), run.sums, _QUEUE_SECONDS)
            with suppress(StorageError):
                run.look()
            sums = run.sums
            if is_unwanted():
                return Ended("PENDING", "", sums)
            if isinstance(error, SelectionError) and error.reference == "key":
                # It is this worker that lacks something.
                return Ended("PENDING", str(error), sums, _KEY_SECONDS)
            failed = Ended("WARNING" if sums.done else "FAILURE", str(error), sums)
            return self._again(task, failed) if isinstance(error, NetworkError) else failed

    def _again(self, task: TransferTask, failed: Ended) -> Ended:
        """Return the task to the others, as its reason may pass; a few times."""
        if task.attempts >= _TRIES:
            return failed
        pause_seconds = self._pause_seconds * 4 ** (task.attempts - 1)
        at = datetime.now() + timedelta(seconds=pause_seconds)
        message = f"{failed.message} It is tried again at {at:%H:%M:%S}."
        return Ended("PENDING", message, failed.sums, pause_seconds)

    def sweep(self, known: Callable[[Collection[int]], set[int]]) -> None:
        """Remove what tasks have left that are deleted."""
        names = [each.name.split("-")[1] for each in self._place.glob("task-*")]
        found = {int(each) for each in names if each.isdigit()}
        for number in found - known(found) if found else ():
            for each in self._of_task(number):
                shutil.rmtree(each, ignore_errors=True)

    def _of_task(self, number: int) -> list[Path]:
        """Return where instances of a task are, or were."""
        return [*self._place.glob(f"task-{number}"), *self._place.glob(f"task-{number}-*")]


class _Run:
    """One try of a task."""

    def __init__(
        self,
        store: Store,
        task: TransferTask,
        job: TransferJob,
        ledger: TaskLedger,
        place: Path,
        is_unwanted: Callable[[], bool],
        note: Callable[[Sums], object],
    ) -> None:
        self._store = store
        self._task = task
        self._job = job
        self._ledger = ledger
        self._place = place
        self._is_unwanted = is_unwanted
        self._note = note
        self._is_over = threading.Event()
        self._expected = task.instances
        self.sums = Sums(task.instances, task.done, task.failed, task.warnings)

    def look(self) -> Sums:
        """Look what became of the instances so far; `sums` keeps it."""
        self.sums = self._ledger.sums(self._expected)
        return self.sums

    def ended(self) -> tuple[Ended, bool]:
        """Return how it ended, and whether it failed for a reason that may pass."""
        from dataset_dl.verbs.download import transferred
        from dataset_dl.verbs.plan import plan

        made = plan([str(self._address())], layout=LAYOUT)
        self._expected = made.instance_count
        lacking = sorted(set(self._task.SeriesInstanceUIDs) - {row.SeriesInstanceUID for row in made})
        consumer = self._consumer()
        options: Any = {"then": [consumer], "evict": True, "disk_budget": _BUDGET, "retries": _RETRIES}
        watching = threading.Thread(target=self._watch, args=(consumer,), daemon=True)
        watching.start()
        events = transferred(made, self._place, options)
        report: Report | None = None
        try:
            for event in events:
                if self._is_unwanted():
                    return Ended("PENDING", "", self.look()), False
                self._seen(event)
                if isinstance(event, Finished):
                    report = event.report
        finally:
            self._is_over.set()
            events.close()  # type: ignore[attr-defined]
            watching.join()
        assert report is not None, "a transfer ends in a report or raises"
        return self._of_report(report, lacking), _may_pass(report)

    def _of_report(self, report: Report, lacking: list[str]) -> Ended:
        sums = self.look()
        if report.ok and not lacking and sums.done >= self._expected:
            shutil.rmtree(self._place, ignore_errors=True)
            told = f", {sums.warnings:,} with a warning" if sums.warnings else ""
            return Ended("SUCCESS", f"{counted(sums.done, 'instance')} at {self._task.target}{told}.", sums)
        reasons = [f"{self._task.source} has no series {uid}" for uid in lacking]
        reasons += [f"{each.planned.title}: {each.message}" for each in report.failures]
        if report.delivery is not None:
            reasons += [each.message for each in report.delivery.failures]
        said = first_few(list(dict.fromkeys(reasons)), 3, "reasons") or report.stopped or "it did not end"
        words = f"{sums.done:,} of {counted(self._expected, 'instance')} at {self._task.target}; {said}."
        return Ended("WARNING" if sums.done else "FAILURE", words, sums)

    def _seen(self, event: Event) -> None:
        if isinstance(event, (Started, SeriesDelivered)):
            with suppress(StorageError):
                self._note(self.look())

    def _watch(self, consumer: Any) -> None:
        """End what is being sent if it is not wanted any more: no event may come before that."""
        while not self._is_over.wait(_LOOK_SECONDS):
            if self._is_unwanted():
                getattr(consumer, "consumer", consumer).stop()
                return

    def _address(self) -> Address:
        task = self._task
        node = Nodes().find(task.source)
        asked = {
            "PatientID": task.PatientID,
            "StudyInstanceUID": task.StudyInstanceUID,
            "SeriesInstanceUID": "\\".join(task.SeriesInstanceUIDs),
        }
        wanted = Query.of({name: value for name, value in asked.items() if value}, "series")
        return Address(node.scheme, node.name, wanted.conditions)

    def _consumer(self) -> Any:
        from dataset_dl.transfer.hands import through

        options = {"transcode": "yes"} if self._job.options.get("transcode") else {}
        request = ConsumerRequest("pacs", self._task.target, self._place, options)
        consumer = PacsNode(request, node=target_node(self._task.target), ledger=self._ledger)
        step = self._job.options.get("pseudonymise")
        if step is None:
            return consumer
        hand = through("pseudonyms", {**step, "pseudonym": self._task.pseudonym}, consumer)
        key = str(hand.consumer.options["through"]["key"])
        if pinned_key(self._store, self._job.id, key) != key:
            raise SelectionError(
                "key",
                f"Transfer job {self._job.id} was begun with another key for pseudonyms, and a patient would"
                " get two.",
                "It waits for a worker with that key.",
            )
        return hand


def _may_pass(report: Report) -> bool:
    """Whether all that failed did so for reasons that may pass."""
    causes = [each.cause for each in report.failures]
    causes += [each.cause for each in report.delivery.failures] if report.delivery is not None else []
    return bool(causes) and all(each in PASSING_CAUSES for each in causes)


def target_node(target: str) -> Node:
    """Return the node of a target, which may be a directory.

    Raises
    ------
    SelectionError
        If it is neither.
    """
    known = Nodes().all()
    if target in known:
        return known[target]
    if os.sep in target and Path(target).is_dir():
        return Node(name="directory", directory=str(Path(target).absolute()))
    raise SelectionError(
        target,
        f"There is no node “{target}”, and no directory of this name; nothing was started.",
        f"The nodes are {', '.join(sorted(known)) or 'none'}.",
    )
