"""Single files of series: named, or selected by a condition on a table with a row per file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dataset_dl.duck import Database
from dataset_dl.sources.idc.tables import table_columns, table_sql, tables

# Columns that identify a file: its DICOM name and its IDC name.
_NAMES = ("SOPInstanceUID", "crdc_instance_uuid")
_REQUIRED = (*_NAMES, "SeriesInstanceUID", "instance_size")
_FILES = f"""
    SELECT {", ".join(_NAMES)}, crdc_series_uuid AS key, file FROM (
        SELECT {", ".join(_NAMES)}, SeriesInstanceUID,
               crdc_instance_uuid || '.dcm:' || coalesce(instance_size::VARCHAR, '') AS file
        FROM {{table}} WHERE {{condition}}
    ) JOIN (SELECT SeriesInstanceUID, crdc_series_uuid FROM {{main}}) USING (SeriesInstanceUID)
"""


class NamedFile(NamedTuple):
    """A named file: its identifier as given, its crdc_series_uuid, and its part of `PlannedSeries.files`."""

    identifier: str
    crdc_series_uuid: str
    file: str


def lists_files(table: str) -> bool:
    """Whether a table, on this machine or not, lists the single files of series."""
    if tables()[table].parquet_path is not None:
        return set(_REQUIRED) <= table_columns(table).keys()
    return set(_REQUIRED) <= {column["name"] for column in tables()[table].schema()["columns"]}


def named(database: Database, identifiers: Sequence[str]) -> list[NamedFile]:
    """The files of the current index that the identifiers name."""
    lowered = {each.lower(): each for each in identifiers}
    found = []
    condition = " OR ".join(f"{name} IN (SELECT unnest($1::VARCHAR[]))" for name in _NAMES)
    for table in tables():
        if tables()[table].parquet_path is not None and lists_files(table):
            for *names, uuid, file in database.run(_files(table, condition), [list(lowered)]):
                found += [NamedFile(lowered[name], uuid, file) for name in names if name in lowered]
    return found


def meeting(table: str, condition: str) -> str:
    """SQL for `key` and `file` of the current files whose row in a table meets a condition."""
    return f"SELECT key, file FROM ({_files(table, condition)})"


def hint_of_unknown() -> str:
    """A hint for a UID that matches no series and no study; empty if no table is left to fetch."""
    absent = [name for name, table in tables().items() if table.parquet_path is None and lists_files(name)]
    if not absent:
        return ""
    return f" If it is a SOPInstanceUID of a slide, run `dataset-dl idc indices fetch {absent[0]}` first."


def _files(table: str, condition: str) -> str:
    return _FILES.format(table=table_sql(table), condition=condition, main=table_sql())
