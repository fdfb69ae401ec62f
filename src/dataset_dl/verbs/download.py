"""Download: as a call that returns a report, as a stream of verified series, or as events."""

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
    """Download and yield each event as it happens.

    The last event is `Finished`, with the report; failed series do not raise here. Closing the
    iterator stops the download; the same call resumes it. Parameters as for `download`.
    """
    made, rest = planned(what, into, options)
    return transferred(made, destination_of(made, into), rest)


def planned(source: Any, into: str | Path | None, options: TransferOptions) -> tuple[Plan, DownloadOptions]:
    """Return `source` as a plan, and the options that are left for its download."""
    rest: dict[str, Any] = dict(options)
    chosen = {name: rest.pop(name) for name in PlanOptions.__annotations__ if name in rest}
    if not isinstance(source, Plan):
        return plan(source, into=into, **cast(PlanOptions, chosen)), cast(DownloadOptions, rest)
    if chosen:
        raise PlanError(
            next(iter(chosen)),
            f"Options of plan() do not apply to a plan that is already made: {', '.join(chosen)}.",
            "Pass them to plan(), or pass download() what plan() accepts.",
        )
    return source, cast(DownloadOptions, rest)


def transferred(
    plan: Plan,
    destination: Path,
    options: DownloadOptions,
    observers: Iterable[Observer] = (),
    suspects: Suspects | None = None,
) -> Iterator[Event]:
    """Yield the events of a download; the log and `observers` see each one first."""
    from dataset_dl.engines.choice import chooser
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
    """Download a plan, or anything that `plan` accepts, and verify every series on disk.

    Parameters
    ----------
    what
        A `Plan`, or anything that `plan` accepts.
    into
        The destination; defaults to the plan's own.
    progress
        ``auto`` draws a bar in a terminal or notebook, ``none`` draws nothing.
    progress_callback
        Called with a `DownloadProgress` about ten times a second and once at the end.
    observers
        Callables that receive every event of `dataset_dl.model.events` as it happens.
    check
        Raise if the download is incomplete; if False, check ``report.ok`` yourself.
    **options
        How to fetch and how to reach the network: see `DownloadOptions` and `NetworkOptions`. Unless `what`
        is a plan, also `PlanOptions`.

    Raises
    ------
    SelectionError, PlanError
        As for `plan`.
    TransferIncomplete
        If a series failed, was not tried or is not in IDC; its ``report`` lists them. The same call resumes.
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
    """Consume the events of a download and return its report."""
    from dataset_dl.model.events import Finished

    report: Report | None = None
    try:
        for event in events:
            if isinstance(event, Finished):
                report = event.report
    finally:
        # If an observer raises, stop the engine now and not at the next garbage collection.
        events.close()  # type: ignore[attr-defined]
    assert report is not None, "a transfer ends in a report or raises"
    return report


def shown(progress: Literal["auto", "none"], progress_callback: ProgressCallback | None) -> list[Observer]:
    """Return the observer for `progress_callback`, or the one for `progress` without a callback."""
    if progress_callback is not None:
        from dataset_dl.observers.callback import Callback

        return [Callback(progress_callback)]
    from dataset_dl.observers.display import display

    return [display(progress, sys.stderr)]


def raise_for_report(report: Report) -> None:
    """Raise the error that a report calls for; return if everything is on disk.

    Raises
    ------
    NetworkError
        If nothing was fetched and every failure points at the network or the store.
    TransferIncomplete
        If a series failed, was not tried or is not in IDC.
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
    requested = report.series_count + missing
    others = f"the other {report.complete_series:,} are complete on disk"
    return TransferIncomplete(
        f"IDC does not have {missing:,} of the {requested:,} series asked for"
        f" (the first: {report.missing[0]});"
        f" {others if report.series_count else 'there was nothing to download'}.",
        f"{files_of(report.destination).missing} lists them for TCIA's own program;"
        " --skip-missing accepts that they are missing.",
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
    """Yield each series as soon as it is complete and verified, while the others are still being fetched.

    Series that were already on disk come first. Parameters and errors as for `download`; the error about
    failed series comes after every complete series. Leaving the loop stops the download.
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
    """Return the destination of a download of a plan, as an absolute path.

    Raises
    ------
    PlanError
        If none is given, or a directory of the plan would be too long below it.
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
            "Make the plan with this destination as into=, or choose one with a shorter path.",
        )
    return destination
