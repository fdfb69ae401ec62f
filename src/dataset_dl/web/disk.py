"""Calls of the page that shows downloaded trees."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from dataset_dl.destination import paths
from dataset_dl.errors import DatasetDlError
from dataset_dl.model.page import Call, Given
from dataset_dl.web.site import Site
from dataset_dl.web.trees import trees as downloaded

_MOST_CHANGES = 200


def trees(site: Site, given: Given) -> list[dict[str, Any]]:
    """List the trees that were downloaded below the directories of the page."""
    checked: dict[Path, Any] = {}
    for job in site.jobs.jobs():  # the newest first
        # One that was paused, canceled or failed has not seen all of the tree.
        if job.kind in ("verify", "repair") and job.state in ("SUCCESS", "WARNING"):
            checked.setdefault(job.destination, job)
    found = []
    for tree in downloaded(site.roots, site.jobs):
        last = checked.get(tree)
        found.append({
            "path": str(tree),
            **_summary(tree),
            "verified": None if last is None else {
                "when": last.ended, "state": last.state, "message": last.message,
            },
        })  # fmt: skip
    return found


def diff(site: Site, given: Given) -> dict[str, Any]:
    """Compare a tree with today's index."""
    import dataset_dl as dd

    found = dd.diff(site.inside(given.text("tree")))
    changes = [change._asdict() for change in found.changes]
    return {
        "is_current": found.is_current,
        "downloaded_version": found.downloaded_version,
        "idc_version": found.idc_version,
        "count": len(changes),
        "changes": changes[:_MOST_CHANGES],
    }


def _summary(tree: Path) -> dict[str, Any]:
    try:
        # A tree may have only parts of a plan.
        several = [path for files in paths.writers(tree) for path in (files.plan, files.journal)]
        found = [path.stat() for path in several if path.exists()]
        return _summarized(tree, *(stamp for each in found for stamp in (each.st_mtime_ns, each.st_size)))
    except (OSError, DatasetDlError) as error:
        return {"problem": str(error) if isinstance(error, DatasetDlError) else "It has no readable plan."}


@lru_cache(maxsize=256)
def _summarized(tree: Path, *stamps: int) -> dict[str, Any]:
    from dataset_dl.destination.records import kept_plan
    from dataset_dl.destination.reports import gather

    kept, report = kept_plan(tree, checked=False), gather(tree)
    if kept is None:
        return {"problem": "It has no readable plan."}
    plan = kept.plan(tree)
    collections: dict[str, int] = {}
    for group in kept.groups():
        name = group.collection_id or ""
        collections[name] = collections.get(name, 0) + group.series_count
    return {
        "series": plan.series_count,
        "size_bytes": plan.size_bytes,
        "idc_version": plan.idc_version,
        "collections": collections,
        "is_complete": report is not None and report.ok,
        "last_complete": None if report is None else report.complete_series,
    }


CALLS = (
    Call("disk", trees, "The trees that were downloaded."),
    Call(
        "disk/diff",
        diff,
        "What today's index has changed since a tree was downloaded.",
        {"tree": "Its path."},
    ),
)
