"""What the processes of a node share while they train: small files in the records of the destination.

``run.json`` names the process that leads, and the order. Each run has a directory of its own, so that loaders
that outlive a killed one do not disturb the next: there ``ready/N`` has the files of row N of the plan,
``failed/N`` why it has none; a loader makes ``used/N`` when it has read them, and ``again/N`` if it needs
them once more. ``done.RANK`` lists the rows that were trained on, in all runs.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.errors import StorageError
from dataset_dl.model.series import Series
from dataset_dl.scratch import written_whole

_KINDS = ("ready", "failed", "used", "again", "reading", "wanted")


class Run(NamedTuple):
    """One run of an epoch: the process that leads it, and the rows that are left, in order."""

    pid: int
    started: float
    name: str
    order: list[int]


class Epoch:
    """The shared state of one epoch.

    Parameters
    ----------
    directory
        Where it is.
    run_name
        The run that marks are of; set by `begin` and `join`.
    """

    def __init__(self, directory: Path, run_name: str = "") -> None:
        self.directory = directory
        self.run_name = run_name

    @property
    def plan_path(self) -> Path:
        """The plan, whose rows are numbered."""
        return self.directory / "plan.parquet"

    def begin(self, order: Sequence[int]) -> None:
        """Begin a run in this process, in place of earlier ones."""
        for stale in self.directory.glob("run-*"):
            shutil.rmtree(stale, ignore_errors=True)
        self.run_name = f"run-{os.getpid()}-{time.time_ns()}"
        for kind in _KINDS:
            (self._marks / kind).mkdir(parents=True)
        self._write(
            self.directory / "run.json",
            {**_process(os.getpid()), "name": self.run_name, "order": list(order)},
        )

    def join(self) -> list[int] | None:
        """Take part in the run whose leader is alive; return its order, None if there is none yet."""
        run = self.run()
        if run is None:
            return None
        self.run_name = run.name
        return run.order

    @property
    def _marks(self) -> Path:
        return self.directory / self.run_name

    def feeds(self, pid: int) -> None:
        """Say which process feeds."""
        self._write(self._marks / "feeder.json", _process(pid))

    def end(self, reason: str) -> None:
        """Say why the process that feeds ends."""
        self._write(self._marks / "ended.json", reason)

    def run(self) -> Run | None:
        """Return the run whose leader is alive; None if there is none yet."""
        found = self._read(self.directory / "run.json")
        return Run(**found) if found is not None and _is_alive(found) else None

    def loss(self) -> str:
        """Return why no series will come any more; empty if they may."""
        found = self._read(self._marks / "feeder.json")
        run = self.run()
        if run is not None and run.name != self.run_name:
            return (
                "another epoch has begun, and this loader is still at the earlier one: leave"
                " persistent_workers out, and make a loader anew in each epoch"
            )
        if run is None or found is None or not _is_alive(found):
            reason = self._read(self._marks / "ended.json")
            why = f" ({reason})" if reason else ""
            return f"the process that downloads has ended{why}; begin the epoch again"
        return ""

    def done(self) -> set[int]:
        """Return the rows that were trained on, in all runs and ranks; a line that is cut off is none."""
        found: set[int] = set()
        for path in self.directory.glob("done.*"):
            *lines, _ = path.read_text(encoding="ascii").split("\n")
            found.update(int(line) for line in lines if line.isdecimal())
        return found

    def add_done(self, rank: int, rows: Iterable[int]) -> None:
        """Record rows that were trained on."""
        text = "".join(f"{row}\n" for row in rows)
        with (self.directory / f"done.{rank}").open("a", encoding="ascii") as file:
            if file.tell() and not self._ends_well(rank):
                file.write("?\n")  # so that the part of a number is none
            file.write(text)

    def _ends_well(self, rank: int) -> bool:
        with (self.directory / f"done.{rank}").open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def publish(self, row: int, series: Series) -> None:
        """Say that a series is ready."""
        self._write(self._marks / "ready" / str(row), series.to_plain())

    def ready(self, row: int) -> Series | None:
        """Return a series if it is ready."""
        found = self._read(self._marks / "ready" / str(row))
        return None if found is None else Series.of_plain(found)

    def fail(self, row: int, message: str) -> None:
        """Say that a series will not come."""
        with suppress(StorageError):  # another run has begun
            self._write(self._marks / "failed" / str(row), message)

    def failure(self, row: int) -> str | None:
        """Return why a series will not come; None if it may."""
        found: str | None = self._read(self._marks / "failed" / str(row))
        return found

    def failures(self) -> dict[int, str]:
        """Return why series did not come, by row."""
        return {row: message for row in self.marked("failed") if (message := self.failure(row)) is not None}

    def mark(self, kind: str, row: int) -> None:
        """Make a mark: ``wanted``, ``reading``, ``used`` or ``again``."""
        with suppress(OSError):  # another run has begun
            (self._marks / kind / str(row)).touch()

    def is_marked(self, kind: str, row: int) -> bool:
        """Whether there is a mark."""
        return (self._marks / kind / str(row)).exists()

    def unmark(self, kind: str, row: int) -> None:
        """Remove a mark."""
        (self._marks / kind / str(row)).unlink(missing_ok=True)

    def marked(self, kind: str) -> Iterator[int]:
        """Yield the rows that have a mark."""
        for entry in (self._marks / kind).iterdir():
            if entry.name.isdecimal():
                yield int(entry.name)

    def _write(self, path: Path, document: Any) -> None:
        with written_whole(path) as unfinished:
            unfinished.write_text(json.dumps(document), encoding="utf-8")

    def _read(self, path: Path) -> Any:
        with suppress(OSError, ValueError):
            return json.loads(path.read_text(encoding="utf-8"))
        return None


def _process(pid: int) -> dict[str, Any]:
    import psutil

    with suppress(psutil.Error):
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    return {"pid": pid, "started": 0.0}


def _is_alive(process: dict[str, Any]) -> bool:
    import psutil

    try:
        return bool(psutil.Process(process["pid"]).create_time() == process["started"])
    except psutil.Error:
        return False
