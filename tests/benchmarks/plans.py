"""Plans of very many series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Row
from dataset_dl.sources.idc.tables import tables

_DIRECTORY = "collection_id || '/' || PatientID || '/' || StudyInstanceUID || '/' || Modality || '_' || SeriesInstanceUID"
_ROWS = f"""
import duckdb
duckdb.connect().execute('''
    COPY (SELECT collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, license_short_name, source_DOI,
                 crdc_series_uuid, series_aws_url, {_DIRECTORY} AS directory, instanceCount,
                 round(series_size_MB * 1e6)::BIGINT AS size_bytes, 25::BIGINT AS idc_version
          FROM '{{index}}' WHERE {{where}}) TO '{{to}}' (FORMAT parquet)''')
"""
_LINES = f"""
import duckdb
duckdb.connect().execute('''
    COPY (SELECT 'cp ' || series_aws_url || ' ' || {_DIRECTORY} FROM '{{index}}' WHERE {{where}})
    TO '{{to}}' (FORMAT csv, HEADER false, QUOTE '')''')
"""
_IDC_INDEX = """
import sys
from idc_index import IDCClient
client = IDCClient()
lines = client.sql_query('''
    SELECT 'cp ' || series_aws_url || ' ' || collection_id || '/' || PatientID || '/' || StudyInstanceUID || '/'
           || Modality || '_' || SeriesInstanceUID AS line
    FROM index WHERE collection_id = 'nlst' ''')
open(sys.argv[1], 'w').write('\\n'.join(lines.line))
"""


def rows(peers: Path, scratch: Path, *, times: int, full: bool) -> Iterator[Row]:
    """NLST and all of IDC, as a plan and as a manifest, from the start of the process."""
    index = tables()["idc_index"].parquet_path
    cases = [("all of NLST", ["nlst"], "collection_id = 'nlst'", 500)]
    cases.append(("all of IDC", ["--where", "instanceCount>=0"], "true", 1000))
    for name, asked, where, most_mb in cases:
        for suffix, bare_code, what in (
            ("parquet", _ROWS, "the same rows, bare COPY"),
            ("s5cmd", _LINES, "the same lines, bare COPY"),
        ):
            to, bare_to = scratch / f"ours.{suffix}", scratch / f"bare.{suffix}"
            ours, bare = measure.repeat(
                times,
                lambda asked=asked, to=to: measure.python(
                    ["-m", "dataset_dl", "idc", "manifest", *asked, "-o", to, "--force"]
                ),
                lambda code=bare_code, where=where, to=bare_to: measure.python(
                    ["-c", code.format(index=index, where=where, to=to)]
                ),
            )
            to.unlink()
            bare_to.unlink()
            yield Row(f"{name} → .{suffix}", "seconds", ours.seconds, bare.seconds, what, 1.5)
            yield Row(f"{name} → .{suffix}", "MB resident", ours.peak_mb, most_mb, "fixed", 1.0)
            yield Row(f"{name} → .{suffix}", "MB resident", ours.peak_mb, bare.peak_mb, what)
    if full:
        to = scratch / "theirs.s5cmd"
        theirs = measure.python(["-c", _IDC_INDEX, to], interpreter=peers)
        ours = measure.python(["-m", "dataset_dl", "idc", "manifest", "nlst", "-o", to, "--force"])
        yield Row("all of NLST → .s5cmd", "seconds", ours.seconds, theirs.seconds, "idc-index, sql_query")
        yield Row("all of NLST → .s5cmd", "MB resident", ours.peak_mb, theirs.peak_mb, "idc-index, sql_query")
