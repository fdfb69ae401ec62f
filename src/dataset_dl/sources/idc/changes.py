"""Compare a download with the current index: series revised, added or withdrawn since."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dataset_dl.duck import Database
from dataset_dl.model.checks import Change
from dataset_dl.model.plan import Plan
from dataset_dl.model.selection import Request, Selection
from dataset_dl.plans.columns import COLUMNS
from dataset_dl.plans.compare import each_once
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.layout import Layout
from dataset_dl.sources.idc.columns import ADDRESS, SIZE_BYTES
from dataset_dl.sources.idc.planner import make_plan
from dataset_dl.sources.idc.tables import idc_version, main_columns, table_sql

# The rows of the index for the series of a tree; scanning the index takes longer than all the rest.
_TODAY = """
    CREATE TEMP TABLE today AS
    SELECT SeriesInstanceUID, crdc_series_uuid AS key, {address} AS address, instanceCount,
           license_short_name, source_DOI, {size_bytes} AS size_bytes, NULL::BIGINT AS estimated_bytes
    FROM {main} WHERE SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM {kept})
"""
# Rows that stay: current content; earlier content if the tree has the current one too, because then both were
# wanted; and single files of a series, because nothing maps them to files of a newer version.
_STAYS = """(kept.key = today.key OR kept.files IS NOT NULL
    OR today.key IN (SELECT key FROM {kept}))"""
_KIND = "CASE WHEN kept.files IS NULL THEN 'revised' ELSE 'files revised' END"
_CHANGING = ("key", "address", "instanceCount", "size_bytes", "estimated_bytes")
# If a directory name contains the old key, the new key replaces it.
_PLACE = "replace(kept.directory, kept.key, today.key)"


def renewed(kept: PlanFile, requests: Iterable[Request], into: Path) -> tuple[Plan, list[Change]]:
    """Plan the update of a tree to the current index, and list the changes.

    Parameters
    ----------
    kept
        The rows that were requested for the tree.
    requests
        What the tree was planned from, if known.
    into
        The directory of the tree.

    Raises
    ------
    SelectionError
        If a table that a request needs is not on this machine.

    Returns
    -------
    tuple
        The plan, which keeps the layout of the tree, and the changes, sorted by kind and collection.
    """
    database = Database()
    database.run(_TODAY.format(main=table_sql(), kept=kept.sql, address=ADDRESS, size_bytes=SIZE_BYTES))
    stays = _STAYS.format(kept=kept.sql)
    taken = {name: f"CASE WHEN {stays} THEN kept.{name} ELSE today.{name} END" for name in _CHANGING}
    taken |= {name: f"today.{name}" for name in ("license_short_name", "source_DOI")}
    taken["directory"] = f"CASE WHEN {stays} THEN kept.directory ELSE {_PLACE} END"
    taken["idc_version"] = f"CASE WHEN {stays} THEN kept.idc_version ELSE {idc_version()} END::BIGINT"
    values = ", ".join(f"{taken.get(name, f'kept.{name}')} AS {name}" for name in COLUMNS)
    known = f"SELECT {values} FROM {kept.sql} AS kept JOIN today USING (SeriesInstanceUID)"
    columns = ", ".join(COLUMNS)
    theirs = f"SELECT SeriesInstanceUID FROM {kept.sql}"
    plans = [_today(request, into) for request in requests]
    new = [f"SELECT {columns} FROM {each.sql} WHERE SeriesInstanceUID NOT IN ({theirs})" for each in plans]
    database.run(f"CREATE TEMP TABLE renewed AS {' UNION ALL '.join([known, *new])}")
    rows = PlanFile.create(database, each_once("SELECT * FROM renewed"), [])
    return rows.plan(into), _changes(database, kept, rows)


def _today(request: Request, into: Path) -> PlanFile:
    """The rows that a request selects in the current index; there may be none."""
    layout = Layout.parse(request.layout, main_columns())
    identifiers, where, _, *related = request
    selection = Selection(identifiers, where, *related)
    rows = make_plan(selection, layout, into=into, optional=frozenset(identifiers), may_be_empty=True).rows
    assert isinstance(rows, PlanFile)
    return rows


def _changes(database: Database, kept: PlanFile, rows: PlanFile) -> list[Change]:
    identity = "collection_id, PatientID, SeriesInstanceUID, Modality, directory"
    there = identity.replace("directory", _PLACE)
    known = f"SELECT SeriesInstanceUID FROM {kept.sql}"
    sql = f"""
        SELECT 'added' AS change, {identity}, key, NULL AS earlier, instanceCount, size_bytes
        FROM {rows.sql} WHERE SeriesInstanceUID NOT IN ({known})
        UNION ALL
        SELECT {_KIND}, {there}, today.key, kept.key, today.instanceCount,
               today.size_bytes
        FROM {kept.sql} AS kept JOIN today USING (SeriesInstanceUID)
        WHERE kept.key <> today.key
        AND today.key NOT IN (SELECT key FROM {kept.sql})
        UNION ALL
        SELECT 'withdrawn', {identity}, NULL, key, instanceCount, size_bytes
        FROM {kept.sql} WHERE SeriesInstanceUID NOT IN (SELECT SeriesInstanceUID FROM today)
        ORDER BY 1, 2, directory
    """
    return list(map(Change._make, database.run(sql)))
