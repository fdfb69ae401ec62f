"""Jobs: downloads and what follows them, in a queue on disk that programs share and that outlasts them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from dataset_dl import configuration
from dataset_dl.doors import JOBS
from dataset_dl.errors import PlanError, SelectionError
from dataset_dl.model.job import Job, JobState
from dataset_dl.model.selection import conditions
from dataset_dl.verbs.jobs.requests import plain, shortened
from dataset_dl.verbs.jobs.table import Table
from dataset_dl.verbs.options import DownloadOptions, PlanOptions, TransferOptions, settings_of, spelled_out

if TYPE_CHECKING:
    from dataset_dl.model.plan import Plan
    from dataset_dl.verbs.plan import Table as Identifiers

# Options that a job cannot keep: a program that runs it decides about its own network.
_NOT_KEPT = ("proxy", "ca_bundle", "sign")
_PLANNED = [name for name in PlanOptions.__annotations__ if name != "where"]
_OPEN: tuple[JobState, ...] = ("PENDING", "PAUSED")
_ENDED: tuple[JobState, ...] = ("SUCCESS", "WARNING", "FAILURE", "CANCELED")
_LOOK_SECONDS = 0.2
# A rate from less than this says little of the network.
_MEASURABLE_BYTES = 20_000_000


class Jobs:
    """The jobs of this machine.

    Parameters
    ----------
    directory
        Where they are kept; defaults to the user's directory for states, see ``DATASET_DL_STATE``. Programs
        that use the same directory see the same jobs.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.folder = Path(directory) if directory is not None else configuration.state_path()
        self.table = Table(self.folder / "jobs.sqlite")
        self._plans = self.folder / "job-plans"

    @spelled_out(TransferOptions)
    def add(
        self,
        what: Plan | str | Path | Iterable[str | Path] | Identifiers = (),
        /,
        *,
        into: str | Path,
        **options: Unpack[TransferOptions],
    ) -> Job:
        """Plan a download and put it in the queue; what it will fetch is fixed from now on.

        Parameters
        ----------
        what, into, **options
            As for `dataset_dl.download`. The network is that of the program that runs the job, so
            `proxy`, `ca_bundle` and `sign` come from the environment or the configuration file.

        Raises
        ------
        SelectionError, PlanError
            As for `dataset_dl.download`.
        """
        from dataset_dl.model.plan import Plan
        from dataset_dl.sources.named import is_table
        from dataset_dl.verbs.download import planned

        if not (isinstance(what, (str, Path, Plan)) or is_table(what)):
            what = list(cast("Iterable[str | Path]", what))
        made, rest = planned(what, into, options)
        asked = {
            "what": list(map(plain, what)) if isinstance(what, list) else [plain(what)],
            "where": [str(each) for each in conditions(options.get("where"))],
            **{name: plain(options[name]) for name in _PLANNED if name in options},  # type: ignore[literal-required]
        }
        return self.add_plan(made, into, asked, **rest)

    def add_plan(
        self,
        plan: Plan,
        into: str | Path | None = None,
        asked: Mapping[str, Any] | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Job:
        """Put the download of a plan in the queue; see `add`.

        Parameters
        ----------
        plan
            What to fetch.
        into
            The destination; defaults to the plan's own.
        asked
            What the plan was made from, to be shown: ``what`` and options of `dataset_dl.plan`.
        **options
            As for `dataset_dl.download`.
        """
        from dataset_dl.verbs.download import check_consumers, destination_of

        if refused := [name for name in _NOT_KEPT if options.get(name) is not None]:
            raise PlanError(
                refused[0],
                f"A job does not keep {refused[0]}; nothing was started.",
                f"Set DATASET_DL_{refused[0].upper()}, or write it into the configuration file.",
            )
        # One directory has one name, so that no two jobs write to it at once.
        destination = Path(os.path.realpath(destination_of(plan, into)))
        check_consumers(plan, destination, options)
        kept = {name: value for name, value in options.items() if value not in (None, ())}
        if reuse := settings_of(options).reuse:
            kept["reuse"] = [each.absolute() for each in reuse]
        request = {
            **(asked or {}),
            **shortened((asked or {}).get("what", ())),
            "options": {name: plain(value) for name, value in kept.items()},
            "series_count": plan.series_count,
            "instance_count": plan.instance_count,
            "size_bytes": plan.size_bytes,
            # If it is gone when the job runs, a disk is not mounted, and another one would be filled.
            "beneath": str(next(each for each in (destination, *destination.parents) if each.is_dir())),
        }
        number = self.table.add("download", destination, request)
        try:
            self._plans.mkdir(mode=0o700, parents=True, exist_ok=True)
            plan.save(self.plan_of(number))
        except BaseException:
            self.plan_of(number).unlink(missing_ok=True)
            raise
        self.table.publish(number)
        return self.job(number)

    def add_check(self, kind: str, root: str | Path, **request: Any) -> Job:
        """Put work on a downloaded tree in the queue.

        Parameters
        ----------
        kind
            ``verify``, ``repair`` (what a verification finds), ``update`` (to today's index), or a kind that
            another package registers.
        root
            The tree.
        **request
            Options of the verb of that name, like ``md5=True``.

        Raises
        ------
        SelectionError
            If there is no such kind or no such directory.
        """
        from dataset_dl.destination.disk import absolute

        if kind == "download" or JOBS.find(kind) is None:
            raise SelectionError(kind, f"There is no job “{kind}”.", f"There are {', '.join(JOBS.names())}.")
        tree = Path(os.path.realpath(absolute(root)))
        if not tree.is_dir():
            raise SelectionError(str(tree), f"{tree} is not a directory.", "Give one that was downloaded.")
        number = self.table.add(
            kind, tree, {"options": {name: plain(value) for name, value in request.items()}}
        )
        self.table.publish(number)
        return self.job(number)

    def plan_of(self, number: int) -> Path:
        """Return the file with the plan of a job; only downloads have one."""
        return self._plans / f"{number}.parquet"

    def jobs(self) -> list[Job]:
        """Return all jobs, the newest first."""
        self.settle()
        return self.table.jobs()

    def job(self, number: int) -> Job:
        """Return a job.

        Raises
        ------
        SelectionError
            If there is none with this number.
        """
        self.settle()
        return self.table.job(number)

    def pause(self, number: int) -> Job:
        """Stop a job; `resume` goes on where it was.

        Raises
        ------
        SelectionError
            If there is no such job, or it has ended.
        """
        return self._move(number, {"PENDING": "PAUSED", "IN_PROGRESS": "PAUSED"}, "paused")

    def resume(self, number: int) -> Job:
        """Put a paused job back in the queue.

        Raises
        ------
        SelectionError
            If there is no such job, or it is not paused.
        """
        # One that is just being stopped starts again when it has.
        states: dict[JobState, JobState] = {"PAUSED": "PENDING"}
        if self.table.wanted(number) == "PAUSED":
            states["IN_PROGRESS"] = "PENDING"
        return self._move(number, states, "resumed")

    def cancel(self, number: int) -> Job:
        """Give a job up; the series that are complete stay.

        Raises
        ------
        SelectionError
            If there is no such job, or it has ended.
        """
        return self._move(number, dict.fromkeys(("PENDING", "PAUSED", "IN_PROGRESS"), "CANCELED"), "canceled")

    def retry(self, number: int) -> Job:
        """Put a job back in the queue that failed, in part or whole, or was canceled; it fetches the rest.

        Raises
        ------
        SelectionError
            If there is no such job, or it has not ended like that.
        """
        return self._move(number, dict.fromkeys(("WARNING", "FAILURE", "CANCELED"), "PENDING"), "retried")

    def remove(self, number: int) -> None:
        """Remove a job from the list; files that it fetched stay.

        Raises
        ------
        SelectionError
            If there is no such job, or it is running.
        """
        job = self.job(number)
        if not self.table.remove(number, (*_OPEN, *_ENDED)):
            raise SelectionError(
                str(number), f"Job {number} is {job.state}, so it cannot be removed.", "Cancel it first."
            )
        self.plan_of(number).unlink(missing_ok=True)

    def run(self, *, at_once: int = 2, on_change: Callable[[Job], object] | None = None) -> list[Job]:
        """Run the jobs that wait, until none does; return those that ended.

        Parameters
        ----------
        at_once
            How many at the same time; two jobs of one destination never are.
        on_change
            Called with each job that changes.
        """
        from dataset_dl.verbs.jobs.running import Runner

        ended: dict[int, Job] = {}
        last = self.table.since(1 << 62)[0]
        with Runner(self, at_once) as runner:
            while True:
                # In this order: a job that no longer waits is one that the runner has.
                is_waiting = any(job.state == "PENDING" for job in self.table.jobs())
                is_idle = not is_waiting and not runner.is_busy
                last, changed, _ = self.table.since(last)
                for job in changed:
                    if on_change is not None:
                        on_change(job)
                    if job.state in _ENDED:
                        ended[job.id] = job
                if is_idle:
                    return list(ended.values())
                time.sleep(_LOOK_SECONDS)

    def rate_mbps(self) -> float | None:
        """Return the rate of the last download that says something of the network, in MB/s; None if none."""
        for job in self.table.jobs():
            fetched, seconds = job.outcome.get("fetched_bytes", 0), job.outcome.get("elapsed_seconds", 0)
            if fetched > _MEASURABLE_BYTES and seconds:
                return float(fetched / seconds / 1e6)
        return None

    def _move(self, number: int, states: Mapping[JobState, JobState], what: str) -> Job:
        job = self.job(number)
        if not self.table.move(number, states):
            job = self.table.job(number)
            raise SelectionError(
                str(number),
                f"Job {number} is {job.state}, so it cannot be {what}.",
                f"That is possible from {', '.join(states)}.",
            )
        return self.table.job(number)

    def settle(self) -> None:
        """Pause the jobs of programs that are gone; whoever lists or runs jobs does that first."""
        from dataset_dl.verbs.jobs.running import is_alive

        runners = {name: is_alive(self.folder / "runners", name) for name in self.table.runners()}
        if not all(runners.values()):
            self.table.settle(runners)


__all__ = ["Job", "Jobs"]
