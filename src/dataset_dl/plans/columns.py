"""The columns of a plan, and SQL that builds its `files`."""

from __future__ import annotations

import re

from dataset_dl.model.series import PlannedSeries

COLUMNS = (*PlannedSeries._fields, "idc_version")
# The columns that hold the size of a series.
SIZES = ("instanceCount", "size_bytes", "files", "estimated_bytes")
TYPES = dict.fromkeys(("instanceCount", "size_bytes", "estimated_bytes", "idc_version"), "BIGINT")
# `PlannedSeries.files` of IDC, and as any source may write it.
FILES = re.compile(r"{0}(/{0})*".format(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.dcm:[0-9]*"))
NAMED_FILES = re.compile(r"{0}(/{0})*".format(r"[^/:]+:[0-9]*"))


def type_of(column: str) -> str:
    """The DuckDB type of a column."""
    return TYPES.get(column, "VARCHAR")


def parts(select: str) -> str:
    """SQL that aggregates files, given as `key` and `file` (``NAME:BYTES``), into the `files` format.

    Its rows have `key` and the columns of `SIZES`. If the size of one file is unknown, instanceCount and
    size_bytes are NULL.
    """
    return f"""
        SELECT key, string_agg(name || ':' || coalesce(size::VARCHAR, ''), '/' ORDER BY name) AS files,
               CASE WHEN count(size) = count(*) THEN count(*) END AS instanceCount,
               CASE WHEN count(size) = count(*) THEN sum(size)::BIGINT END AS size_bytes,
               CASE WHEN count(size) < count(*) THEN sum(size)::BIGINT END AS estimated_bytes
        FROM (SELECT key, split_part(file, ':', 1) AS name,
                     max(TRY_CAST(split_part(file, ':', 2) AS BIGINT)) AS size
              FROM ({select}) GROUP BY ALL)
        GROUP BY key
    """


def of_part(part: str, whole: str) -> str:
    """SQL for the columns of `SIZES`: from the table `part` if it has the series, else from `whole`."""
    return ", ".join(
        f"CASE WHEN {part}.key IS NULL THEN {whole}.{name} ELSE {part}.{name} END AS {name}" for name in SIZES
    )
