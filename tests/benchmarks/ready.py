"""How soon an answer is there, from the start of the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dataset_dl as dd
from benchmarks import measure
from benchmarks.measure import Row
from dataset_dl.sources.idc.tables import tables

_DUCKDB = """
import duckdb
for row in duckdb.connect().execute('''
    SELECT collection_id, count(*), sum(instanceCount), sum(series_size_MB) FROM '{index}' GROUP BY 1 ORDER BY 1''').fetchall():
    print(*row, sep=',')
"""
_IDC_INDEX = """
from idc_index import IDCClient
client = IDCClient()
print(client.collection_summary.to_csv())
"""
_ONE = """
import duckdb
duckdb.connect().execute('''
    COPY (SELECT collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, license_short_name, source_DOI,
                 crdc_series_uuid, series_aws_url, instanceCount, series_size_MB
          FROM '{index}' WHERE SeriesInstanceUID = '{uid}') TO '{to}' (FORMAT parquet)''')
"""


def rows(peers: Path, root: Path, *, times: int) -> Iterator[Row]:
    """Collections, help, import, and the plan of one series."""
    index = tables()["idc_index"].parquet_path
    program = ["-m", "dataset_dl"]
    ours, bare = measure.repeat(
        times,
        lambda: measure.python([*program, "idc", "collections", "--format", "csv"]),
        lambda: measure.python(["-c", _DUCKDB.format(index=index)]),
    )
    yield Row("collections listed", "seconds", ours.seconds, bare.seconds, "DuckDB alone", 1.0)
    yield Row("collections listed", "MB resident", ours.peak_mb, bare.peak_mb, "DuckDB alone")
    theirs = measure.repeat(2, lambda: measure.python(["-c", _IDC_INDEX], interpreter=peers))[0]
    yield Row("collections listed", "seconds", ours.seconds, theirs.seconds, "idc-index", 1 / 20)
    yield Row("collections listed", "MB resident", ours.peak_mb, theirs.peak_mb, "idc-index", 1 / 12)
    told, imported, nothing = measure.repeat(
        times,
        lambda: measure.python([*program, "--help"]),
        lambda: measure.python(["-c", "import dataset_dl"]),
        lambda: measure.python(["-c", "pass"]),
    )
    yield Row("dataset-dl --help", "seconds", told.seconds, 0.2, "fixed", 1.0)
    yield Row("import dataset_dl", "seconds more", imported.seconds - nothing.seconds, 0.1, "fixed", 1.0)
    uid = dd.query("SELECT SeriesInstanceUID AS uid FROM idc_index LIMIT 1 OFFSET 777777").uid[0]
    ours, bare = measure.repeat(
        times,
        lambda: measure.python([*program, "idc", "manifest", uid, "-o", root / "one.parquet", "--force"]),
        lambda: measure.python(["-c", _ONE.format(index=index, uid=uid, to=root / "two.parquet")]),
    )
    yield Row("one series by UID saved as a plan", "seconds", ours.seconds, 0.5, "fixed", 1.0)
    yield Row("one series by UID saved as a plan", "seconds", ours.seconds, bare.seconds, "DuckDB alone")
