"""Download one part of a plan, beside others that write to the same destination."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from dataset_dl.destination import attempts, paths
from dataset_dl.engines.choice import chooser
from dataset_dl.engines.protocol import Engine
from dataset_dl.model.events import Event, Finished, Noticed
from dataset_dl.model.outcome import Report
from dataset_dl.model.part import Part
from dataset_dl.model.plan import Plan
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.observers import Observer, observed
from dataset_dl.observers.log import Log
from dataset_dl.observers.standing import Standing
from dataset_dl.sources import rights_of
from dataset_dl.transfer import transfer
from dataset_dl.transfer.hands import hands_of
from dataset_dl.verbs.download import check_budget

_DOUBTFUL = (
    "An earlier attempt at this part did not end in order, or still lives, so what it has written may not be"
    " whole: every file is compared with the store's MD5 sum."
)
# Why a series fails although the store lists its files.
_COMPARED = ("not_found", "access_denied")
# Parts that begin at the same time soon see each other.
_FIRST_SECONDS, _SHARE_SECONDS = 2.0, 15.0


def attempted(
    plan: Plan,
    destination: Path,
    settings: DownloadSettings,
    network: NetworkSettings,
    observers: Iterable[Observer],
) -> Iterator[Event]:
    """Yield the events of an attempt at a part of a plan; the log and `observers` see each one first.

    Raises
    ------
    StorageError
        If another process writes this part.
    PlanError
        If the destination has parts of another plan.
    """
    check_budget(plan, settings.disk_budget_bytes)
    hands = hands_of(settings.then, destination, settings.consumer_processes)
    attempt = attempts.begin(destination, plan, take_over=settings.take_over)
    if attempt.is_doubtful:
        settings = replace(settings, verify="md5", trust_journal=False)
    made: list[Engine] = []
    most_mbps = settings.max_rate_mbps

    def share(total_mbps: float) -> float:
        own_mbps = total_mbps / (1 + attempts.running_beside(destination, attempt.name))
        return own_mbps if most_mbps is None else min(own_mbps, most_mbps)

    def engine_for(scheme: str) -> Engine:
        made.append(choose(scheme))
        return made[-1]

    total_mbps = settings.shared_rate_mbps
    if total_mbps is not None:
        settings = replace(settings, max_rate_mbps=share(total_mbps))
    choose = chooser(settings, network)
    events = transfer(
        plan, destination, engine_for, settings, rights_of=rights_of, hands=hands, part=attempt.name
    )
    files = paths.files_of(destination, attempt.name)
    if attempt.is_doubtful:
        events = _comparing(events, files)
    if total_mbps is not None:
        events = _sharing(events, lambda: share(total_mbps), made)
    assert plan.origin.cut is not None, "a part knows how its plan was cut"
    standing = Standing(files.progress, str(Part(plan.origin.cut.number, plan.origin.cut.total)))
    return observed(events, [standing, Log(plan, destination), *observers])


def _comparing(events: Iterator[Event], files: paths.Files) -> Iterator[Event]:
    """Say that all files are compared; once they were, none of them is in doubt any more."""
    with closing(events):  # type: ignore[type-var]
        yield Noticed(_DOUBTFUL)
        for event in events:
            if isinstance(event, Finished) and _was_compared(event.report):
                files.doubtful.unlink(missing_ok=True)
            yield event


def _was_compared(report: Report) -> bool:
    """Whether the store's list was there for all files that a later run might take for whole."""
    return not report.untried_series and not any(
        failure.present_instances and failure.cause not in _COMPARED for failure in report.failures
    )


def _sharing(events: Iterator[Event], share: Callable[[], float], engines: list[Engine]) -> Iterator[Event]:
    """Pass events on, and give the engines another share whenever more or fewer parts are running."""
    now, due = share(), time.monotonic() + _FIRST_SECONDS
    with closing(events):  # type: ignore[type-var]
        for event in events:
            yield event
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _SHARE_SECONDS
            if (new := share()) != now:
                now = new
                for each in engines:
                    if (limit := getattr(each, "limit", None)) is not None:
                        limit(new)
