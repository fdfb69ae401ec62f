"""What a tree should hold when it has no plan: told from the names of its directories."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dataset_dl.index.database import Database, idc_version, source
from dataset_dl.index.plan_file import PlanFile
from dataset_dl.model import Plan, PlannedSeries

_SERIES_IN_NAME = re.compile(
    r"[0-9]+(?:\.[0-9]+){3,}$|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
)


def plan_by_name(directories: Iterable[str]) -> tuple[Plan, list[str]]:
    """The plan that a tree would have been made from.

    Parameters
    ----------
    directories
        Relative, with ``/`` between their parts. A name may have anything before the SeriesInstanceUID
        or crdc series uuid that it ends in.

    Returns
    -------
    tuple
        The plan, and the directories that are named after a series which the index does not hold. Those
        that are not named after a series are left out.
    """
    named = {}
    for directory in directories:
        if match := _SERIES_IN_NAME.search(directory.rsplit("/", 1)[-1]):
            named[directory] = match[0]
    columns = ", ".join(PlannedSeries._fields[:8])
    found = f"""
        SELECT {columns}, directory, instanceCount, round(series_size_MB * 1e6)::BIGINT AS size_bytes,
               {idc_version()}::BIGINT AS idc_version
        FROM (SELECT unnest($1::VARCHAR[]) AS directory, unnest($2::VARCHAR[]) AS identifier)
        JOIN {source()} ON identifier =
    """
    # One join over either column would compare each directory with each series.
    held = f"{found} SeriesInstanceUID UNION ALL {found} crdc_series_uuid ORDER BY directory"
    plan = PlanFile.create(Database(), held, [list(named), list(named.values())]).plan(None)
    known = {directory for directory, *_ in plan.rows.directories()}
    return plan, sorted(named.keys() - known)
