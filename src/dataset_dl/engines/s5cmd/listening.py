"""The output of a running s5cmd and the bytes that it writes, as events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl.engines.feeding import FEED_SECONDS
from dataset_dl.engines.s5cmd.output import parse_line
from dataset_dl.errors import PlanError
from dataset_dl.model.events import (
    BytesWritten,
    EngineEnded,
    Event,
    Waiting,
)
from dataset_dl.process import Process
from dataset_dl.scratch import writing_scratch

if TYPE_CHECKING:
    from dataset_dl.engines.s5cmd.activity import Activity
    from dataset_dl.engines.s5cmd.brake import Brake

TICK_SECONDS = 0.1
_BATCH_LINES = 1_000
# A lower rate on average is no sign of life.
_LEAST_BYTES_PER_SECOND = 1_000


def write_commands(lines: Iterable[str], path: Path) -> None:
    """Write commands to a file; errors raised by their iterator are not taken for errors of the file."""
    with writing_scratch():
        file = path.open("w", encoding="utf-8", newline="\n")
    try:
        several = iter(lines)
        while batch := list(islice(several, _BATCH_LINES)):
            with writing_scratch():
                file.writelines(batch)
    finally:
        with writing_scratch():
            file.close()


def events_of(
    process: Process, stall_seconds: float, brake: Brake | None, more: Callable[[], bool] | None = None
) -> Iterator[Event]:
    """Yield output and bytes written until s5cmd ends or stalls; it has no timeout of its own.

    `more` gives it more commands, and returns whether it may be silent until then.
    """
    activity: Activity | None = None
    alive_at = time.monotonic()
    next_sample = alive_at + TICK_SECONDS
    written_then: int | None = None
    for batch in process.lines(TICK_SECONDS if more is None else FEED_SECONDS):
        for line in batch:
            if line:
                yield parse_line(line)
        now = time.monotonic()
        if more is not None and more():
            alive_at = now
            yield Waiting()
        if batch or (brake is not None and brake.is_pausing):
            alive_at = now
        if batch:
            written_then = activity.written if activity else None
        if now >= next_sample:
            next_sample = now + TICK_SECONDS
            activity = activity or _activity(process)
            moved, written = activity.moved(), activity.written
            if written is None:
                alive_at = now if moved else alive_at
            else:
                if written - (written_then or 0) >= _LEAST_BYTES_PER_SECOND * stall_seconds:
                    alive_at, written_then = now, written
                yield BytesWritten(written, activity.memory_bytes)
        if now - alive_at >= stall_seconds:
            message = f"s5cmd moved next to nothing for {now - alive_at:.0f} s and was ended"
            yield EngineEnded(message, True, process.stderr_tail)
            return


def _activity(process: Process) -> Activity:
    # psutil takes as long to import as s5cmd to start, so import it while s5cmd works.
    from dataset_dl.engines.s5cmd.activity import Activity

    return Activity(process)


def require_counting() -> None:
    """Make sure that the rate can be limited on this system.

    Raises
    ------
    PlanError
        If the system does not count the bytes that a process writes.
    """
    from dataset_dl.engines.s5cmd.activity import can_count

    if not can_count():
        raise PlanError(
            "max_rate_mbps",
            "This system does not count the bytes that a process writes, so the rate cannot be limited.",
            "Nothing was started. Leave out the rate, and choose few workers instead.",
        )
