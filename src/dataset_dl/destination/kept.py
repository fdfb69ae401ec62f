"""All that was ever asked for in a destination, kept there as one plan."""

from __future__ import annotations

import os
from pathlib import Path

from dataset_dl.destination.lists import remember, requests
from dataset_dl.destination.paths import plan_path
from dataset_dl.errors import ManifestError
from dataset_dl.model.plan import Origin, Plan
from dataset_dl.plans.file import PlanFile, lacks_columns, open_plan


def kept_plan(destination: Path, *, checked: bool = True) -> PlanFile | None:
    """A copy of the plan that is kept in a destination; None if there is none.

    Parameters
    ----------
    destination
        Where a download went.
    checked
        Look at every row. What is only joined with a plan of today needs no look.

    Raises
    ------
    ManifestError
        If something stands there that is no plan.
    """
    path = plan_path(destination)
    if not os.path.lexists(path):
        return None
    if path.is_symlink():
        raise ManifestError(
            str(path),
            f"The plan of {destination} is a symbolic link, {path}, which is not followed.",
            "Remove it.",
        )
    if checked:
        return open_plan(path, may_be_empty=True)
    rows = PlanFile.copy_of(path)
    if lacks_columns(rows.path):
        raise ManifestError(str(path), f"{path} is not a plan: it is damaged.")
    return rows


def asked_for(destination: Path) -> PlanFile | None:
    """The same, with what was asked for in a way that a newer index may bring more of.

    Raises
    ------
    ManifestError
        If either is damaged.
    """
    rows = kept_plan(destination)
    if rows is not None:
        rows.origin = rows.origin._replace(requests=tuple(requests(destination)))
    return rows


def keep(destination: Path, plan: Plan, earlier: PlanFile | None) -> PlanFile:
    """Add a plan to what is kept in a destination that is held; returns all that is kept then.

    Parameters
    ----------
    destination
        One that `prepare` has made.
    plan
        What is asked for now.
    earlier
        What is kept so far, as `kept_plan` or this function gave it.
    """
    path = plan_path(destination)
    if earlier is None:
        set_aside_damaged(destination)
        plan.rows.save(path, _both(Origin(), plan.origin))
        rows = plan.rows
    else:
        origin = _both(earlier.origin, plan.origin)
        is_known = origin == _both(Origin(), earlier.origin)
        rows = plan.rows.joined_with(earlier) if plan.rows.is_new_to(earlier) else earlier
        if rows is not earlier or not is_known:
            rows.save(path, origin)
            rows.origin = origin
    remember(destination, plan.requests)
    return rows


def set_aside_damaged(destination: Path) -> Path | None:
    """Move what stands in place of a kept plan out of the way; returns where to, None if nothing is there."""
    path = plan_path(destination)
    if not os.path.lexists(path):
        return None
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    return aside


def _both(earlier: Origin, now: Origin) -> Origin:
    """What is missing of either; it may be skipped if that was said of all of it."""
    missing = tuple(dict.fromkeys([*earlier.missing, *now.missing]))
    left = set(earlier.missing) - set(now.missing)
    skip = (earlier.skip_missing or not left) and (now.skip_missing or not now.missing)
    template = now.file_template or earlier.file_template
    return Origin(missing=missing, skip_missing=skip, file_template=template)
