"""Optional tables as IDC would publish them: the columns of the published schema over made-up rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from dataset_dl.sources.idc.tables import tables

_TYPES = {"STRING": "VARCHAR", "INTEGER": "BIGINT", "FLOAT": "DOUBLE", "BOOLEAN": "BOOLEAN"}


def make(name: str, path: Path, values: Mapping[str, Sequence[object]]) -> Path:
    """Write a table to a Parquet file; columns without values are NULL."""
    count = len(next(iter(values.values())))
    columns = []
    for column in tables()[name].schema()["columns"]:
        type_name = _TYPES.get(column["type"], "VARCHAR") + ("[]" if column.get("mode") == "REPEATED" else "")
        given = values.get(column["name"], [None] * count)
        columns.append((column["name"], type_name, list(given)))
    select = ", ".join(f'unnest(?::{type_name}[]) AS "{column}"' for column, type_name, _ in columns)
    session = duckdb.connect()
    session.execute(f"CREATE TABLE made AS SELECT {select}", [given for _, _, given in columns])
    session.execute(f"COPY made TO '{path}' (FORMAT parquet)")
    return path
