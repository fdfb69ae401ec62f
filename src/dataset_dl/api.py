"""The public verbs, composed from the rooms below."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from dataset_dl import sources
from dataset_dl.errors import (
    LayoutError,
    ManifestError,
    NetworkError,
    PlanError,
    SelectionError,
    SelectionWarning,
    TransferIncomplete,
)
from dataset_dl.index import catalog, database
from dataset_dl.index.kept import keep, kept_plan
from dataset_dl.index.planner import make_plan
from dataset_dl.index.resolve import resolve
from dataset_dl.layout import Layout
from dataset_dl.manifest.commands import Places
from dataset_dl.model import (
    DEFAULT_LAYOUT,
    Condition,
    DownloadProgress,
    Plan,
    Report,
    Selection,
    Series,
    Suspects,
    Verification,
    conditions,
)
from dataset_dl.network import FORMER_BUCKETS, IDC_BUCKETS, NetworkSettings
from dataset_dl.options import (
    DEFAULTS,
    DownloadOptions,
    NetworkOptions,
    PlanOptions,
    TransferOptions,
    spelled_out,
)

if TYPE_CHECKING:
    from dataset_dl.events import Event
    from dataset_dl.frame import Frame
    from dataset_dl.s5cmd.engine import S5cmdEngine

# A table of pandas, polars or Arrow, none of which is imported here.
Table = Any
ProgressCallback = Callable[[DownloadProgress], object]


_log = logging.getLogger("dataset_dl")
_log.addHandler(logging.NullHandler())  # whoever wants to hear it says so
_CALLBACK_SECONDS = 0.1
_NAMED_AT_MOST = 5
# Where every series fails so, it is not the series.
_IN_THE_WAY = {"network", "server_error", "access_denied"}
# Windows takes 259 characters; the name of an instance and s5cmd's temporary figures need 51.
_WINDOWS_PATH_CHARACTERS = 259
_NAME_CHARACTERS = 51


@spelled_out()
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
        ``series``, ``instances``, ``size_bytes``, ``modalities``, ``cancer_types``, ``licenses``, ``DOI``,
        ``description``; lists are joined by commas.
    """
    from dataset_dl.frame import Frame

    return Frame.of(lambda: catalog.collections(search))


@spelled_out()
def indices() -> Frame:
    """Every table that IDC publishes: ``name``, ``here`` (on this machine), ``description``."""
    from dataset_dl.frame import Frame

    return Frame(catalog.indices(), columns=["name", "here", "description"])


@spelled_out()
def columns(index: str) -> Frame:
    """Each column of a table: ``name``, ``type``, ``description``, from the published schema.

    Raises
    ------
    SelectionError
        If IDC publishes no such table.
    """
    from dataset_dl.frame import Frame

    return Frame(catalog.columns(index), columns=["name", "type", "description"])


@spelled_out()
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


@spelled_out(NetworkOptions)
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


@spelled_out(NetworkOptions)
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


@spelled_out()
def page_url(identifier: str) -> str:
    """The address of the page that shows a collection, study or series to a person.

    Raises
    ------
    SelectionError
        If nothing in IDC is called so.
    """
    matches = resolve(database.Database(), [identifier])
    if matches.files:  # a file is shown with its series
        return catalog.page_url("crdc_series_uuid", matches.files[0].crdc_series_uuid)
    column, values = next(iter(matches.values.items()))
    return catalog.page_url(column, values[0])


@spelled_out(PlanOptions)
def plan(
    source: str | Path | Iterable[str | Path] | Table = (),
    *,
    into: str | Path | None = None,
    **options: Unpack[PlanOptions],
) -> Plan:
    """Decide what to download and where each series goes; nothing is fetched.

    Parameters
    ----------
    source
        Collections (in any spelling, or a pattern like ``tcga_*``), patients, studies, series, crdc series
        uuids, analysis results, DOIs, addresses of the portal or the viewer, or single files by
        SOPInstanceUID, mixed, one or several, and files: manifests, lists of identifiers, saved plans. Or a
        table with a column of identifiers, of pandas, polars or Arrow.
    into
        The destination, kept with the plan for `download`.
    **options
        See `PlanOptions`.

    Returns
    -------
    Plan
        Its ``notes`` say what was asked for and matches nothing, or was left out.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown, nothing is selected, a table is not here, or the tables do
        not tell what the version held.
    PlanError
        If the layout or a manifest is wrong.
    """
    began = time.monotonic()
    destination = _absolute(into) if into is not None else None
    places = Places(destination, ignored=options.get("layout") is not None)
    made, are_typed = plan_quietly(source, places, options)
    notes = [*made.notes, *(_notes_on_excluded(made) if are_typed else ())]
    for note in notes:
        warnings.warn(note, SelectionWarning, stacklevel=3)
    if _log.isEnabledFor(logging.INFO):
        from dataset_dl.ui.log import planned

        planned(made, time.monotonic() - began)
    return made


def plan_quietly(source: Any, places: Places, options: PlanOptions) -> tuple[Plan, bool]:
    """The plan, and whether what it is made from was named one by one, not by a file; it warns of nothing."""
    destination = places.destination
    chosen = conditions(options.get("where"))
    if options.get("original_only"):
        chosen = (*chosen, Condition("analysis_result_id", "=", ("",)))
    layout, version, skip = options.get("layout"), options.get("idc_version"), options.get("skip_missing")
    _check_counts(options)
    is_one = isinstance(source, str | Path) or sources.is_table(source) or not isinstance(source, Iterable)
    named = sources.read([source] if is_one else cast(Iterable[Any], source), places)
    if version is not None and (named.plans or named.entries):
        raise SelectionError(
            f"v{version}",
            "A manifest names series of the versions that it was made for, so no other can be asked for;"
            " nothing was started.",
            "Leave the IDC version out, or give identifiers.",
        )
    origin = named.origin
    origin = origin._replace(notes=(*origin.notes, *_notes_on(named)))
    if skip:
        origin = origin._replace(skip_missing=True)
    narrowing = ("with_references", "with_annotations", "limit", "sample")
    if named.only_plan is not None and not chosen and layout is None and not any(map(options.get, narrowing)):
        return replace(named.only_plan.plan(destination), origin=origin), False
    entries = named.all_entries()
    if layout is not None:
        entries = [entry._replace(directory=None) for entry in entries]
        origin = origin._replace(file_template="")
    if not named.identifiers and not named.optional and not entries and not chosen:
        raise SelectionError(
            "", "Nothing was asked for.", "Name a collection, a patient, a study, a series or a manifest."
        )
    identifiers = tuple(dict.fromkeys([*named.identifiers, *named.optional]))
    requests = tuple(
        request._replace(where=(*request.where, *chosen), layout=layout or request.layout)
        for request in origin.requests
    )
    made = make_plan(
        Selection(
            identifiers,
            chosen,
            bool(options.get("with_references")),
            bool(options.get("with_annotations")),
            options.get("limit"),
            options.get("sample"),
            options.get("seed", DEFAULTS["seed"]),
        ),
        Layout.parse(layout or DEFAULT_LAYOUT, database.main_columns()),
        entries=entries,
        into=destination,
        path_limit=_path_limit(destination),
        version=version,
        optional=frozenset(identifiers if skip else named.optional),
        only_series=frozenset(named.optional),
        strict=bool(options.get("strict")),
        origin=origin._replace(requests=requests),
    )
    # What a saved plan accepted as missing does not hold for what is missing besides.
    is_accepted = bool(skip) or (origin.skip_missing and made.missing == origin.missing)
    made = replace(made, origin=made.origin._replace(skip_missing=is_accepted))
    return made, not (entries or named.accounts)


def _check_counts(options: PlanOptions) -> None:
    counts = {"limit": options.get("limit"), "sample": options.get("sample")}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise PlanError(name, f"{name} is {count!r}, and has to be a whole number from 1.")
    if None not in counts.values():
        raise PlanError("sample", "limit and sample contradict each other.", "Choose one.")


def _notes_on(named: sources.Named) -> Iterator[str]:
    """What was left out of files, and what is strange in them."""
    for account in named.accounts:
        for sentence in account.left_out:
            yield f"Left out of {account.source}: {sentence}."
    buckets = {*IDC_BUCKETS, *IDC_BUCKETS.values(), *FORMER_BUCKETS}
    if strange := [each for each in named.buckets if each.lower() not in buckets]:
        yield (
            f"The bucket {strange[0]} is none of IDC's"
            + (f" ({len(strange):,} such buckets are named)" if len(strange) > 1 else "")
            + ": the series are fetched from where the index has them."
        )


def _notes_on_excluded(made: Plan) -> Iterator[str]:
    if made.excluded:
        shown = ", ".join(made.excluded[:_NAMED_AT_MOST])
        more = (
            f" and {len(made.excluded) - _NAMED_AT_MOST:,} more"
            if len(made.excluded) > _NAMED_AT_MOST
            else ""
        )
        yield f"No series of {shown}{more} meets the conditions."


def _absolute(into: str | Path) -> Path:
    from dataset_dl.destination import absolute

    return absolute(into)


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
    from dataset_dl.s5cmd.binary import require
    from dataset_dl.s5cmd.engine import S5cmdEngine

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
    from dataset_dl.destination import missing_path

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
    from dataset_dl import destination as place
    from dataset_dl.events import Finished, SeriesCompleted
    from dataset_dl.verification import instance_paths

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


@spelled_out(NetworkOptions)
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
    from dataset_dl.journal import reading_names
    from dataset_dl.verification import instance_directories

    tree = Path(root)
    if not tree.is_dir():
        raise ManifestError(str(tree), f"{tree} is not a directory, so there is nothing to verify.")
    kept = kept_plan(tree)
    strangers: dict[str, str] = {}
    if kept is not None:
        expected = kept.plan(tree)
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
    with place.guard(tree), reading_names(place.journal_path(tree)) as renamed:
        return audit(
            tree,
            expected,
            strangers=strangers,
            deep=deep,
            objects=objects,
            renamed=renamed,
            on_progress=on_progress,
        )


@spelled_out(DownloadOptions)
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
        keep(root, plan, None)
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
