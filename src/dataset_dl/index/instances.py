"""Single files of series: named, or chosen by a condition on a table that tells of each."""

from __future__ import annotations

from collections.abc import Sequence

from dataset_dl.index.database import Database, source, table_columns, tables

# By these a file is named: what DICOM calls it, and what IDC calls it.
_NAMES = ("SOPInstanceUID", "crdc_instance_uuid")
_TELLING = (*_NAMES, "SeriesInstanceUID", "instance_size")
_FILES = """
    SELECT crdc_series_uuid AS uuid, file FROM (
        SELECT SeriesInstanceUID, crdc_instance_uuid || '.dcm:' || instance_size AS file
        FROM {table} WHERE {condition}
    ) JOIN (SELECT SeriesInstanceUID, crdc_series_uuid FROM {main}) USING (SeriesInstanceUID)
"""


def is_telling(table: str) -> bool:
    """Whether a table, be it here or not, tells of each file of a series."""
    if tables()[table].parquet_path is not None:
        return set(_TELLING) <= table_columns(table).keys()
    return set(_TELLING) <= {column["name"] for column in tables()[table].schema()["columns"]}


def named(database: Database, identifiers: Sequence[str]) -> set[str]:
    """Which of some identifiers name a file."""
    found: set[str] = set()
    for table in _here():
        for name in _NAMES:
            sql = f"SELECT {name} FROM {source(table)} WHERE {name} IN (SELECT unnest($1::VARCHAR[]))"
            found.update(database.column(sql, [list(identifiers)]))
    return found


def files_named(database: Database, identifiers: Sequence[str]) -> list[tuple[str, str]]:
    """The crdc series uuid, and the file as `PlannedSeries.files` tells it, of files that are named."""
    condition = " OR ".join(f"{name} IN (SELECT unnest($1::VARCHAR[]))" for name in _NAMES)
    selects = [files_meeting(table, condition) for table in _here()]
    return list(database.run(" UNION ".join(selects), [list(identifiers)]))


def files_meeting(table: str, condition: str) -> str:
    """The same of files that meet a condition on their table, as SQL: `uuid` and `file`."""
    return _FILES.format(table=source(table), condition=condition, main=source())


def hint_of_unknown() -> str:
    """What may help where a UID is of no series and of no study; empty if nothing."""
    absent = [name for name, table in tables().items() if table.parquet_path is None and is_telling(name)]
    if not absent:
        return ""
    return (
        f" If it is a SOPInstanceUID of a slide, `dataset-dl idc indices fetch {absent[0]}` makes it known."
    )


def _here() -> list[str]:
    return [name for name, table in tables().items() if table.parquet_path is not None and is_telling(name)]
