"""The public verbs, composed from the rooms below."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from dataset_dl.errors import LayoutError, NetworkError, PlanError, TransferIncomplete
from dataset_dl.model.outcome import DownloadProgress, Report
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Series, Suspects
from dataset_dl.network import NetworkSettings
from dataset_dl.verbs.options import (
    DEFAULTS,
    DownloadOptions,
    NetworkOptions,
    PlanOptions,
    TransferOptions,
    spelled_out,
)

if TYPE_CHECKING:
    from dataset_dl.engines.s5cmd.engine import S5cmdEngine
    from dataset_dl.model.events import Event
from dataset_dl.verbs.plan import Table, _path_limit, plan

ProgressCallback = Callable[[DownloadProgress], object]
_CALLBACK_SECONDS = 0.1
# Where every series fails so, it is not the series.
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
    made, rest = _planned(what, into, options)
    return _transfer(made, _destination(made, into), rest)


def _planned(source: Any, into: str | Path | None, options: TransferOptions) -> tuple[Plan, DownloadOptions]:
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


def _transfer(
    plan: Plan, destination: Path, options: DownloadOptions, doubtful: Suspects | None = None
) -> Iterator[Event]:
    from dataset_dl.observers.log import logged
    from dataset_dl.transfer import transfer

    workers = options.get("workers")
    if workers is not None and workers < 1:
        raise PlanError("workers", f"workers is {workers}, and at least 1 is needed.")
    rate = options.get("max_rate_mbps")
    if rate is not None and not 0 < rate < math.inf:
        raise PlanError("max_rate_mbps", f"max_rate_mbps is {rate}, and has to be more than 0.")
    check, trust = options.get("verify", "size"), options.get("trust_journal", False)
    if check not in ("size", "md5"):
        raise PlanError("verify", f"verify is “{check}”; there are size and md5.")
    if check == "md5" and trust:
        raise PlanError(
            "trust_journal", 'verify="md5" and trust_journal contradict each other.', "Choose one."
        )
    network = network_settings(options)
    events = transfer(
        plan,
        destination,
        lambda: engine_of(network, workers, options.get("stall_timeout_seconds"), rate),
        retries=options.get("retries", DEFAULTS["retries"]),
        md5=check == "md5",
        trust_journal=trust,
        suspects=doubtful,
    )
    return logged(events, plan)


def engine_of(
    network: NetworkSettings,
    workers: int | None = None,
    stall_seconds: float | None = None,
    max_rate_mbps: float | None = None,
) -> S5cmdEngine:
    """The engine that these settings give."""
    from dataset_dl.engines.s5cmd.binary import require
    from dataset_dl.engines.s5cmd.engine import S5cmdEngine

    stall_seconds = DEFAULTS["stall_timeout_seconds"] if stall_seconds is None else stall_seconds
    return S5cmdEngine(require(), network, workers, stall_seconds, max_rate_mbps)


def network_settings(options: NetworkOptions) -> NetworkSettings:
    """The settings of a call, with what is said elsewhere."""
    return NetworkSettings.gather(
        endpoint_url=options.get("endpoint_url"),
        source=options.get("source"),
        proxy=options.get("proxy"),
        ca_bundle=options.get("ca_bundle"),
        sign=options.get("sign"),
    )


@spelled_out(TransferOptions)
def download(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    *,
    progress: Literal["auto", "none"] = "auto",
    progress_callback: ProgressCallback | None = None,
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
    check
        Raise if a series failed; with False, look at ``report.failures`` yourself.
    **options
        ``workers``, ``retries``, ``stall_timeout_seconds``, ``verify``, ``trust_journal``, and how the
        network is reached: see `DownloadOptions` and `NetworkOptions`. Where `what` is no plan also
        `PlanOptions`.

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
    report = _watch_alone(download_events(what, into, **options), progress, progress_callback)
    if check:
        raise_for_report(report)
    return report


def _watch_alone(
    stream: Iterator[Event], progress: Literal["auto", "none"], progress_callback: ProgressCallback | None
) -> Report:
    from dataset_dl.observers.observer import observer

    with observer(progress if progress_callback is None else "none", sys.stderr) as show:
        return watch(stream, show, progress_callback)


def watch(
    stream: Iterator[Event],
    show: Callable[[Event], object],
    progress_callback: ProgressCallback | None = None,
) -> Report:
    """Run a download to its end, showing each event and calling back now and then."""
    from dataset_dl.model.events import Finished
    from dataset_dl.observers.progress import ProgressTracker

    tracker = ProgressTracker()
    next_call = 0.0
    report: Report | None = None
    try:
        for event in stream:
            show(event)
            if isinstance(event, Finished):
                report = event.report
            if progress_callback is not None:
                tracker.feed(event)
                if report is not None or time.monotonic() >= next_call:
                    progress_callback(tracker.snapshot())
                    next_call = time.monotonic() + _CALLBACK_SECONDS
    finally:
        # An exception in a callback must not leave s5cmd to the garbage collector.
        stream.close()  # type: ignore[attr-defined]
    assert report is not None, "a transfer ends in a report or raises"
    return report


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
    from dataset_dl.destination.paths import missing_path

    missing = len(report.missing)
    asked = report.series_count + missing
    others = f"the other {report.complete_series:,} are complete on disk"
    return TransferIncomplete(
        f"IDC does not have {missing:,} of the {asked:,} series asked for (the first: {report.missing[0]});"
        f" {others if report.series_count else 'there was nothing to download'}.",
        f"{missing_path(report.destination)} names them for TCIA's own program; --skip-missing accepts it.",
        report=report,
    )


@spelled_out(TransferOptions)
def stream(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    **options: Unpack[TransferOptions],
) -> Iterator[Series]:
    """Yield each series as soon as it is complete and checked, while the others are being fetched.

    Series that were on disk before come first. Parameters and errors as for `download`; an error about
    failed series is raised after all good ones were yielded. Leaving the loop stops the download.
    """
    made, rest = _planned(what, into, options)
    destination = _destination(made, into)
    return _stream(_transfer(made, destination, rest), destination)


def _stream(happenings: Iterator[Event], destination: Path) -> Iterator[Series]:
    from dataset_dl.destination import disk
    from dataset_dl.destination.tree import instance_paths
    from dataset_dl.model.events import Finished, SeriesCompleted

    try:
        for event in happenings:
            if isinstance(event, SeriesCompleted):
                directory = destination / event.series.directory
                with disk.guard(destination):
                    paths = instance_paths(directory, event.names)
                yield Series(event.series, directory, paths)
            elif isinstance(event, Finished):
                raise_for_report(event.report)
    finally:
        happenings.close()  # type: ignore[attr-defined]


def _destination(plan: Plan, into: str | Path | None) -> Path:
    from dataset_dl.destination import disk

    chosen = Path(into) if into is not None else plan.into
    if chosen is None:
        raise PlanError("into", "The plan names no destination.", "Give one: download(plan, into=DIRECTORY).")
    destination = disk.absolute(chosen)
    limit = _path_limit(destination)
    longest = plan.rows.longest_directory() if limit is not None else ""
    if limit is not None and len(longest) > limit:
        raise LayoutError(
            longest,
            f"Below {destination} the directory “{longest}” would be longer than Windows allows.",
            "Make the plan with into= this destination, or choose one with a shorter path.",
        )
    return destination
