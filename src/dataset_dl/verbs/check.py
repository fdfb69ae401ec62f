"""Verify a tree and repair it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from dataset_dl.destination.records import Records, kept_plan, reading_renamed, reading_used
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
    """Compare a tree with the plan kept in it, or with the index if it keeps none.

    Without a plan, each directory whose name ends in a SeriesInstanceUID or a crdc series uuid is
    looked up in the index, so trees downloaded by other tools can be verified too.

    Parameters
    ----------
    root
        The directory to verify.
    deep
        Also read the header of each file and compare its UIDs with the plan.
    md5
        Also compare each file with the store's checksum.
    progress, observers
        As for `download`; observers receive `Working` events.
    on_progress
        Called with the number of series and of bytes checked so far.
    **options
        How to reach the store for its checksums, see `NetworkOptions`.

    Returns
    -------
    Verification
        ``ok``, the totals, and every directory or file that deviates. `repair` fetches what is wrong.

    Raises
    ------
    ManifestError
        If `root` is not a directory, or has no plan and no directory named after a series.
    NetworkError
        If `md5` is set and the store does not answer.
    """
    from dataset_dl.destination import disk
    from dataset_dl.destination.audit import audit
    from dataset_dl.destination.tree import instance_directories
    from dataset_dl.engines.choice import chooser
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
    with (
        disk.guard(tree),
        reading_renamed(tree) as renamed,
        reading_used(tree) as used,
        observing(several) as show,
    ):

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
            used=used,
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
    """Fetch what a verification found wrong, and nothing else.

    Wrong files are removed and fetched again if the store has files of the same names. Files that do not
    belong in the tree stay, and their series are in the report's failures.

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
        Covers the series that were wrong; check its ``failures``.

    Raises
    ------
    DatasetDlError
        As for `download`, except that failed series do not raise.
    """
    from dataset_dl.destination import disk, paths
    from dataset_dl.destination.audit import suspects

    plan, root = verification.plan, disk.absolute(verification.root)
    if plan is None:
        raise PlanError("repair", "This verification holds no plan.", "Pass one that verify() returned.")
    doubtful = suspects(verification)
    wanted = plan.rows.only(sorted(doubtful)).plan(root)
    if wanted.series_count and kept_plan(root, checked=False) is None:
        # Keep the whole plan: otherwise a later verify would cover only the repaired series.
        paths.prepare(root)
        with Records(root) as records:
            records.keep(plan)
    several = [*shown(progress, None), *observers]
    return run(transferred(wanted, root, DownloadOptions(**options), several, doubtful))
