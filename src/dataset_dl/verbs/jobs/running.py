"""Runs jobs: each in a process of its own, which ends with this one."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from dataset_dl.errors import StorageError
from dataset_dl.model.job import Ended, Job
from dataset_dl.model.outcome import DownloadProgress
from dataset_dl.process.python import start_module

if TYPE_CHECKING:
    from dataset_dl.verbs.jobs import Jobs

_LOOK_SECONDS, _TICK_SECONDS = 0.2, 0.1
# A worker that is asked to stop closes its engine, which removes its unfinished files.
_GRACE_SECONDS = 30.0


class Runner:
    """Runs the jobs that wait, as long as it is entered. Those that run when it is left are paused.

    Parameters
    ----------
    jobs
        Where they are.
    at_once
        How many at the same time.
    """

    def __init__(self, jobs: Jobs, at_once: int) -> None:
        self._jobs = jobs
        self._at_once = at_once
        self._name = _own_name()
        self._attended: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._looking = threading.Thread(target=self._look, name="jobs", daemon=True)

    def __enter__(self) -> Runner:
        self._jobs.jobs()  # pauses those of programs that are gone
        self._start()
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._looking.join()
        for thread in list(self._attended.values()):
            thread.join()

    @property
    def is_busy(self) -> bool:
        """Whether a job is running here."""
        with self._lock:
            return any(thread.is_alive() for thread in self._attended.values())

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with suppress(StorageError):  # the next look may succeed
                self._start()

    def _start(self) -> None:
        with self._lock:
            for number in [number for number, each in self._attended.items() if not each.is_alive()]:
                del self._attended[number]
            while (job := self._jobs.table.claim(self._name, self._at_once)) is not None:
                thread = threading.Thread(target=self._attend, args=(job,), name=f"job {job.id}", daemon=True)
                self._attended[job.id] = thread
                thread.start()

    def _attend(self, job: Job) -> None:
        """Run a job to its end, and record how far it is."""
        try:
            ended = self._run(job)
        except Exception as error:
            ended = Ended("FAILURE", f"The job cannot be run: {error}.", {})
        while True:
            try:
                self._jobs.table.end(job.id, ended)
                return
            except StorageError:
                # Only this process knows how it ended, so it waits for the disk.
                if self._is_over.wait(_LOOK_SECONDS):
                    return

    def _run(self, job: Job) -> Ended:
        order = {"job": job.to_dict(), "plan": str(self._jobs.plan_of(job.id))}
        worker = start_module(
            "dataset_dl.verbs.jobs.worker",
            directory=Path.cwd(),
            orders=msgspec.json.encode(order) + b"\n",
        )
        ended: Ended | None = None
        asked_at: float | None = None
        next_look = 0.0
        for batch in worker.lines(_TICK_SECONDS):
            for line in batch:
                ended = self._took(job, line) or ended
            now = time.monotonic()
            if asked_at is not None and now - asked_at > _GRACE_SECONDS:
                break
            if asked_at is None and now >= next_look:
                next_look = now + _LOOK_SECONDS
                if self._is_over.is_set() or self._is_unwanted(job):
                    asked_at = now
                    worker.end_input()  # it takes that as the end of its parent, and ends in order
        worker.stop()
        if ended is not None:
            return ended
        if asked_at is not None:
            return Ended("PAUSED", "", {})
        tail = worker.stderr_tail.strip().rpartition("\n")[2]
        return Ended("FAILURE", f"The process of this job has died ({worker.returncode}). {tail}".strip(), {})

    def _is_unwanted(self, job: Job) -> bool:
        with suppress(StorageError):
            return self._jobs.table.wanted(job.id) is not None
        return False

    def _took(self, job: Job, line: bytes) -> Ended | None:
        """Record what a worker says of its progress; return how it ended if it says that."""
        if not line.strip():
            return None
        said = msgspec.json.decode(line)
        if "state" in said:
            return Ended(**said)
        with suppress(StorageError):  # the next one tells as much
            progress = msgspec.convert(said["progress"], DownloadProgress)
            self._jobs.table.note(job.id, progress, said["message"])
        return None


def _own_name() -> str:
    import psutil

    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_alive(runner: str) -> bool:
    """Whether the program that runs a job lives, by the name that it gave itself."""
    import psutil

    number, _, created = runner.partition(":")
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" == created
    except (psutil.Error, ValueError):
        return False
