"""What jobs of each kind do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dataset_dl.errors import NetworkError, StorageError, TransferIncomplete
from dataset_dl.model.events import Event
from dataset_dl.model.job import Ended, Job
from dataset_dl.model.outcome import Report
from dataset_dl.wording import counted, size

Show = Callable[[Event], object]
# Of a longer list, the destination has the rest in failed.csv.
_MOST_LISTED = 100


def download(job: Job, plan_path: Path, observers: Sequence[Show]) -> Ended:
    """Fetch the plan of the job."""
    from dataset_dl.verbs.download import run, transferred
    from dataset_dl.verbs.plan import plan

    beneath = job.request.get("beneath")
    if beneath and not Path(beneath).is_dir():
        raise StorageError(
            beneath,
            f"{beneath} is no longer there: was it moved, or its disk unmounted? Nothing was fetched.",
            "Bring it back, then retry.",
        )
    if not plan_path.is_file():
        raise StorageError(
            str(plan_path),
            "The plan of this job is gone, so what it should fetch is unknown.",
            "Put it in the queue again; what is complete is not fetched again.",
        )
    made = plan(plan_path, into=job.destination)
    options: Any = dict(job.request.get("options", {}))
    return _ended(run(transferred(made, job.destination, options, observers)))


def verify(job: Job, plan_path: Path, observers: Sequence[Show]) -> Ended:
    """Compare the tree with its plan."""
    from dataset_dl.verbs.check import verify

    found = verify(job.destination, progress="none", observers=observers, **job.request.get("options", {}))
    outcome = found.to_dict()
    outcome["deviation_count"] = len(outcome["deviations"])
    del outcome["deviations"][_MOST_LISTED:]
    if found.ok:
        return Ended("SUCCESS", f"All {counted(found.series_count, 'series')} are complete.", outcome)
    wrong = counted(len(found.deviations), "deviation")
    complete = f"{found.complete_series:,} of {found.series_count:,} series are complete"
    return Ended("WARNING", f"{complete}; {wrong}. Repair fetches what is wrong.", outcome)


def repair(job: Job, plan_path: Path, observers: Sequence[Show]) -> Ended:
    """Verify the tree, and fetch what is wrong."""
    from dataset_dl.verbs.check import repair, verify

    options: Any = dict(job.request.get("options", {}))
    checks = {name: options.pop(name) for name in ("deep", "md5") if name in options}
    found = verify(job.destination, progress="none", observers=observers, **checks)
    if found.ok:
        return Ended("SUCCESS", "There was nothing to repair.", {"series_count": found.series_count})
    return _ended(repair(found, progress="none", observers=observers, **options))


def update(job: Job, plan_path: Path, observers: Sequence[Show]) -> Ended:
    """Bring the tree up to date with today's index."""
    from dataset_dl.verbs.renew import diff, update

    found = diff(job.destination)
    return _ended(update(found, progress="none", observers=observers, **job.request.get("options", {})))


def _ended(report: Report) -> Ended:
    from dataset_dl.verbs.complaints import raise_for_report

    outcome = report.to_dict()
    outcome["failure_count"] = len(outcome["failures"])
    del outcome["failures"][_MOST_LISTED:]
    try:
        raise_for_report(report)
    except TransferIncomplete as error:
        return Ended("WARNING", error.message, outcome)
    except NetworkError as error:
        return Ended("FAILURE", str(error), outcome)
    complete = f"{counted(report.complete_series, 'series')}, {size(report.complete_bytes)}"
    return Ended("SUCCESS", f"{complete}, complete and verified.", outcome)
