"""Reconstruct the plan of a tree that has none, from the names of its directories."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dataset_dl.duck import Database
from dataset_dl.model.plan import Plan
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.names import check_directory
from dataset_dl.sources.idc.columns import NEEDED, ROW, sizes
from dataset_dl.sources.idc.tables import idc_version, table_sql

_SERIES_IN_NAME = re.compile(
    r"[0-9]+(?:\.[0-9]+){3,}$|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
)


def plan_by_name(directories: Iterable[str]) -> tuple[Plan, dict[str, str]]:
    """Build the plan that matches a tree.

    Parameters
    ----------
    directories
        Relative, with ``/`` between their levels. A name ends in a SeriesInstanceUID or crdc_series_uuid,
        with anything before it.

    Returns
    -------
    tuple
        The plan, with each series once, and the directories that are named after a series but not in the
        plan, each with the reason. Other directories are ignored.
    """
    named, strangers = {}, {}
    for directory in directories:
        if match := _SERIES_IN_NAME.search(directory.rsplit("/", 1)[-1]):
            if problem := check_directory(directory) or _not_text(directory):
                strangers[directory] = f"a plan cannot contain its name: {problem}"
            else:
                named[directory] = match[0]
    database = Database()
    database.run(
        "CREATE TEMP TABLE named AS"
        " SELECT unnest($1::VARCHAR[]) AS directory, unnest($2::VARCHAR[]) AS identifier",
        [list(named), list(named.values())],
    )
    of_index = f"SELECT {', '.join(NEEDED)} FROM {table_sql()}"
    # A column is searched only if a name needs it: the search takes longer than all the rest.
    kinds = {
        "SeriesInstanceUID": any("." in identifier for identifier in named.values()),
        "crdc_series_uuid": any("-" in identifier for identifier in named.values()),
    }
    called = [
        f"SELECT *, {column} AS identifier FROM ({of_index}) WHERE {column} IN (SELECT identifier FROM named)"
        for column, is_there in kinds.items()
        if is_there
    ]
    nothing = f"SELECT *, '' AS identifier FROM ({of_index}) WHERE false"
    database.run(f"CREATE TEMP TABLE called AS {' UNION ALL '.join(called) or nothing}")
    once = f"""
        SELECT DISTINCT ON (crdc_series_uuid) {ROW}, directory, {sizes(with_parts=False)},
               {idc_version()}::BIGINT AS idc_version
        FROM named JOIN called AS chosen USING (identifier) ORDER BY crdc_series_uuid, directory
    """
    plan = PlanFile.create(database, once, []).plan(None)
    known = {directory for directory, *_ in plan.rows.directories()}
    copied = set(database.column("SELECT identifier FROM called"))
    for directory, identifier in named.items():
        if directory not in known:
            is_copy = identifier in copied
            strangers[directory] = (
                "a second copy of its series" if is_copy else "the index has no such series"
            )
    return plan, strangers


def _not_text(directory: str) -> str | None:
    try:
        directory.encode()
    except UnicodeEncodeError:
        return "it is not valid text"
    return None
