"""Plan: what to download, and where each series goes."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, cast

from dataset_dl.doors import SOURCES
from dataset_dl.errors import PlanError, SelectionError, SelectionWarning
from dataset_dl.manifest.commands import Places
from dataset_dl.model.plan import DEFAULT_LAYOUT, Origin, Plan
from dataset_dl.model.selection import Condition, Selection, conditions
from dataset_dl.model.series import PlannedSeries, scheme_of
from dataset_dl.plans.compare import joined
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.layout import Layout
from dataset_dl.plans.names import shorten
from dataset_dl.sources import named
from dataset_dl.sources.idc import tables
from dataset_dl.sources.idc.columns import IDENTITY
from dataset_dl.sources.idc.planner import make_plan
from dataset_dl.store.addresses import KNOWN_BUCKETS
from dataset_dl.verbs.options import DEFAULTS, PlanOptions, spelled_out
from dataset_dl.wording import counted, first_few

# A table of pandas, polars or Arrow, none of which is imported here.
Table = Any
log = logging.getLogger("dataset_dl")
log.addHandler(logging.NullHandler())  # silent until the application configures logging
# Windows allows paths of 259 characters; the file name of an instance with s5cmd's temporary suffix needs 51.
_WINDOWS_PATH_CHARACTERS = 259
_NAME_CHARACTERS = 51


@spelled_out(PlanOptions)
def plan(
    what: str | Path | Iterable[str | Path] | Table = (),
    /,
    *,
    into: str | Path | None = None,
    **options: Unpack[PlanOptions],
) -> Plan:
    """Decide what to download and where each series goes; nothing is fetched.

    Parameters
    ----------
    what
        One or several identifiers, in any mix: collections (in any spelling, or a pattern like ``tcga_*``),
        patients, studies, series, crdc series uuids, analysis results, DOIs, addresses of the portal or the
        viewer, or single files by SOPInstanceUID. Also paths of manifests, lists of identifiers and saved
        plans, or a pandas, polars or Arrow table with a column of identifiers. An address like
        ``SCHEME://…`` goes to the source installed for that scheme.
    into
        The destination, stored in the plan for `download`.
    **options
        See `PlanOptions`.

    Returns
    -------
    Plan
        Its ``notes`` list what matched nothing or was left out.

    Raises
    ------
    SelectionError
        If an identifier or a column is unknown, nothing is selected, a table is not on this machine, or the
        tables do not record what the version held.
    PlanError
        If the layout or a manifest is invalid.
    """
    began = time.monotonic()
    destination = _absolute(into) if into is not None else None
    places = Places(destination, ignored=options.get("layout") is not None)
    made, are_typed = plan_quietly(what, places, options)
    notes = [*made.notes, *(_notes_on_excluded(made) if are_typed else ())]
    for note in notes:
        warnings.warn(note, SelectionWarning, stacklevel=3)
    if log.isEnabledFor(logging.INFO):
        from dataset_dl.observers.log import planned

        planned(made, time.monotonic() - began)
    return made


def plan_quietly(what: Any, places: Places, options: PlanOptions) -> tuple[Plan, bool]:
    """Make a plan without warnings; also return whether its contents were named one by one, not by a file."""
    destination = places.destination
    chosen = conditions(options.get("where"))
    if options.get("original_only"):
        chosen = (*chosen, Condition("analysis_result_id", "=", ("",)))
    _check_counts(options)
    is_one = isinstance(what, str | Path) or named.is_table(what) or not isinstance(what, Iterable)
    found = named.read([what] if is_one else cast(Iterable[Any], what), places)
    if options.get("idc_version") is not None and (found.plans or found.entries):
        raise SelectionError(
            f"v{options['idc_version']}",
            "A manifest names series of the IDC versions that it was made for, so another version cannot be"
            " chosen; nothing was started.",
            "Leave the IDC version out, or give identifiers.",
        )
    origin = found.origin
    origin = origin._replace(notes=(*origin.notes, *_notes_on(found)))
    if options.get("skip_missing"):
        origin = origin._replace(skip_missing=True)
    narrowing = ("with_references", "with_annotations", "limit", "sample")
    is_narrowed = bool(chosen or options.get("layout") is not None or any(map(options.get, narrowing)))
    if found.only_plan is not None and not is_narrowed:
        origin = origin._replace(cut=found.only_plan.origin.cut)
        return replace(found.only_plan.plan(destination), origin=origin), False
    others = _of_other_sources(found, destination, options, is_chosen=bool(chosen))
    if others is not None and not (found.names_idc or chosen):
        return replace(others.plan(destination), origin=origin), True
    made = _of_idc(found, chosen, origin, destination, options)
    if (rest_from := options.get("rest_from")) is not None:
        made = _with_rest(made, rest_from, found.servers, destination, options)
    if others is not None:
        made = replace(joined(others, made.rows).plan(destination), origin=made.origin)
    return made, not (found.entries or found.plans or found.accounts)


def _of_idc(
    found: named.Named,
    chosen: tuple[Condition, ...],
    origin: Origin,
    destination: Path | None,
    options: PlanOptions,
) -> Plan:
    """Make the plan of everything that the tables of IDC list."""
    layout, skip = options.get("layout"), options.get("skip_missing")
    entries = found.all_entries()
    if layout is not None:
        entries = [entry._replace(directory=None) for entry in entries]
        origin = origin._replace(file_template="")
    if not found.names_idc and not chosen:
        raise SelectionError(
            "", "Nothing was asked for.", "Name a collection, a patient, a study, a series or a manifest."
        )
    identifiers = tuple(dict.fromkeys([*found.identifiers, *found.optional]))
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
        Layout.parse(layout or DEFAULT_LAYOUT, tables.main_columns()),
        entries=entries,
        into=destination,
        path_limit=path_limit(destination),
        version=options.get("idc_version"),
        optional=frozenset(identifiers if skip or options.get("rest_from") else found.optional),
        only_series=frozenset(found.optional),
        strict=bool(options.get("strict")),
        origin=origin._replace(requests=requests),
    )
    # A saved plan accepts only what was missing when it was made, and nothing else that is missing now.
    is_accepted = bool(skip) or (origin.skip_missing and made.missing == origin.missing)
    return replace(made, origin=made.origin._replace(skip_missing=is_accepted))


def _of_other_sources(
    found: named.Named, destination: Path | None, options: PlanOptions, *, is_chosen: bool
) -> PlanFile | None:
    """Lay out the rows that other sources return for their addresses; None if no address was named."""
    if not found.addresses:
        return None
    if is_chosen:
        raise SelectionError(
            found.addresses[0],
            f"Conditions apply to the tables of IDC, which do not contain {found.addresses[0]};"
            " nothing was started.",
            "Leave the conditions out.",
        )

    def rows() -> Iterator[PlannedSeries]:
        for address in found.addresses:
            source = SOURCES.find(scheme_of(address))
            assert source is not None, "reading the address has found its source"
            yield from source.rows(address)

    return _laid_out(rows(), destination, options)


def _with_rest(
    made: Plan, name: str, servers: tuple[str, ...], destination: Path | None, options: PlanOptions
) -> Plan:
    """Add the series that IDC lacks and another source has."""
    source: Any = SOURCES.find(name)
    if not hasattr(source, "rest"):
        raise SelectionError(
            name, f"No installed source “{name}” gives series that IDC lacks; nothing was started."
        )
    if not made.missing:
        return made
    there = _laid_out(source.rest(made.missing, servers), destination, options)
    known = {str(row.SeriesInstanceUID) for row in there}
    if not known:
        return replace(made, origin=made.origin._replace(also_asked=name))
    missing = tuple(each for each in made.missing if each not in known)
    of_idc = f"; {made.series_count:,} come from IDC ({_licences(made.rows)})" if made.series_count else ""
    note = f"{counted(len(known), 'series')} that IDC lacks come from {name} ({_licences(there)}){of_idc}."
    origin = made.origin._replace(missing=missing, notes=(*made.notes, note), also_asked=name)
    return replace(joined(there, made.rows).plan(destination), origin=origin, idc_version=made.idc_version)


def _licences(rows: PlanFile) -> str:
    names = dict.fromkeys(share.license_short_name or "licence unknown" for share in rows.shares())
    return first_few(sorted(names))


def _laid_out(several: Iterable[PlannedSeries], destination: Path | None, options: PlanOptions) -> PlanFile:
    """Return rows of other sources as a plan; those without a directory get the one of the layout."""
    layout = Layout.parse(options.get("layout") or DEFAULT_LAYOUT, IDENTITY)
    limit = path_limit(destination)

    def rows() -> Iterator[PlannedSeries]:
        for series in several:
            if series.directory:
                yield series
                continue
            directory = layout.directory({name: getattr(series, name) for name in layout.columns})
            yield series._replace(directory=directory if limit is None else shorten(directory, limit))

    return PlanFile.of(rows(), Origin(file_template=layout.file_template))


def _check_counts(options: PlanOptions) -> None:
    counts = {"limit": options.get("limit"), "sample": options.get("sample")}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise PlanError(name, f"{name} is {count!r}; it must be a whole number of at least 1.")
    if None not in counts.values():
        raise PlanError(
            "sample", "Series are either limited or sampled, not both; nothing was planned.", "Choose one."
        )


def _notes_on(found: named.Named) -> Iterator[str]:
    """Yield notes on rows of files that were left out, and on buckets that are not IDC's."""
    for account in found.accounts:
        for sentence in account.left_out:
            yield f"Left out of {account.read_from}: {sentence}."
    if strange := [each for each in found.buckets if each.lower() not in KNOWN_BUCKETS]:
        yield (
            f"The bucket {strange[0]} is not one of IDC's"
            + (f" (the first of {len(strange):,})" if len(strange) > 1 else "")
            + ": the series are fetched from the buckets that the index lists."
        )


def _notes_on_excluded(made: Plan) -> Iterator[str]:
    if made.excluded:
        yield f"No series of {first_few(made.excluded)} meets the conditions."


def _absolute(into: str | Path) -> Path:
    from dataset_dl.destination.disk import absolute

    return absolute(into)


def path_limit(destination: Path | None) -> int | None:
    """Return how many characters a directory below a destination may have; None if there is no limit."""
    if os.name != "nt":
        return None
    length = len(os.path.abspath(destination)) if destination is not None else 100
    return _WINDOWS_PATH_CHARACTERS - _NAME_CHARACTERS - length - 1
