"""The public verbs, composed from the rooms below."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, cast

from dataset_dl.errors import PlanError, SelectionError, SelectionWarning
from dataset_dl.manifest.commands import Places
from dataset_dl.model.plan import DEFAULT_LAYOUT, Plan
from dataset_dl.model.selection import Condition, Selection, conditions
from dataset_dl.plans.layout import Layout
from dataset_dl.sources import named as sources
from dataset_dl.sources.idc import tables
from dataset_dl.sources.idc.planner import make_plan
from dataset_dl.store.addresses import KNOWN_BUCKETS
from dataset_dl.verbs.options import DEFAULTS, PlanOptions, spelled_out

# A table of pandas, polars or Arrow, none of which is imported here.
Table = Any
_log = logging.getLogger("dataset_dl")
_log.addHandler(logging.NullHandler())  # whoever wants to hear it says so
_NAMED_AT_MOST = 5
# Windows takes 259 characters; the name of an instance and s5cmd's temporary figures need 51.
_WINDOWS_PATH_CHARACTERS = 259
_NAME_CHARACTERS = 51


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
        from dataset_dl.observers.log import planned

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
        Layout.parse(layout or DEFAULT_LAYOUT, tables.main_columns()),
        entries=entries,
        into=destination,
        path_limit=path_limit(destination),
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
            yield f"Left out of {account.read_from}: {sentence}."
    if strange := [each for each in named.buckets if each.lower() not in KNOWN_BUCKETS]:
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
    from dataset_dl.destination.disk import absolute

    return absolute(into)


def path_limit(destination: Path | None) -> int | None:
    """Characters that a directory below a destination may have; None where the system sets no bound."""
    if os.name != "nt":
        return None
    length = len(os.path.abspath(destination)) if destination is not None else 100
    return _WINDOWS_PATH_CHARACTERS - _NAME_CHARACTERS - length - 1
