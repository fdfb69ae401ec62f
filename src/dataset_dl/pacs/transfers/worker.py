"""A worker: takes tasks and does them, several at once, until it is told to end."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from dataset_dl.errors import DatasetDlError, StorageError
from dataset_dl.pacs.hours import opens_at
from dataset_dl.pacs.nodes import Nodes
from dataset_dl.pacs.transfers.nouns import TransferTask
from dataset_dl.pacs.transfers.running import Ended, Running
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.working import LEASE_SECONDS, Sums, Try, Work

_LOOK_SECONDS, _SETTLE_SECONDS = 0.5, 5.0
_NOTE_SECONDS = 1.0

Say = Callable[[str], object]


class Calls(Protocol):
    """What tells the threads of a worker that there may be work."""

    def wait(self, stop: threading.Event) -> None:
        """Wait until there may be work, or `stop` is set."""

    def close(self) -> None:
        """End."""


class Looking:
    """Looks for work again and again; enough for one machine."""

    def wait(self, stop: threading.Event) -> None:
        """Wait for a moment."""
        stop.wait(_LOOK_SECONDS)

    def close(self) -> None:
        """Do nothing."""


class Worker:
    """Does tasks, several at once.

    Parameters
    ----------
    store
        The tasks.
    at_once
        How many at the same time.
    running
        What does one task.
    say
        Told a sentence about each task that ends.
    lease_seconds
        After how long without a sign other workers take its tasks over.
    """

    def __init__(
        self,
        store: Store,
        *,
        at_once: int = 2,
        running: Running | None = None,
        say: Say = lambda words: None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._running = running or Running(store)
        self._say = say
        self.name = f"{platform.node()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
        self._work = Work(store, self.name, lease_seconds)
        self._at_once = at_once
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # Set when it is to stop.
        self._tries: dict[Try, threading.Event] = {}
        self._complaint = ""

    def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop`, or until nothing is left to do.

        Raises
        ------
        StorageError
            If the database cannot be used at the beginning.
        """
        self._work.settle()
        self._running.sweep(self._work.known)
        calls = self._calls()
        threads = [
            threading.Thread(target=self._do_all, args=(calls, until_idle)) for _ in range(self._at_once)
        ]
        for each in threads:
            each.start()
        next_settling = time.monotonic() + _SETTLE_SECONDS
        try:
            while any(each.is_alive() for each in threads):
                # A database that is away for a moment must not end what is being sent.
                with suppress(StorageError):
                    self._renew()
                    if time.monotonic() >= next_settling:
                        next_settling = time.monotonic() + _SETTLE_SECONDS
                        self._work.settle()
                        self._running.sweep(self._work.known)
                self._stop.wait(_LOOK_SECONDS) if not self._stop.is_set() else time.sleep(0.05)
        finally:
            self.stop()
            for each in threads:
                each.join()
            calls.close()

    def stop(self) -> None:
        """End: tasks that are at work go back to the others, with what they have done."""
        self._stop.set()
        with self._lock:
            for each in self._tries.values():
                each.set()

    def _calls(self) -> Calls:
        if not self._store.is_shared:
            return Looking()
        from dataset_dl.pacs.transfers.postgres import Called

        return Called(self._store, self._work)

    def _renew(self) -> None:
        with self._lock:
            running = dict(self._tries)
        for each in self._work.renew(running):
            running[each].set()

    def _do_all(self, calls: Calls, until_idle: bool) -> None:
        while not self._stop.is_set():
            try:
                if self._do_next():
                    continue
            except DatasetDlError as error:
                # The database, or the file of the nodes: somebody may mend it.
                self._complain(str(error))
            if until_idle and not self._is_busy():
                return
            calls.wait(self._stop)

    def _complain(self, words: str) -> None:
        """Say what stands in the way, once."""
        with self._lock:
            is_new, self._complaint = words != self._complaint, words
        if is_new:
            self._say(words)

    def _is_busy(self) -> bool:
        with suppress(StorageError):
            return bool(self._tries or self._work.waiting())
        return True

    def _do_next(self) -> bool:
        """Do the next task; False if there is none."""
        closed_jobs, closed_nodes = self._closed()
        taken = self._work.claim(closed_jobs, closed_nodes)
        if taken is None:
            if (closed_jobs or closed_nodes) and not self._tries and self._work.waiting():
                what = [f"job {number}" for number in closed_jobs] + [
                    f"the node {name}" for name in closed_nodes
                ]
                self._complain(f"What is left waits for the hours of {', '.join(what)}.")
            return False
        task, job = taken
        unwanted = threading.Event()
        with self._lock:
            self._tries[Try(task.id, task.attempts)] = unwanted
            if self._stop.is_set():
                unwanted.set()
        noted = [0.0]

        def note(sums: Sums) -> None:
            if time.monotonic() - noted[0] >= _NOTE_SECONDS:
                noted[0] = time.monotonic()
                with suppress(StorageError):
                    self._work.note(task, sums)

        try:
            ended = self._running.run(task, job, unwanted.is_set, note)
        except Exception as error:  # one task must not end the worker
            words = f"This is a bug in dataset-dl ({type(error).__name__}: {error})."
            ended = Ended("FAILURE", words, Sums())
        self._end(task, ended)
        return True

    def _end(self, task: TransferTask, ended: Ended) -> None:
        """Record how a task ended; only this process knows, so it waits for the database."""
        try:
            while True:
                try:
                    self._work.end(task, *ended)
                    break
                except StorageError:
                    if self._stop.wait(_LOOK_SECONDS):
                        break
        finally:
            with self._lock:
                self._tries.pop(Try(task.id, task.attempts), None)
        self._say(f"task {task.id} of job {task.job}: {ended.state}. {ended.message}".rstrip())

    def _closed(self) -> tuple[list[int], list[str]]:
        """Return the jobs and nodes whose hours it is not."""
        now = datetime.now()
        jobs = [number for number, hours in self._work.waiting() if opens_at(hours, now) > now]
        return jobs, [name for name, node in Nodes().all().items() if node.opens_at(now) > now]
