"""Runs jobs: each in a process of its own, which ends with this one."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock, Timeout

from dataset_dl.errors import StorageError
from dataset_dl.model.job import Ended, Job
from dataset_dl.model.outcome import DownloadProgress
from dataset_dl.process import Process
from dataset_dl.process.python import start_module

if TYPE_CHECKING:
    from dataset_dl.verbs.jobs import Jobs

_LOOK_SECONDS, _TICK_SECONDS, _SETTLE_SECONDS = 0.2, 0.1, 1.0
# A worker that is asked to stop closes its engine, which removes its unfinished files.
_GRACE_SECONDS = 30.0
# Another runner may just be looking whether this one lives.
_GLANCE_SECONDS = 5.0


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
        self._mark = Mark(jobs.folder / "runners")
        self._attended: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()
        self._next_settling = 0.0
        self._is_over = threading.Event()
        self._looking = threading.Thread(target=self._look, name="jobs", daemon=True)

    def __enter__(self) -> Runner:
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
        self._mark.remove()

    @property
    def is_busy(self) -> bool:
        """Whether a job is running here."""
        with self._lock:
            return any(thread.is_alive() for thread in self._attended.values())

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with suppress(StorageError, OSError):  # the next look may succeed
                self._start()

    def _start(self) -> None:
        if (now := time.monotonic()) >= self._next_settling:
            self._next_settling = now + _SETTLE_SECONDS
            self._jobs.settle()  # those of killed programs would take the place of others
        with self._lock:
            for number in [number for number, each in self._attended.items() if not each.is_alive()]:
                del self._attended[number]
            while (job := self._jobs.table.claim(self._mark.name, self._at_once)) is not None:
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
        try:
            ended, is_asked = self._heard(job, worker)
        finally:
            worker.stop()
        if ended is not None:
            return ended
        if is_asked:
            return Ended("PAUSED", "", {})
        tail = worker.stderr_tail.strip().rpartition("\n")[2]
        words = f"The process of this job has died ({worker.returncode}); what was finished is kept. {tail}"
        return Ended("FAILURE", f"{words.strip()} A retry goes on where it was.", {})

    def _heard(self, job: Job, worker: Process) -> tuple[Ended | None, bool]:
        """Record what a worker says until it ends; return how the job ended, and whether it was asked to."""
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
        return ended, asked_at is not None

    def _is_unwanted(self, job: Job) -> bool:
        with suppress(StorageError):
            return self._jobs.table.wanted(job.id) is not None
        return False

    def _took(self, job: Job, line: bytes) -> Ended | None:
        """Record what a worker says of its progress; return how it ended if it says that."""
        try:
            said = msgspec.json.decode(line)
        except msgspec.DecodeError:
            return None  # a library may print anything
        if not isinstance(said, dict):
            return None
        if "state" in said:
            return Ended(**said)
        if "progress" not in said:
            return None
        with suppress(StorageError):  # the next one tells as much
            progress = msgspec.convert(said["progress"], DownloadProgress)
            self._jobs.table.note(job.id, progress, said["message"])
        return None


class Mark:
    """A locked file that says a runner lives: a process id may be used again, and means nothing elsewhere.

    Parameters
    ----------
    folder
        Where the marks of all runners are.

    Attributes
    ----------
    name
        The name of the runner.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in folder.iterdir():
            is_alive(folder, each.name)  # removes those of killed runners
        self.name = secrets.token_hex(8)
        self._lock = FileLock(folder / self.name)
        self._lock.acquire(timeout=_GLANCE_SECONDS)

    def remove(self) -> None:
        """Let go of it."""
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def is_alive(folder: Path, name: str) -> bool:
    """Whether a runner lives; removes the mark of one that does not."""
    path = folder / name
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    path.unlink(missing_ok=True)
    return False
