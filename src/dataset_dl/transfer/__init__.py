"""From a plan to verified files: what is missing → engine → check on disk → report."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from dataset_dl.engines.protocol import Engine
from dataset_dl.model.events import Event
from dataset_dl.model.plan import Plan, Rights
from dataset_dl.model.series import Suspects
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.plans.file import PlanFile
from dataset_dl.transfer.fleet import Fleet
from dataset_dl.transfer.handing import Hand
from dataset_dl.transfer.run import Run

__all__ = ["new_run_id", "transfer"]


def new_run_id() -> str:
    """Return a new run id, sortable by time: events, log records, journal entries and report carry it."""
    now = time.time()
    # The first five digits after the dash are microseconds, so runs of one second are in order, too.
    fraction, chance = f"{int(now % 1 * 1e6):05x}", secrets.token_hex(2)[:3]
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{fraction}{chance}"


def transfer(
    plan: Plan,
    destination: Path,
    engine_for: Callable[[str], Engine],
    settings: DownloadSettings | None = None,
    *,
    rights_of: Callable[[PlanFile], Rights] | None = None,
    suspects: Suspects | None = None,
    hands: Sequence[Hand] = (),
    part: str = "",
    run_id: str = "",
    pause_seconds: float = 1.0,
) -> Iterator[Event]:
    """Fetch the missing files of a plan, check them on disk, and report the result.

    Parameters
    ----------
    plan
        The series to fetch.
    destination
        Absolute path; the directories of the plan are below it.
    engine_for
        Returns the engine for a scheme of addresses; called only if that engine is needed.
    settings
        How to fetch.
    rights_of
        Returns licences and citations for a plan, to be written beside the data.
    suspects
        Directory → names of files there that are wrong, whatever their size. They are replaced if the store
        has them. All series of these directories are compared with the store.
    hands
        Consumers of the series; each gets a series as soon as it is verified.
    part
        The name of this part of a larger plan, if several writers share the destination.
    run_id
        The id of the run; a new one if empty.
    pause_seconds
        The pause before the first retry; each later one is four times as long, up to a minute.

    Yields
    ------
    Event
        From `Started` to `Finished`, which carries the report.

    Raises
    ------
    StorageError
        If the destination cannot be used, is full, or becomes full.
    NetworkError
        If the endpoint does not answer, or falls silent several times in a row.
    EngineMissing, EngineCrashed
        If an engine cannot be used, or ends on its own several times in a row.
    """
    run_id = run_id or new_run_id()
    run = Run(
        plan, destination, Fleet(engine_for), settings or DownloadSettings(), suspects or {}, hands, part,
        run_id, pause_seconds, rights_of,
    )  # fmt: skip
    for event in run.events():
        msgspec.structs.force_setattr(event, "run_id", run_id)
        yield event
