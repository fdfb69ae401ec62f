"""Events through the real parser, accounting and journal, with no network and no files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Row

# A child of s5cmd's would say these lines; what is on disk is taken to be what they say.
_REPLAY = """
import json, sys, tempfile, time
from pathlib import Path
import dataset_dl.transfer.watch as watch
import dataset_dl.transfer.window as window
from benchmarks.stream import rows_of, lines_of
from dataset_dl.observers.progress import ProgressTracker
from dataset_dl.engines.s5cmd.output import parse_line
from dataset_dl.transfer import transfer
from dataset_dl.destination.tree import Found

series, each = int(sys.argv[1]), int(sys.argv[2])
found = Found(each, 10 * each)
window.look = watch.look = lambda directory: found
plan = rows_of(series, each)

class Replay:
    name, workers, lists_objects = "replay", 16, True
    def is_unfinished(self, name): return False
    def probe(self, url): pass
    def objects(self, several): return {}
    def run(self, fetches, destination):
        for order in fetches:
            for line in lines_of(order.series, each):
                yield parse_line(line)

def lines_only():
    for row in plan:
        for line in lines_of(row, each):
            pass

began = time.process_time()
lines_only()
making = time.process_time() - began
with tempfile.TemporaryDirectory() as scratch:
    tracker = ProgressTracker()
    began = time.process_time()
    for event in transfer(plan, Path(scratch) / "to", lambda scheme: Replay()):
        tracker.feed(event)
    spent = time.process_time() - began
    journal = (Path(scratch) / "to" / ".dataset-dl" / "journal.sqlite").stat().st_size
assert event.report.ok and event.report.fetched_series == series
print(json.dumps({"seconds": spent - making, "journal": journal, "complete": tracker.snapshot().completed_files}))
"""


def rows_of(series: int, each: int):
    """A plan of so many series of so many files, made by DuckDB."""
    from dataset_dl.duck import Database
    from dataset_dl.plans.file import PlanFile

    select = f"""
        SELECT 'bench' AS collection_id, 'patient ' || i // 50 AS PatientID, '1.2.' || i // 5 AS StudyInstanceUID,
               '1.2.3.' || i AS SeriesInstanceUID, 'CT' AS Modality, 'CC BY 4.0' AS license_short_name, '10.7937/x' AS source_DOI,
               uuid AS key, 's3://idc-open-data/' || uuid || '/*' AS address,
               'bench/patient ' || i // 50 || '/1.2.' || i // 5 || '/CT_1.2.3.' || i AS directory,
               {each}::BIGINT AS instanceCount, {10 * each}::BIGINT AS size_bytes,
               NULL::VARCHAR AS files, NULL::BIGINT AS estimated_bytes, 25::BIGINT AS idc_version
        FROM (SELECT i, printf('%08x-0000-4000-8000-%012x', i, i) AS uuid FROM range({series}) AS t(i))
    """
    return PlanFile.create(Database(), select, []).plan(None)


def lines_of(series, each: int) -> Iterator[bytes]:
    """What s5cmd says of the files of a series."""
    source = f"s3://idc-open-data/{series.crdc_series_uuid}/"
    for number in range(each):
        name = f"{number:08x}-1111-4111-8111-111111111111.dcm"
        yield (
            f'{{"operation":"cp","success":true,"source":"{source}{name}","destination":"{series.directory}/{name}",'
            '"object":{"type":"file","size":10}}'
        ).encode()


def replay(series: int, each: int) -> tuple[dict[str, float], measure.Run]:
    """So many files through everything of ours; what it took, without the making of the lines."""
    run = measure.python(
        ["-c", _REPLAY, str(series), str(each)],
        environment={"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    return json.loads(run.stdout), run


def rows(*, full: bool) -> Iterator[Row]:
    """How many events a second, and the memory over a thousandfold of them."""
    _, few_run = replay(1000, 1)
    many, many_run = replay(1000, 1000)
    yield Row(
        "1,000,000 file events, one core",
        "events a second",
        1e6 / many["seconds"],
        300_000,
        "fixed",
        1.0,
        True,
    )
    yield Row("1,000,000 file events", "MB resident", many_run.peak_mb, 150, "fixed", 1.0)
    more = many_run.peak_mb - few_run.peak_mb
    yield Row("1,000 → 1,000,000 file events", "MB more", more, 10, "fixed", 1.0)
    if full:
        whole, run = replay(583_333, 36)
        yield Row("21,000,000 file events", "processor s", whole["seconds"], 70, "300,000 a second", 1.0)
        yield Row("21,000,000 file events", "MB resident", run.peak_mb, 150, "fixed")
        yield Row("21,000,000 file events", "MB of journal", whole["journal"] / 1e6, 1, "")
