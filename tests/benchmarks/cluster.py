"""Many machines: what parts cost on one, how long cutting and gathering take, and a fleet against its bound."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dataset_dl as dd
from benchmarks import measure
from benchmarks.fleet import Fleet, fleet, makespan
from benchmarks.measure import Row
from benchmarks.moves import Course, Load
from benchmarks.stores import serve
from dataset_dl.destination import attempts
from dataset_dl.destination.records import Records
from dataset_dl.duck import Database
from dataset_dl.model.outcome import Report
from dataset_dl.model.part import OBJECT_BYTES
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.parts import costs, dealt, sizes
from support.cli import PROGRAM

ALL = ("--where", "instanceCount>=0")
PARTS = 100
_SMALL_BYTES = 10
# Node loss: one in a thousand node hours, as of a busy cluster.
_TO_LOSS_SECONDS = 1000 * 3600.0
_GATHER = """
import sys
from dataset_dl.cluster import gather
assert gather(sys.argv[1], trust_journal=sys.argv[2] == "trusting").ok
"""


def rows(scratch: Path, peers: Path, *, times: int, full: bool) -> Iterator[Row]:
    """All of the suite."""
    yield from _splitting(scratch, times)
    yield from _gathering(scratch)
    yield from _parts_on_one_machine(scratch, peers, times if full else 1, 80_000)
    yield from _fleets(full)
    yield from _slurm(scratch)


def _splitting(scratch: Path, times: int) -> Iterator[Row]:
    """From the index to a saved plan that is cut, in a process of its own."""
    argv = [PROGRAM, "cluster", "split", *ALL, "-n", str(PARTS), "-o", scratch / "cut.parquet"]
    run = measure.median([measure.command(argv) for _ in range(times)])
    yield Row(f"all of IDC is cut into {PARTS} parts", "seconds", run.seconds, 6, "target", 1.0)
    whole = dd.plan(scratch / "cut.parquet")
    several = [each.cost_bytes for each in sizes(whole)]
    worst = max(several) / (sum(several) / len(several))
    yield Row("its parts", "largest / average", worst, 1.01, "target", 1.0)


def _gathering(scratch: Path) -> Iterator[Row]:
    """A destination of a hundred parts with a million series of one small file, all complete."""
    target = scratch / "gathered"
    whole = dd.plan(scratch / "cut.parquet")
    made = whole.origin.cut
    assert made is not None
    for row in whole:
        directory = target / row.directory
        directory.mkdir(parents=True)
        (directory / "1.dcm").write_bytes(b"x" * _SMALL_BYTES)
    work = f"{PARTS} parts, {whole.series_count:,} series are gathered"
    for how in ("trusting", "looking"):
        _write_parts(target, whole)
        run = measure.python(["-c", _GATHER, target, how])
        shutil.rmtree(target / ".dataset-dl")
        bound = 1.0 if how == "trusting" else None
        name = f"{work}, {'by their journals' if how == 'trusting' else 'with a look at the disk'}"
        yield Row(name, "seconds", run.seconds, 20, "target", bound)
        yield Row(name, "peak MB", run.peak_mb, 500, "target", bound)
    shutil.rmtree(target)


def _write_parts(target: Path, whole: dd.Plan) -> None:
    """Write the records of all parts, as their downloads leave them."""
    made = whole.origin.cut
    assert made is not None
    by_part: dict[int, list[int]] = {}
    for number, part in enumerate(dealt(costs(whole.rows, made.object_bytes), made.total)):
        by_part.setdefault(part, []).append(number)
    for part, several in by_part.items():
        origin = whole.origin._replace(cut=made._replace(number=part))
        select = f"""SELECT * EXCLUDE (file_row_number) REPLACE (1 AS instanceCount, {_SMALL_BYTES} AS size_bytes)
                     FROM {whole.rows.numbered_sql} WHERE file_row_number IN (SELECT unnest($1::BIGINT[]))"""
        plan = PlanFile.create(Database(), select, [several], origin).plan(None)
        attempt = attempts.begin(target, plan)
        with Records(target, attempt.name, f"run {part}") as records:
            records.keep(plan)
            for row in plan:
                records.journal.record(row)
            totals = plan.series_count, plan.instance_count, plan.size_bytes
            report = Report(target, *totals, *totals, *totals[::2], (), 1.0, run_id=f"run {part}")
            records.finish(report, plan)


def _parts_on_one_machine(scratch: Path, peers: Path, times: int, objects: int) -> Iterator[Row]:
    """The same plan by one process and by four with a part each: at once, and one after the other.

    All have 16 connections together.
    """
    load = Load(f"{objects:,} objects of 100 KiB", [[102_400] * (objects // 200)] * 200)
    (scratch / "parts").mkdir()
    course = Course(scratch / "parts", load, peers)
    parts = [f"{number}/4" for number in range(1, 5)]
    try:
        with serve(course.root / "store", course.root / "plain") as store:
            for engine in ("s5cmd", "curl"):
                options = ["--endpoint-url", store.endpoint_url, "--engine", engine]
                one, at_once, in_turn = [], [], []
                for _ in range(times):
                    one.append(_spent(course, [[*options, "--workers", "16"]], at_once=True))
                    shared = [[*options, "--workers", "4", "--part", part] for part in parts]
                    at_once.append(_spent(course, shared, at_once=True))
                    alone = [[*options, "--workers", "16", "--part", part] for part in parts]
                    in_turn.append(_spent(course, alone, at_once=False))
                for name, several in (("at once", at_once), ("one after the other", in_turn)):
                    work = f"{load.name}, {engine}, 4 parts {name}"
                    yield Row(work, "processor s", min(several)[0], min(one)[0], "1 process", 1.1)
                    yield Row(work, "seconds", min(several)[1], min(one)[1], "1 process")
    finally:
        shutil.rmtree(course.root)


def _spent(course: Course, several: list[list[str]], *, at_once: bool) -> tuple[float, float]:
    """Return the processor time of some downloads, and how long they take."""
    to = course.fresh()
    before, began = os.times(), time.monotonic()
    running = []
    for options in several:
        running.append(
            subprocess.Popen(
                [PROGRAM, "idc", "download", course.plan, "--to", to, *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        if not at_once:
            running[-1].wait()
    if any(each.wait() for each in running):
        raise RuntimeError(f"one of {several} failed")
    seconds, after = time.monotonic() - began, os.times()
    found = sum(path.is_file() for path in to.rglob("*.dcm"))
    if found != course.load.objects:
        raise RuntimeError(f"{found} of {course.load.objects} objects arrived")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, seconds


def _fleets(full: bool) -> Iterator[Row]:
    """All of IDC on simulated fleets: the ratio is the makespan by the bound."""
    whole = dd.plan(where=["instanceCount>=0"])
    several = costs(whole.rows, OBJECT_BYTES)
    for count in (16, 100, 1000):
        for each in (1, 4, 16) if full else (4,):
            loads = [0] * (count * each)
            for cost, number in zip(several, dealt(several, count * each), strict=True):
                loads[number - 1] += cost
            for gbit_each, link_gbit in ((1, 100), (10, 100), (10, 10), (10, 1)):
                calm = fleet(count, gbit_each, link_gbit)
                rough = replace(
                    fleet(count, gbit_each, link_gbit, stragglers=0.05), mean_seconds_to_loss=_TO_LOSS_SECONDS
                )
                for name, kind in (("", calm), (", stragglers and loss", rough)):
                    bound = kind.bound(loads) / 3600
                    hours = makespan(loads, kind) / 3600
                    what = f"{count} nodes of {gbit_each} Gbit/s, {link_gbit} Gbit/s together"
                    work = f"{what}, {each} parts a node{name}"
                    yield Row(work, "hours, simulated", hours, bound, "bound")


def _slurm(scratch: Path) -> Iterator[Row]:
    """Three nodes of a real Slurm, one of them slow, against what the simulation says of them."""
    from support import slurm

    if not slurm.is_here():
        sys.stderr.write("bench: no Slurm here, or not root; its row is left out\n")
        return
    rates = {"node1": 4.0, "node2": 4.0, "node3": 2.0}
    parts = 12
    load = Load("", [[200_000] * 20] * 60)
    (scratch / "slurm").mkdir()
    course = Course(scratch / "slurm", load, Path())
    # The path of a socket must be short.
    root = Path(tempfile.mkdtemp(prefix="s"))
    try:
        with serve(course.root / "store", course.root / "plain") as store, slurm.running(root) as running:
            plan = course.root / "cut.parquet"
            _ask(running, [PROGRAM, "cluster", "split", course.plan, "-n", str(parts), "-o", plan])
            _array(running, course, store.endpoint_url, plan, parts, rates, only="1")
            # A part that is complete takes no byte: all the rest, from submitting to the end.
            idle_seconds = _array(running, course, store.endpoint_url, plan, parts, rates, only="1")
            course.fresh()
            measured = _array(running, course, store.endpoint_url, plan, parts, rates)
            loads = [each.size_bytes for each in sizes(dd.plan(plan))]
            own = Fleet([rate * 1e6 for rate in rates.values()], 1e12, start_seconds=idle_seconds)
            predicted = makespan(loads, own)
            work = f"{parts} parts on 3 nodes of Slurm, one of them slow"
            yield Row(work, "seconds", measured, predicted, "simulation", 1.15)
            yield Row(work, "seconds", measured, predicted, "simulation", 0.85, True)
    finally:
        shutil.rmtree(course.root)
        shutil.rmtree(root, ignore_errors=True)


def _array(
    running: object, course: Course, endpoint_url: str, plan: Path, parts: int, rates: dict[str, float],
    only: str = "",
) -> float:  # fmt: skip
    """Run an array job, or one task of it; return how long it takes."""
    from support.slurm import Slurm

    assert isinstance(running, Slurm)
    options = ["--engine", "curl", "--workers", "4", "--endpoint-url", endpoint_url]
    printed = _ask(
        running,
        [
            PROGRAM,
            "cluster",
            "submit",
            plan,
            "--to",
            course.to,
            "--slurm",
            "--print",
            "--cpus",
            "1",
            "--",
            *options,
        ],
    )
    cases = " ".join(f"{node}) rate={rate} ;;" for node, rate in rates.items())
    script = re.sub(r'(--part "\$SLURM)', r'--max-rate "$rate" \1', printed)
    script = script.replace("\n# One part", f"\ncase $SLURMD_NODENAME in {cases} esac\n# One part", 1)
    if only:
        script = re.sub(r"--array=\S+", f"--array={only}", script)
    path = course.root / "job.sh"
    path.write_text(script)
    plan.with_suffix(".logs").mkdir(exist_ok=True)
    began = time.monotonic()
    job = running.ask("sbatch", str(path)).split()[-1]
    states = running.wait(job, 600)
    if set(states.values()) != {"COMPLETED"}:
        raise RuntimeError(f"{states}: {running.logs()}")
    return time.monotonic() - began


def _ask(running: object, command: list[str | Path]) -> str:
    environment = {**os.environ, "SLURM_CONF": getattr(running, "environment")["SLURM_CONF"]}  # noqa: B009
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
