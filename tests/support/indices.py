"""Optional tables in the form that IDC publishes: the columns of the published schema, made-up rows."""

from __future__ import annotations

import importlib.util
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


def narrowed(uuids: Sequence[str], home: Path, also: str = "false") -> Path:
    """Create the package of tables in `home`, with an index of only `uuids` and the series that match `also`."""
    spec = importlib.util.find_spec("idc_index_data")
    assert spec is not None
    assert spec.origin is not None
    real, package = Path(spec.origin).parent, home / "idc_index_data"
    package.mkdir()
    for file in real.iterdir():
        if file.name not in ("idc_index.parquet", "__pycache__"):
            (package / file.name).symlink_to(file)
    listed = ", ".join(f"'{each}'" for each in uuids)
    duckdb.connect().execute(
        f"COPY (FROM '{real}/idc_index.parquet' WHERE crdc_series_uuid IN ({listed}) OR ({also}))"
        f" TO '{package}/idc_index.parquet' (FORMAT parquet)"
    )
    return home
