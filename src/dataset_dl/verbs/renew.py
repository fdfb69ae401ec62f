"""Compare a downloaded tree with today's index, and bring it up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from dataset_dl.destination import disk
from dataset_dl.destination.records import Records, kept_plan, kept_with_requests, reading_used
from dataset_dl.destination.tree import batches, instances
from dataset_dl.engines.choice import chooser
from dataset_dl.errors import ManifestError, NetworkError
from dataset_dl.model.checks import Difference
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import Origin, Plan
from dataset_dl.model.series import PlannedSeries, StoredObject
from dataset_dl.sources.idc.changes import renewed
from dataset_dl.sources.idc.tables import idc_version
from dataset_dl.transfer.fleet import Fleet
from dataset_dl.transfer.naming import Naming
from dataset_dl.verbs.download import download
from dataset_dl.verbs.options import DownloadOptions, network_of, settings_of, spelled_out

if TYPE_CHECKING:
    from dataset_dl.observers import Observer

_OUTDATED = ("revised", "withdrawn")


@spelled_out()
def diff(root: str | Path) -> Difference:
    """List the series that today's index has revised, added or withdrawn since a tree was downloaded.

    Parameters
    ----------
    root
        The destination of a download. Nothing in it is changed, and no request is made.

    Returns
    -------
    Difference
        Every change; `update` brings the tree up to date.

    Raises
    ------
    ManifestError
        If no download went there.
    """
    tree = disk.absolute(root)
    if not tree.is_dir():
        raise ManifestError(str(tree), f"There is no directory {tree}.")
    kept = kept_with_requests(tree)
    if kept is None:
        raise ManifestError(
            str(tree),
            f"{tree} holds no plan, so the versions of its series are unknown.",
            "Give the destination of a dataset-dl download.",
        )
    requests = kept.origin.requests
    plan, changes = renewed(kept, requests, tree)
    plan = replace(plan, origin=Origin(file_template=kept.origin.file_template))
    totals = kept.plan(tree)
    return Difference(
        root=tree,
        series_count=totals.series_count,
        downloaded_version=totals.idc_version,
        idc_version=idc_version(),
        changes=tuple(changes),
        knows_request=bool(requests),
        plan=plan,
    )


@spelled_out(DownloadOptions)
def update(
    difference: Difference,
    *,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    **options: Unpack[DownloadOptions],
) -> Report:
    """Bring a tree up to date: fetch what is newer or was added, and set aside what is outdated.

    Unchanged files are not touched, not even those of revised series. Files that a newer version no longer
    has, and files of withdrawn series, are moved below ``.dataset-dl/replaced`` in the tree, for you to check
    and remove.

    Parameters
    ----------
    difference
        From `diff`.
    progress, observers
        As for `download`.
    **options
        As for `download`.

    Returns
    -------
    Report
        Covers everything that the tree should hold; check its ``failures``.

    Raises
    ------
    DatasetDlError
        As for `download`, except that failed series do not raise.
    """
    root = difference.root
    if not difference.is_current:
        with disk.guard(root), Records(root) as records:
            # Another download may have changed the tree since.
            difference = diff(root)
            _make_way(difference, records, options)
    plan = _without_used(difference.plan, root)
    return download(plan, progress=progress, observers=observers, check=False, **options)


def _without_used(plan: Plan, root: Path) -> Plan:
    """Leave out series that were delivered and removed: they are up to date, wherever they went."""
    with reading_used(root) as is_used:
        keys = [row.key for row in plan if not is_used(row)]
    if len(keys) == plan.series_count:
        return plan
    return replace(plan.rows.of_keys(keys).plan(root), origin=plan.origin)


def _make_way(difference: Difference, records: Records, options: DownloadOptions) -> None:
    """Set aside outdated files, and store the new plan."""
    root, kept, journal = difference.root, kept_plan(difference.root), records.journal
    assert kept is not None, "a difference is made from a kept plan"
    new = [each for each in difference.changes if each.change in ("added", "revised")]
    size_bytes = sum(each.size_bytes or 0 for each in new)
    disk.check_space(root, size_bytes, sum(each.instanceCount or 0 for each in new))
    outdated = {each.earlier_crdc_series_uuid for each in difference.changes if each.change in _OUTDATED}
    earlier = [series for series in kept if series.key in outdated]
    if not earlier:
        return
    fleet = Fleet(chooser(settings_of(options), network_of(options)))
    shared = {directory for directory, count, *_ in kept.directories() if count > 1}
    naming = Naming("", root, journal)
    for series in earlier:
        naming.take_back(series)
    for series, names, stay in _obsolete(earlier, difference.plan, fleet):
        gone: Iterable[str] = names
        if not names:  # the store no longer lists them
            gone = journal.names(series) or ()
        if not gone and series.directory not in shared and _is_called_like(series):
            gone = [entry.name for entry in instances(root / series.directory)]
        _set_aside(root, records.files.replaced, series.directory, {*gone} - stay)
        journal.forget(series)
    difference.plan.rows.save(records.files.plan, kept.origin)


def _is_called_like(series: PlannedSeries) -> bool:
    return any(name and name in series.directory for name in (series.SeriesInstanceUID, series.key))


def _obsolete(
    earlier: list[PlannedSeries], plan: Plan, fleet: Fleet
) -> Iterator[tuple[PlannedSeries, set[str], set[str]]]:
    """Yield each earlier series, the names of its files, and the names that stay for its newer version."""
    wanted = {series.SeriesInstanceUID for series in earlier}
    today = {series.SeriesInstanceUID: series for series in plan if series.SeriesInstanceUID in wanted}
    for batch in batches(earlier, lambda series: max(series.expected_instances, 1)):
        newer = [today[series.SeriesInstanceUID] for series in batch if series.SeriesInstanceUID in today]
        stored = fleet.objects([*batch, *newer])
        if silent := [series for series in newer if series.key not in stored]:
            raise NetworkError(
                str(silent[0].address),
                f"The store does not list the new version of {len(silent):,} series, so they were"
                " left as they are; nothing was fetched.",
                "Run the same command again later.",
            )
        for series in batch:
            newest = today.get(series.SeriesInstanceUID)
            names = {*(series.wanted() or ())} or _names(stored, series)
            stays = newest is not None and newest.directory == series.directory
            yield series, names, _names(stored, newest) if newest is not None and stays else set()


def _names(stored: Mapping[str, list[StoredObject]], series: PlannedSeries) -> set[str]:
    return {each.name for each in stored.get(series.key, ())}


def _set_aside(root: Path, replaced: Path, directory: str, names: Iterable[str]) -> None:
    """Move files out of the way, and remove the directories that are then empty."""
    disk.Cage(root).check(directory)
    aside = replaced / directory
    for name in names:
        if (root / directory / name).is_file():
            aside.mkdir(parents=True, exist_ok=True)
            (root / directory / name).replace(aside / name)
    for level in [root / directory, *(root / directory).parents]:
        if level == root or not level.is_dir() or any(level.iterdir()):
            return
        level.rmdir()
