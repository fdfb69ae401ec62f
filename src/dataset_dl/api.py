"""The public verbs, composed from the rooms below."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from dataset_dl import sources
from dataset_dl.errors import (
    LayoutError,
    ManifestError,
    NetworkError,
    PlanError,
    SelectionError,
    TransferIncomplete,
)
from dataset_dl.index import catalog, database
from dataset_dl.index.plan_file import open_plan
from dataset_dl.index.planner import make_plan
from dataset_dl.index.resolve import resolve
from dataset_dl.layout import Layout
from dataset_dl.model import (
    DEFAULT_LAYOUT,
    DownloadProgress,
    Plan,
    Report,
    Selection,
    Series,
    Suspects,
    Verification,
    Where,
    conditions,
)
from dataset_dl.network import NetworkSettings, Source

if TYPE_CHECKING:
    from dataset_dl.events import Event
    from dataset_dl.frame import Frame
    from dataset_dl.s5cmd.engine import S5cmdEngine

# A table of pandas, polars or Arrow, none of which is imported here.
Table = Any
ProgressCallback = Callable[[DownloadProgress], object]


class NetworkOptions(TypedDict, total=False):
    """How the network is reached; what is not given here is looked for elsewhere, see docs/networks.md.

    Attributes
    ----------
    endpoint_url
        Address of an S3 service that holds IDC's buckets; that of `source` if not given.
    source
        ``aws`` (the default) or ``gcs``, the two stores that IDC publishes to.
    sign
        Sign requests with the credentials of the usual AWS chain, as a mirror may want.
    proxy
        Address of the proxy to go through.
    ca_bundle
        A PEM file, or a folder of them, with certificate authorities to trust besides the system's.
    """

    endpoint_url: str | None
    source: Source | None
    sign: bool | None
    proxy: str | None
    ca_bundle: str | Path | None


class DownloadOptions(NetworkOptions, total=False):
    """How to fetch: what `download`, `stream` and `download_events` all take, besides `NetworkOptions`.

    Attributes
    ----------
    workers
        Objects fetched at once; chosen by the machine and the distance of the store if not given.
    retries
        How often series are tried again that failed for a reason that may pass; 2 if not given.
    stall_timeout_seconds
        After so long without a byte (120 if not given) s5cmd is ended and what is left goes on anew; after
        three times in a row without a series completed, the download gives up.
    verify
        ``size`` (the default): count and bytes of each series are those of the index. ``md5``: besides,
        every file is compared with the checksums of the store.
    trust_journal
        Believe the journal for the series that it has as complete, without a look at the disk.
    max_rate_mbps
        A bound on what is fetched, in MB a second, for a network that others use, too.
    """

    workers: int | None
    retries: int
    stall_timeout_seconds: float
    verify: Literal["size", "md5"]
    trust_journal: bool
    max_rate_mbps: float | None


_log = logging.getLogger("dataset_dl")
_log.addHandler(logging.NullHandler())  # whoever wants to hear it says so
_CALLBACK_SECONDS = 0.1
# Where every series fails so, it is not the series.
_IN_THE_WAY = {"network", "server_error", "access_denied"}
# Windows takes 259 characters; the name of an instance and s5cmd's temporary figures need 51.
_WINDOWS_PATH_CHARACTERS = 259
_NAME_CHARACTERS = 51


def collections(search: str | None = None) -> Frame:
    """Every collection of IDC with its totals.

    Parameters
    ----------
    search
        Keep the collections whose names, cancer types, places, species, modalities or description
        contain this, in any letter case.

    Returns
    -------
    Frame
        A pandas frame, as Arrow or polars with ``.arrow()`` and ``.pl()``: ``id``, ``name``, ``subjects``,
        ``series``, ``instances``, ``size_bytes``, ``modalities``, ``cancer_types``, ``licenses``, ``DOI``;
        lists are joined by commas.
    """
    from dataset_dl.frame import Frame

    return Frame.of(lambda: catalog.collections(search))


def indices() -> Frame:
    """Every table that IDC publishes: ``name``, ``here`` (on this machine), ``description``."""
    from dataset_dl.frame import Frame

    return Frame(catalog.indices(), columns=["name", "here", "description"])


def columns(index: str) -> Frame:
    """Each column of a table: ``name``, ``type``, ``description``, from the published schema.

    Raises
    ------
    SelectionError
        If IDC publishes no such table.
    """
    from dataset_dl.frame import Frame

    return Frame(catalog.columns(index), columns=["name", "type", "description"])


def query(sql: str) -> Frame:
    """Answer one SELECT over the tables of IDC, by their names; nothing else can be read or written.

    The answer is a pandas frame, and as Arrow or polars what its ``.arrow()`` and ``.pl()`` give.

    Raises
    ------
    QueryError
        If the statement is wrong, is not a single SELECT, or reaches for a file.
    """
    from dataset_dl.frame import Frame

    return Frame.of(lambda: database.query(sql))


def fetch_index(name: str, *, from_file: str | Path | None = None, **options: Unpack[NetworkOptions]) -> Path:
    """Fetch a table that IDC publishes beside the package, once for each version of it.

    Parameters
    ----------
    name
        As `indices` lists it, for example ``sm_index``.
    from_file
        The Parquet file of it, fetched elsewhere; nothing is asked for then.
    **options
        How the network is reached, see `NetworkOptions`.

    Returns
    -------
    Path
        The Parquet file; from now on `query` and `columns` know the table.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or the file is not it.
    NetworkError
        If it cannot be fetched.
    """
    if from_file is not None:
        return catalog.put_in(name, Path(from_file))
    return catalog.fetch(name, network_settings(options))


def cite(
    selection: str | Path | Iterable[str | Path] | Table,
    /,
    *,
    style: Literal["apa", "bibtex", "json"] = "apa",
    offline: bool = False,
    **options: Unpack[NetworkOptions],
) -> list[str]:
    """The works to cite for a selection, and the paper on IDC itself, as the DOI service gives them.

    What the service does not answer for is told by the tables of IDC; a warning of the logger ``dataset_dl``
    says so.

    Parameters
    ----------
    selection
        Identifiers, manifests or a table, as for `plan`.
    style
        ``apa`` for people, ``bibtex``, or ``json`` (CSL JSON, a text for each work).
    offline
        Take all from the tables.
    **options
        How the network is reached, see `NetworkOptions`.

    Raises
    ------
    SelectionError, PlanError
        As for `plan`.
    """
    from dataset_dl.index import rights

    if style not in ("apa", "bibtex", "json"):
        raise PlanError("style", f"style is “{style}”; there are apa, bibtex and json.")
    shares = rights.shares(plan(selection))
    works = rights.works(sorted({share.source_DOI for share in shares if share.source_DOI}))
    texts: list[str | None] = [None] * len(works)
    if not offline:
        from dataset_dl.network import doi

        answers = doi.citations([work.DOI for work in works], doi.ACCEPT[style], network_settings(options))
        try:
            for number, text in enumerate(answers):
                texts[number] = text
        except NetworkError as error:
            _log.warning("%s Citations are taken from the tables of IDC instead.", error.message)
    return [text or rights.cited(work, style) for text, work in zip(texts, works, strict=True)]


def page_url(identifier: str) -> str:
    """The address of the page that shows a collection, study or series to a person.

    Raises
    ------
    SelectionError
        If nothing in IDC is called so.
    """
    matches = resolve(database.Database(), [identifier]).values
    column, values = next(iter(matches.items()))
    return catalog.page_url(column, values[0])


def plan(
    source: str | Path | Iterable[str | Path] | Table = (),
    *,
    where: Where | None = None,
    layout: str | None = None,
    into: str | Path | None = None,
    idc_version: int | None = None,
    skip_missing: bool = False,
    with_references: bool = False,
    with_annotations: bool = False,
) -> Plan:
    """Decide what to download and where each series goes; nothing is fetched.

    Parameters
    ----------
    source
        Collections (in any spelling), patients, studies, series, crdc series uuids, analysis results, or
        single files by SOPInstanceUID, mixed, one or several, and files: manifests, lists of identifiers,
        saved plans. Or a table with a column of identifiers, of pandas, polars or Arrow.
    where
        ``{column: value or values}``, or conditions like ``"instanceCount>=100"``; all must hold. A column
        of another table is ``TABLE.COLUMN``; where the table tells of single files (sm_instance_index), only
        those are planned.
    layout
        Template of the directories, `dataset_dl.DEFAULT_LAYOUT` if not given.
    into
        The destination, kept with the plan for `download`.
    idc_version
        Select as of this IDC version (2 or later), as far as the tables tell; today's if not given. A crdc
        series uuid is one content of one series and needs none.
    skip_missing
        Leave out what IDC does not have, instead of an error; the plan's `missing` names it. Series of a
        TCIA manifest that IDC does not have are left out in any case, but then make the download
        incomplete.
    with_references
        Add the images that selected SEG, RTSTRUCT and ANN series were drawn on, whatever `where` says, as far
        as the tables seg_index, rtstruct_index and ann_index tell; the plan's `unreferenced` counts the
        annotations of which they do not.
    with_annotations
        Add the SEG, RTSTRUCT and ANN series that were drawn on selected images, by the same tables.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown, nothing is selected, a table is not here, or the tables do
        not tell what the version held.
    PlanError
        If the layout or a manifest is wrong.
    """
    began = time.monotonic()
    chosen = conditions(where)
    destination = Path(into) if into is not None else None
    is_one = isinstance(source, str | Path) or sources.is_table(source)
    named = sources.read([source] if is_one else cast(Iterable[Any], source))
    if idc_version is not None and (named.plans or named.entries):
        raise SelectionError(
            f"v{idc_version}",
            "A manifest names series of the versions that it was made for, so no other can be asked for;"
            " nothing was started.",
            "Leave the IDC version out, or give identifiers.",
        )
    related = with_references, with_annotations
    if named.only_plan is not None and not chosen and layout is None and not any(related):
        return named.only_plan.plan(destination)
    entries = named.all_entries()
    if layout is not None:
        entries = [entry._replace(directory=None) for entry in entries]
    if not named.identifiers and not named.optional and not entries and not chosen:
        raise SelectionError(
            "", "Nothing was asked for.", "Name a collection, a patient, a study, a series or a manifest."
        )
    identifiers = tuple(dict.fromkeys([*named.identifiers, *named.optional]))
    made = make_plan(
        Selection(identifiers, chosen, *related),
        Layout.parse(layout or DEFAULT_LAYOUT, database.main_columns()),
        entries=entries,
        into=destination,
        path_limit=_path_limit(destination),
        version=idc_version,
        optional=frozenset(identifiers if skip_missing else named.optional),
    )
    made = replace(made, skip_missing=skip_missing)
    if _log.isEnabledFor(logging.INFO):
        from dataset_dl.ui.log import planned

        planned(made, time.monotonic() - began)
    return made


def download_events(
    plan: Plan, into: str | Path | None = None, **options: Unpack[DownloadOptions]
) -> Iterator[Event]:
    """Download a plan and yield what happens, as it happens.

    The last event is `Finished`, with the report; failed series do not raise here. Closing the
    iterator stops the download; the same call goes on where it was. Parameters as for `download`.
    """
    return _transfer(plan, _destination(plan, into), options)


def _transfer(
    plan: Plan, destination: Path, options: DownloadOptions, doubtful: Suspects | None = None
) -> Iterator[Event]:
    from dataset_dl.transfer import transfer
    from dataset_dl.ui.log import logged

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
            "trust_journal", "To compare every file and to look at none exclude each other.", "Choose one."
        )
    network = network_settings(options)
    events = transfer(
        plan,
        destination,
        lambda: engine_of(network, workers, options.get("stall_timeout_seconds", 120.0), rate),
        retries=options.get("retries", 2),
        md5=check == "md5",
        trust_journal=trust,
        suspects=doubtful,
    )
    return logged(events, plan)


def engine_of(
    network: NetworkSettings,
    workers: int | None = None,
    stall_seconds: float = 120.0,
    max_rate_mbps: float | None = None,
) -> S5cmdEngine:
    """The engine that these settings give."""
    from dataset_dl.s5cmd.binary import require
    from dataset_dl.s5cmd.engine import S5cmdEngine

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


def download(
    plan: Plan,
    into: str | Path | None = None,
    *,
    progress: Literal["auto", "none"] = "auto",
    progress_callback: ProgressCallback | None = None,
    check: bool = True,
    **options: Unpack[DownloadOptions],
) -> Report:
    """Download a plan and check every series on disk.

    Parameters
    ----------
    plan
        From `plan`.
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
        network is reached: see `DownloadOptions` and `NetworkOptions`.

    Raises
    ------
    TransferIncomplete
        If a series failed; its ``report`` says which and why. The same call resumes.
    NetworkError
        If nothing could be fetched.
    StorageError
        If the destination cannot be used or is full.
    """
    report = _watch_alone(download_events(plan, into, **options), progress, progress_callback)
    if check:
        raise_for_report(report)
    return report


def _watch_alone(
    stream: Iterator[Event], progress: Literal["auto", "none"], progress_callback: ProgressCallback | None
) -> Report:
    from dataset_dl.ui.observer import observer

    with observer(progress if progress_callback is None else "none", sys.stderr) as show:
        return watch(stream, show, progress_callback)


def watch(
    stream: Iterator[Event],
    show: Callable[[Event], object],
    progress_callback: ProgressCallback | None = None,
) -> Report:
    """Run a download to its end, showing each event and calling back now and then."""
    from dataset_dl.events import Finished
    from dataset_dl.progress import ProgressTracker

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
    if not report.failures and not report.untried_series:
        raise _lacking(report)
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


def _lacking(report: Report) -> TransferIncomplete:
    from dataset_dl.destination import missing_path

    missing = len(report.missing)
    return TransferIncomplete(
        f"IDC does not have {missing:,} of the {report.series_count + missing:,} series asked for (the first:"
        f" {report.missing[0]}); the other {report.complete_series:,} are complete on disk.",
        f"{missing_path(report.destination)} names them for TCIA's own program; --skip-missing accepts it.",
        report=report,
    )


def stream(
    plan: Plan, into: str | Path | None = None, **options: Unpack[DownloadOptions]
) -> Iterator[Series]:
    """Yield each series as soon as it is complete and checked, while the others are being fetched.

    Series that were on disk before come first. Parameters and errors as for `download`; an error about
    failed series is raised after all good ones were yielded. Leaving the loop stops the download.
    """
    from dataset_dl import destination as place
    from dataset_dl.events import Finished, SeriesCompleted
    from dataset_dl.verification import instance_paths

    destination = _destination(plan, into)
    happenings = download_events(plan, into, **options)
    try:
        for event in happenings:
            if isinstance(event, SeriesCompleted):
                directory = destination / event.series.directory
                with place.guard(destination):
                    paths = instance_paths(directory, event.names)
                yield Series(event.series, directory, paths)
            elif isinstance(event, Finished):
                raise_for_report(event.report)
    finally:
        happenings.close()  # type: ignore[attr-defined]


def verify(
    root: str | Path,
    *,
    deep: bool = False,
    md5: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
    **options: Unpack[NetworkOptions],
) -> Verification:
    """Hold a tree against the plan kept in it, or against the index where there is none.

    Without a plan, each directory whose name ends in a SeriesInstanceUID or a crdc series uuid is
    looked up in the index, so a tree that another tool downloaded can be checked too.

    Parameters
    ----------
    root
        The tree.
    deep
        Read the header of each file, too, and compare its UIDs with the plan's.
    md5
        Compare each file with the checksum that the store gives for it, too.
    on_progress
        Called with the number of series and of bytes that have been looked at.
    **options
        How the store is reached that is asked for checksums, see `NetworkOptions`.

    Returns
    -------
    Verification
        ``ok``, the totals, and every directory or file that deviates. `repair` fetches what is wrong.

    Raises
    ------
    ManifestError
        If `root` is no directory, or nothing in it can be told.
    NetworkError
        If the store is to be asked and does not answer.
    """
    from dataset_dl import destination as place
    from dataset_dl.audit import audit
    from dataset_dl.index.expected import plan_by_name
    from dataset_dl.verification import instance_directories

    tree = Path(root)
    if not tree.is_dir():
        raise ManifestError(str(tree), f"{tree} is not a directory, so there is nothing to verify.")
    kept = place.plan_path(tree)
    strangers: dict[str, str] = {}
    if kept.is_file():
        expected = open_plan(kept, may_be_empty=True).plan(tree)
    else:
        expected, strangers = plan_by_name(instance_directories(tree))
        if not expected.series_count and not strangers:
            raise ManifestError(
                str(tree),
                f"{tree} holds no plan, and no directory in it is named after a series.",
                "Give the directory that a download went to.",
            )
    objects = None
    if md5 and expected.series_count:
        engine = engine_of(network_settings(options))
        engine.probe(next(iter(expected)).series_aws_url)
        objects = engine.objects
    with place.guard(tree):
        return audit(tree, expected, strangers=strangers, deep=deep, objects=objects, on_progress=on_progress)


def repair(verification: Verification, **options: Unpack[DownloadOptions]) -> Report:
    """Fetch what a verification found to be wrong, and nothing else.

    Files that were found wrong are removed and fetched again, if the store has files of their names. Files
    that do not belong there stay, and their series are in the report's failures.

    Parameters
    ----------
    verification
        From `verify`.
    **options
        As for `download`.

    Returns
    -------
    Report
        Of the series that were wrong; look at its ``failures``.

    Raises
    ------
    DatasetDlError
        As for `download`, but not for failed series.
    """
    from dataset_dl import destination as place
    from dataset_dl.audit import suspects

    plan, root = verification.plan, place.absolute(verification.root)
    if plan is None:
        raise PlanError("repair", "This verification holds no plan.", "Take one that verify() returned.")
    doubtful = suspects(verification)
    wanted = plan.rows.only(sorted(doubtful))
    if wanted.series_count and not place.plan_path(root).is_file():
        # So that a later look is at all of the tree and not at what was repaired.
        place.prepare(root)
        place.keep(root, plan)
    events = _transfer(wanted, root, DownloadOptions(**options), doubtful)
    return _watch_alone(events, "auto", None)


def _destination(plan: Plan, into: str | Path | None) -> Path:
    from dataset_dl import destination as place

    chosen = Path(into) if into is not None else plan.into
    if chosen is None:
        raise PlanError("into", "The plan names no destination.", "Give one: download(plan, into=DIRECTORY).")
    destination = place.absolute(chosen)
    limit = _path_limit(destination)
    longest = plan.rows.longest_directory() if limit is not None else ""
    if limit is not None and len(longest) > limit:
        raise LayoutError(
            longest,
            f"Below {destination} the directory “{longest}” would be longer than Windows allows.",
            "Make the plan with into= this destination, or choose one with a shorter path.",
        )
    return destination


def _path_limit(destination: Path | None) -> int | None:
    if os.name != "nt":
        return None
    length = len(os.path.abspath(destination)) if destination is not None else 100
    return _WINDOWS_PATH_CHARACTERS - _NAME_CHARACTERS - length - 1
