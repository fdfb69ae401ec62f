"""The same download again, when everything is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Row, Run
from benchmarks.moves import Course, Load
from benchmarks.stores import Store, serve
from benchmarks.stream import rows_of

_AGAIN = """
import json, sys, time
import dataset_dl as dd
plan = dd.plan(sys.argv[1], into=sys.argv[2])
began = time.monotonic()
report = dd.download(plan, endpoint_url=sys.argv[3], progress="none", **json.loads(sys.argv[4]))
assert report.ok and report.fetched_series == 0
print(time.monotonic() - began)
"""
_TREE = """
import os, sys
import dataset_dl as dd
to = sys.argv[2]
for row in dd.plan(sys.argv[1]):
    directory = f"{to}/{row.directory}"
    os.makedirs(directory)
    for number in range(row.instanceCount):
        with open(f"{directory}/{number}.dcm", "wb") as file:
            file.truncate(row.size_bytes // row.instanceCount)
"""


def rows(scratch: Path, *, times: int, full: bool) -> Iterator[Row]:
    """10,000 series, and as many as NLST has."""
    root = scratch / "again"
    root.mkdir()
    course = Course(root, Load("", [[5000]] * 10_000), Path())
    with serve(root / "store", root / "nginx") as store:
        course.ours(store)
        store.forget()
        ours = measure.median([_again(course, store) for _ in range(times)])
        yield Row("10,000 series again", "seconds", ours.seconds, 1.0, "fixed", 1.0)
        asked = len(store.requests())
        yield Row("10,000 series again", "requests + 1", asked + 1, 1, "fixed", 1.0)
        if full:  # it takes minutes
            theirs = _sync(course, store)
            yield Row("10,000 series again", "seconds", ours.seconds, theirs.seconds, "s5cmd sync", 0.01)
    shutil.rmtree(root)
    if full:
        yield from _nlst(scratch / "nlst")


def _again(course: Course, store: Store, **options: object) -> Run:
    run = measure.python(["-c", _AGAIN, course.plan, course.to, store.endpoint_url, json.dumps(options)])
    return Run(float(run.stdout), run.cpu_seconds, run.children_cpu_seconds, run.peak_mb, "")


def _sync(course: Course, store: Store) -> Run:
    lines = course.root / "sync.s5cmd"
    lines.write_text(course.manifest.read_text().replace("cp ", "sync "))
    argv = [course.binary, "--json", "--no-sign-request", "--endpoint-url", store.endpoint_url, "run", lines]
    return measure.command(argv, environment={"AWS_REGION": "us-east-1"}, directory=course.to)


def generated(root: Path, series: int, each: int) -> Path:
    """A tree of so many series of so many files, with its records, that nobody had to download."""
    plan, to = root / "plan.parquet", root / "to"
    rows_of(series, each).save(plan)
    measure.python(["-c", _TREE, plan, to])
    measure.python(["-c", _AGAIN, plan, to, "http://127.0.0.1:9", "{}"])
    return to


def _nlst(root: Path) -> Iterator[Row]:
    """592,600 series of two empty-looking files each: a tree that is generated, and the journal of a first look."""
    root.mkdir()
    to = generated(root, 592_600, 2)
    code = ["-c", _AGAIN, root / "plan.parquet", to, "http://127.0.0.1:9"]
    found = measure.command(["find", to, "-name", "*.dcm", "-size", "-0"])
    looked = measure.python([*code, "{}"])
    trusted = measure.python([*code, '{"trust_journal": true}'])
    name = "592,600 series again"
    yield Row(name + ", --trust-journal", "seconds", float(trusted.stdout), 10, "fixed", 1.0)
    yield Row(
        name + ", a look at each file", "seconds", float(looked.stdout), found.seconds, "find -size", 3.0
    )
    yield Row(name, "MB resident", looked.peak_mb, 500, "fixed")
    shutil.rmtree(root)
