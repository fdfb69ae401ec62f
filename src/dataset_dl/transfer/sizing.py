"""Find files and bytes that a plan lacks: from earlier downloads, else from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination import paths
from dataset_dl.destination.reading import pinned_sizes
from dataset_dl.destination.records import kept_plan
from dataset_dl.destination.tree import batches
from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import ManifestError
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import USUAL_INSTANCES, PlannedSeries, Size, StoredObject
from dataset_dl.plans.compare import compare, size_of_named
from dataset_dl.transfer.fleet import Fleet

_UNLISTED = "the store does not list its files, or did not answer"


class Sized(NamedTuple):
    """A plan with all sizes that can be known before fetching.

    `unlisted` are series that the store does not have in full, each with the reason; the plan omits them.
    """

    plan: Plan
    unlisted: list[tuple[PlannedSeries, str]]


def sized(plan: Plan, destination: Path, fleet: Fleet, part: str) -> Sized:
    """Add missing sizes to a plan; rows that only an engine can count while fetching stay as they are."""
    if not plan.unsized_series:
        return Sized(plan, [])
    sizes = dict(_known(plan, destination, part))
    left = [series for series in plan.rows.unsized() if series.key not in sizes]
    lacking: list[tuple[PlannedSeries, str]] = []
    for engine, several in _by_engine(left, fleet):
        if engine.lists_objects:
            for batch in batches(several, lambda _: USUAL_INSTANCES):
                stored = engine.objects(batch)
                for series in batch:
                    size, reason = _size_of(series, stored.get(series.key, ()))
                    if size is not None:
                        sizes[series.key] = size
                    else:
                        lacking.append((series, reason))
    if not sizes and not lacking:
        return Sized(plan, [])
    rows = plan.rows.sized(sizes, without=[series.key for series, _ in lacking])
    return Sized(replace(rows.plan(plan.into), origin=plan.origin), lacking)


def _known(plan: Plan, destination: Path, part: str) -> Mapping[str, Size]:
    """Return the sizes that earlier downloads into the destination have found."""
    try:
        kept = kept_plan(destination, checked=False)
    except ManifestError:
        kept = None
    known = dict(compare(plan.rows, kept).sizes) if kept is not None else {}
    pinned = pinned_sizes(paths.files_of(destination, part).journal)
    for series in plan.rows.unsized():
        size = pinned.get(series.key)
        if size is not None and series.files is not None and size.files is not None:
            # A series of an archive may have grown since.
            size = size_of_named(series.files, size.files)
        elif size is not None and (series.files is None) != (size.files is None):
            size = None
        if size is not None:
            known.setdefault(series.key, size)
    return known


def _by_engine(
    several: Iterable[PlannedSeries], fleet: Fleet
) -> Iterable[tuple[Engine, list[PlannedSeries]]]:
    by_scheme: dict[str, list[PlannedSeries]] = {}
    for series in several:
        by_scheme.setdefault(series.scheme, []).append(series)
    return [(fleet.of(same[0]), same) for same in by_scheme.values()]


def _size_of(series: PlannedSeries, stored: Iterable[StoredObject]) -> tuple[Size | None, str]:
    """Return the exact size by the store's list, or the reason why there is none."""
    there = {each.name: each.size_bytes for each in stored}
    wanted = series.wanted() or there
    absent = sorted(wanted.keys() - there.keys())
    if wanted and not absent:
        return Size.of({name: there[name] for name in wanted}, named=series.files is not None), ""
    if there:
        return None, f"the store has no {absent[0]}; {len(absent):,} files are lacking"
    return None, _UNLISTED
