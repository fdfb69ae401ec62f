"""Download: as a call that returns a report, as a stream of verified series, or as events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from dataset_dl.errors import LayoutError, PlanError
from dataset_dl.model.outcome import DownloadProgress, Report
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import STATE_DIRECTORY, Series, Suspects
from dataset_dl.verbs.complaints import raise_for_report
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
    from dataset_dl.transfer.crew import Loop
from dataset_dl.verbs.plan import Table, path_limit, plan
from dataset_dl.wording import size

ProgressCallback = Callable[[DownloadProgress], object]


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
    from dataset_dl.transfer.hands import hands_of

    settings = settings_of(options, retries=plan.origin.retries)
    network = network_of(options)
    if settings.part is not None:
        from dataset_dl.verbs.parts import attempted

        return attempted(cut(plan, settings.part), destination, settings, network, observers)
    check_budget(plan, settings.disk_budget_bytes)
    events = transfer(
        plan,
        destination,
        chooser(settings, network),
        settings,
        rights_of=rights_of,
        suspects=suspects,
        hands=hands_of(settings.then, destination, settings.consumer_processes),
    )
    return observed(events, [Log(plan, destination), *observers])


def cut(plan: Plan, part: str | None) -> Plan:
    """Return a part of a plan; the plan itself if none is named.

    Raises
    ------
    PlanError
        If there is no such part.
    """
    if part is None:
        return plan
    from dataset_dl.model.part import Part
    from dataset_dl.plans.parts import part_of

    return part_of(plan, Part.of(part))


def check_consumers(plan: Plan, destination: Path, options: DownloadOptions) -> None:
    """Make sure that the consumers of a download exist, and that its disk budget suffices.

    Raises
    ------
    SelectionError, MissingExtra
        If a consumer is unknown or not installed.
    PlanError
        If the budget is smaller than a series.
    """
    from dataset_dl.transfer.hands import hands_of

    settings = settings_of(options)
    check_budget(plan, settings.disk_budget_bytes)
    hands_of(settings.then, destination)


def check_budget(plan: Plan, bound: int | None) -> None:
    """Refuse a disk budget that is smaller than a series.

    Raises
    ------
    PlanError
        If it is.
    """
    if bound is not None and bound < (largest := plan.rows.largest_bytes()):
        raise PlanError(
            "disk_budget",
            f"The disk budget of {size(bound)} is smaller than the largest series, {size(largest)};"
            " nothing was started.",
            f"Give at least {size(largest)}, better several times as much.",
        )


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


@spelled_out(TransferOptions)
def stream(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    *,
    consumer: str = "stream",
    observers: Iterable[Observer] = (),
    **options: Unpack[TransferOptions],
) -> Iterator[Series]:
    """Yield each series as soon as it is complete and verified, while the others are still being fetched.

    Series that were already on disk come first. Parameters and errors as for `download`; the error about
    failed series comes after every complete series. Leaving the loop stops the download.

    With ``evict=True`` a series gets a receipt when the loop asks for the next one, and is then removed; a
    rerun yields only series without a receipt. With `disk_budget` the engine waits for the loop.

    Parameters
    ----------
    consumer
        The name in the receipts: loops of different names each get every series.
    """
    made, rest = planned(what, into, options)
    destination = destination_of(made, into)
    if not rest.get("evict"):
        return _stream(transferred(made, destination, rest, observers), destination)
    from dataset_dl.transfer.crew import Loop
    from dataset_dl.transfer.handing import Hand

    loop = Loop(consumer)
    rest["then"] = [*listed(rest.get("then", ())), Hand(loop, loop)]
    return _stream_once(transferred(made, destination, rest, observers), loop)


def listed(several: Any) -> list[Any]:
    """Return one thing or several as a list."""
    return list(several) if isinstance(several, (list, tuple)) else [several]


def _stream_once(events: Iterator[Event], loop: Loop) -> Iterator[Series]:
    from dataset_dl.model.events import Finished

    try:
        for event in events:
            while loop.waiting:
                series = loop.waiting.popleft()
                yield series
                loop.finished(series)
            if isinstance(event, Finished):
                raise_for_report(event.report)
    finally:
        events.close()  # type: ignore[attr-defined]


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
    if STATE_DIRECTORY in destination.parts:
        raise PlanError(
            "into",
            f"{destination} is inside {STATE_DIRECTORY}, where a download keeps its own records.",
            "Choose another directory.",
        )
    limit = path_limit(destination)
    longest = plan.rows.longest_directory() if limit is not None else ""
    if limit is not None and len(longest) > limit:
        raise LayoutError(
            longest,
            f"Below {destination} the directory “{longest}” would be longer than Windows allows.",
            "Make the plan with this destination as into=, or choose one with a shorter path.",
        )
    return destination
