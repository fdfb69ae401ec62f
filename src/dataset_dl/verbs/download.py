"""Download: as a call that ends in a report, as a stream of verified series, or as events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from dataset_dl.errors import LayoutError, NetworkError, PlanError, TransferIncomplete
from dataset_dl.model.outcome import DownloadProgress, Report
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Series, Suspects
from dataset_dl.verbs.options import (
    DownloadOptions,
    PlanOptions,
    TransferOptions,
    network_of,
    settings_of,
    spelled_out,
)

if TYPE_CHECKING:
    from dataset_dl.model.events import Event
    from dataset_dl.observers import Observer
from dataset_dl.verbs.plan import Table, path_limit, plan

ProgressCallback = Callable[[DownloadProgress], object]
# If every series fails this way, blame the network or the store.
_IN_THE_WAY = {"network", "server_error", "access_denied"}


@spelled_out(TransferOptions)
def download_events(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    **options: Unpack[TransferOptions],
) -> Iterator[Event]:
    """Download and yield what happens, as it happens.

    The last event is `Finished`, with the report; failed series do not raise here. Closing the
    iterator stops the download; the same call goes on where it was. Parameters as for `download`.
    """
    made, rest = planned(what, into, options)
    return transferred(made, destination_of(made, into), rest)


def planned(source: Any, into: str | Path | None, options: TransferOptions) -> tuple[Plan, DownloadOptions]:
    """The plan that is meant, and the options that are left for its download."""
    rest: dict[str, Any] = dict(options)
    chosen = {name: rest.pop(name) for name in PlanOptions.__annotations__ if name in rest}
    if not isinstance(source, Plan):
        return plan(source, into=into, **cast(PlanOptions, chosen)), cast(DownloadOptions, rest)
    if chosen:
        raise PlanError(
            next(iter(chosen)),
            f"{' and '.join(chosen)} choose what is planned, and this plan is made already.",
            "Give them to plan(), or give download() what plan() takes.",
        )
    return source, cast(DownloadOptions, rest)


def transferred(
    plan: Plan,
    destination: Path,
    options: DownloadOptions,
    observers: Iterable[Observer] = (),
    suspects: Suspects | None = None,
) -> Iterator[Event]:
    """The events of a download, seen by the log and by other observers as they pass by."""
    from dataset_dl.engines import chooser
    from dataset_dl.observers import observed
    from dataset_dl.observers.log import Log
    from dataset_dl.sources import rights_of
    from dataset_dl.transfer import transfer

    settings, network = settings_of(options), network_of(options)
    events = transfer(
        plan, destination, chooser(settings, network), settings, rights_of=rights_of, suspects=suspects
    )
    return observed(events, [Log(plan, destination), *observers])


@spelled_out(TransferOptions)
def download(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    *,
    progress: Literal["auto", "none"] = "auto",
    progress_callback: ProgressCallback | None = None,
    observers: Iterable[Observer] = (),
    check: bool = True,
    **options: Unpack[TransferOptions],
) -> Report:
    """Download a plan, or whatever `plan` takes, and check every series on disk.

    Parameters
    ----------
    what
        A `Plan`, or what to make one from, as for `plan`.
    into
        The destination; the plan's own if not given.
    progress
        ``auto`` draws a bar in a terminal and in a notebook, ``none`` draws nothing.
    progress_callback
        Called with a `DownloadProgress` about ten times a second and once at the end.
    observers
        Callables that get every event of `dataset_dl.model.events` as it happens.
    check
        Raise if a series failed; with False, look at ``report.failures`` yourself.
    **options
        How to fetch, and how the network is reached: see `DownloadOptions` and `NetworkOptions`. Where `what`
        is no plan also `PlanOptions`.

    Raises
    ------
    SelectionError, PlanError
        As for `plan`.
    TransferIncomplete
        If a series failed; its ``report`` says which and why. The same call resumes.
    NetworkError
        If nothing could be fetched.
    StorageError
        If the destination cannot be used or is full.
    """
    made, rest = planned(what, into, options)
    observers = [*shown(progress, progress_callback), *observers]
    report = run(transferred(made, destination_of(made, into), rest, observers))
    if check:
        raise_for_report(report)
    return report


def run(
    events: Iterator[Event],
) -> Report:
    """Run a download to its end."""
    from dataset_dl.model.events import Finished

    report: Report | None = None
    try:
        for event in events:
            if isinstance(event, Finished):
                report = event.report
    finally:
        # An exception in an observer must not leave an engine to the garbage collector.
        events.close()  # type: ignore[attr-defined]
    assert report is not None, "a transfer ends in a report or raises"
    return report


def shown(progress: Literal["auto", "none"], progress_callback: ProgressCallback | None) -> list[Observer]:
    """The observers that `progress` and `progress_callback` stand for."""
    if progress_callback is not None:
        from dataset_dl.observers.callback import Callback

        return [Callback(progress_callback)]
    from dataset_dl.observers.display import display

    return [display(progress, sys.stderr)]


def raise_for_report(report: Report) -> None:
    """Raise what a report amounts to, unless all is well.

    Raises
    ------
    NetworkError
        If nothing was fetched and the network was the reason each time.
    TransferIncomplete
        If a series failed.
    """
    if report.ok:
        return
    if not report.failures:
        raise _lacking(report) if not report.untried_series else _untried(report)
    first = report.failures[0]
    causes = {each.cause for each in report.failures}
    unreachable = causes <= {"network"} or (report.stopped and causes <= _IN_THE_WAY)
    if report.fetched_series == 0 and unreachable:
        what = report.stopped or first.message
        raise NetworkError(
            str(report.destination),
            f"Nothing could be fetched: {what}.",
            "Check the network and the proxy, then run the same command again.",
        )
    untried = f" {report.stopped[0].upper()}{report.stopped[1:]}." if report.stopped else ""
    raise TransferIncomplete(
        f"{len(report.failures):,} of {report.series_count:,} series failed"
        f" (the first: {first.planned.SeriesInstanceUID}, {first.cause}: {first.message});"
        f" {report.complete_series:,} are complete on disk.{untried}",
        "The same command resumes.",
        report=report,
    )


def _untried(report: Report) -> TransferIncomplete:
    return TransferIncomplete(
        f"{report.untried_series:,} of {report.series_count:,} series were not tried"
        f" ({report.stopped or 'the download was ended'}); {report.complete_series:,} are complete on disk.",
        "The same command resumes.",
        report=report,
    )


def _lacking(report: Report) -> TransferIncomplete:
    from dataset_dl.destination.paths import files_of

    missing = len(report.missing)
    asked = report.series_count + missing
    others = f"the other {report.complete_series:,} are complete on disk"
    return TransferIncomplete(
        f"IDC does not have {missing:,} of the {asked:,} series asked for (the first: {report.missing[0]});"
        f" {others if report.series_count else 'there was nothing to download'}.",
        f"{files_of(report.destination).missing} names them for TCIA's own program;"
        " --skip-missing accepts it.",
        report=report,
    )


@spelled_out(TransferOptions)
def stream(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    *,
    observers: Iterable[Observer] = (),
    **options: Unpack[TransferOptions],
) -> Iterator[Series]:
    """Yield each series as soon as it is complete and checked, while the others are being fetched.

    Series that were on disk before come first. Parameters and errors as for `download`; an error about
    failed series is raised after all good ones were yielded. Leaving the loop stops the download.
    """
    made, rest = planned(what, into, options)
    destination = destination_of(made, into)
    return _stream(transferred(made, destination, rest, observers), destination)


def _stream(events: Iterator[Event], destination: Path) -> Iterator[Series]:
    from dataset_dl.destination import disk
    from dataset_dl.destination.tree import instance_paths
    from dataset_dl.model.events import Finished, SeriesCompleted

    try:
        for event in events:
            if isinstance(event, SeriesCompleted):
                directory = destination / event.series.directory
                with disk.guard(destination):
                    paths = instance_paths(directory, event.names)
                yield Series(event.series, directory, paths)
            elif isinstance(event, Finished):
                raise_for_report(event.report)
    finally:
        events.close()  # type: ignore[attr-defined]


def destination_of(plan: Plan, into: str | Path | None) -> Path:
    """Where a download of a plan goes, as an absolute path.

    Raises
    ------
    PlanError
        If nobody said it, or a directory of the plan is too long below it.
    """
    from dataset_dl.destination import disk

    chosen = Path(into) if into is not None else plan.into
    if chosen is None:
        raise PlanError("into", "The plan names no destination.", "Give one: download(plan, into=DIRECTORY).")
    destination = disk.absolute(chosen)
    limit = path_limit(destination)
    longest = plan.rows.longest_directory() if limit is not None else ""
    if limit is not None and len(longest) > limit:
        raise LayoutError(
            longest,
            f"Below {destination} the directory “{longest}” would be longer than Windows allows.",
            "Make the plan with into= this destination, or choose one with a shorter path.",
        )
    return destination
