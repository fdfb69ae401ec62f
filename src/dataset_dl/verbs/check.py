"""Check a tree, and repair what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from dataset_dl.destination.records import Records, kept_plan, reading_renamed
from dataset_dl.errors import ManifestError, PlanError
from dataset_dl.model.checks import Verification
from dataset_dl.model.outcome import Report
from dataset_dl.verbs.download import run, shown, transferred
from dataset_dl.verbs.options import DownloadOptions, NetworkOptions, network_of, spelled_out
from dataset_dl.wording import counted

if TYPE_CHECKING:
    from dataset_dl.observers import Observer


@spelled_out(NetworkOptions)
def verify(
    root: str | Path,
    *,
    deep: bool = False,
    md5: bool = False,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
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
    progress, observers
        As for `download`; they get `Working` events.
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
    from dataset_dl.destination import disk
    from dataset_dl.destination.audit import audit
    from dataset_dl.destination.tree import instance_directories
    from dataset_dl.engines import chooser
    from dataset_dl.model.events import Working
    from dataset_dl.model.settings import DownloadSettings
    from dataset_dl.observers import observing
    from dataset_dl.sources.idc.expected import plan_by_name
    from dataset_dl.transfer.fleet import Fleet

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
        fleet = Fleet(chooser(DownloadSettings(), network_of(options)))
        fleet.reach(expected, expected.rows.schemes())
        objects = fleet.objects
    several = [*shown(progress, None), *observers]
    with disk.guard(tree), reading_renamed(tree) as renamed, observing(several) as show:

        def looked(series_count: int, size_bytes: int) -> None:
            show(Working(f"{counted(series_count, 'series')} looked at", size_bytes, expected.size_bytes))
            if on_progress is not None:
                on_progress(series_count, size_bytes)

        return audit(
            tree,
            expected,
            strangers=strangers,
            deep=deep,
            objects=objects,
            renamed=renamed,
            on_progress=looked,
        )


@spelled_out(DownloadOptions)
def repair(
    verification: Verification,
    *,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    **options: Unpack[DownloadOptions],
) -> Report:
    """Fetch what a verification found to be wrong, and nothing else.

    Files that were found wrong are removed and fetched again, if the store has files of their names. Files
    that do not belong there stay, and their series are in the report's failures.

    Parameters
    ----------
    verification
        From `verify`.
    progress, observers
        As for `download`.
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
    from dataset_dl.destination import disk, paths
    from dataset_dl.destination.audit import suspects

    plan, root = verification.plan, disk.absolute(verification.root)
    if plan is None:
        raise PlanError("repair", "This verification holds no plan.", "Take one that verify() returned.")
    doubtful = suspects(verification)
    wanted = plan.rows.only(sorted(doubtful)).plan(root)
    if wanted.series_count and kept_plan(root, checked=False) is None:
        # So that a later look is at all of the tree and not at what was repaired.
        paths.prepare(root)
        with Records(root) as records:
            records.keep(plan)
    several = [*shown(progress, None), *observers]
    return run(transferred(wanted, root, DownloadOptions(**options), several, doubtful))
