"""A real Slurm on three nodes: an array of parts, and all that can befall it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.cluster import gather, status
from support.cli import Cli
from support.faults import FaultServer, serve
from support.slurm import Slurm, is_here, running
from support.storm import Storm

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Slurm runs on Linux"),
    pytest.mark.timeout(400),
]
PARTS = 6
OBJECTS_A_SERIES = 60


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if os.geteuid() != 0:
        pytest.skip("only root starts daemons of Slurm")
    assert is_here(), "bin/test installs Slurm"
    # The path of a socket must be short.
    with running(tmp_path_factory.mktemp("s")) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with serve(tmp_path / "buckets") as running_server:
        yield running_server


class Array:
    """An array job that downloads a made-up plan in six parts."""

    def __init__(
        self, slurm: Slurm, server: FaultServer, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.slurm = slurm
        self.storm = Storm(root, server, seed=21, series=48, engine="s5cmd")
        self.plan = root / "cut.parquet"
        self.cli = Cli(root)
        for name, value in slurm.environment.items():
            monkeypatch.setenv(name, value)
        done = self.cli("cluster", "split", self.storm.plan, "-n", PARTS, "-o", self.plan)
        assert done.code == 0, done.err
        self.job = ""

    @property
    def target(self) -> Path:
        return self.storm.target

    def submit(self, rate_mbps: float = 0.3, *, only_print: bool = False) -> str:
        """Submit it; return the script."""
        done = self.cli.process(
            "cluster", "submit", self.plan, "--to", self.target, "--slurm", "--cpus", 1, "--restarts", 9,
            *(["--print"] if only_print else []),
            "--", "--workers", 4, "--engine", "s5cmd", "--max-rate", rate_mbps,
            "--endpoint-url", self.storm.server.endpoint_url,
        )  # fmt: skip
        assert done.code == 0, done.err
        if only_print:
            return done.out
        match = re.search(r"Submitted batch job (\d+)", done.err)
        assert match, done.err
        self.job = match[1]
        return done.out

    def until(self, holds: Callable[[], object], what: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}; {self.words()}")
            time.sleep(0.2)

    def words(self) -> str:
        logs = "\n".join(
            f"{path}:\n{path.read_text()[-1500:]}" for path in self.plan.with_suffix(".logs").glob("*")
        )
        return f"{self.slurm.ask('squeue', '-a')}\n{logs}\n{self.slurm.logs()[-3000:]}"

    def standing(self, part: int) -> tuple[str, int]:
        found = status(self.target)
        return (found[part - 1].state, found[part - 1].series) if found else ("waiting", 0)

    def is_under_way(self, part: int) -> bool:
        """Whether a part is running and has some series."""
        state, series = self.standing(part)
        return state == "running" and series > 0

    def running_parts(self) -> list[int]:
        return [index for index, state in sorted(self.slurm.states(self.job).items()) if state == "RUNNING"]

    def program(self, part: int) -> psutil.Process:
        return next(
            each
            for each in self.slurm.processes(f"{self.job}_{part}")
            if "download" in each.cmdline() and "s5cmd" not in each.name()
        )

    def finish(self) -> None:
        states = self.slurm.wait(self.job)
        assert set(states.values()) == {"COMPLETED"}, f"{states}\n{self.words()}"

    def check(self, kills: int) -> None:
        """One report, a tree as in the store and nothing else in it, hardly anything fetched twice."""
        report = gather(self.target)
        assert report.ok
        assert report.series_count == report.complete_series == len(self.storm.rows)
        self.storm.check_tree()
        again = [key for key, count in self.storm.server.gets.items() if count > 1]
        assert len(again) <= kills * OBJECTS_A_SERIES, len(again)
        assert dd.verify(self.target, progress="none").ok
        gets = self.storm.server.gets.total()
        self.storm.run()
        assert self.storm.server.gets.total() == gets, "a gathered tree is complete for everybody"


@pytest.fixture
def array(slurm: Slurm, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    return Array(slurm, server, tmp_path, monkeypatch)


def test_an_array_is_killed_cancelled_and_preempted(array: Array) -> None:
    slurm = array.slurm
    array.submit(rate_mbps=0.2)
    # kill -9 of a part
    array.until(lambda: array.is_under_way(1), "part 1 is under way")
    array.program(1).kill()
    # kill -9 of its s5cmd
    array.until(lambda: array.is_under_way(2), "part 2 is under way")
    for child in array.program(2).children(recursive=True):
        child.kill()
    # scancel with SIGTERM
    slurm.ask("scancel", "--signal=TERM", "--batch", f"{array.job}_3")
    array.until(lambda: array.standing(3)[0] == "interrupted", "part 3 ends in order")
    # preemption
    array.until(lambda: any(array.is_under_way(part) for part in (4, 5, 6)), "a later part is under way")
    preempted = next(part for part in (4, 5, 6) if array.is_under_way(part))
    (slurm.root / "high.sh").write_text("#!/bin/sh\nsleep 1\n")
    slurm.ask(
        "sbatch", "--partition=high", f"--output={slurm.root}/high.out",
        f"--nodelist={slurm.node_of(f'{array.job}_{preempted}')}", str(slurm.root / "high.sh"),
    )  # fmt: skip
    array.finish()
    attempts = [each.attempt for each in status(array.target)]
    # scancel repeats its signal while a task is being requeued.
    assert min(attempts[part - 1] for part in (1, 3, preempted)) >= 2, attempts
    assert attempts[1] == 1, "a part outlives its s5cmd"
    # a late rerun
    before = array.storm.server.gets.total()
    script = array.plan.with_suffix(".slurm.sh")
    again = slurm.ask("sbatch", "--array=2", str(script)).split()[-1]
    assert slurm.wait(again) == {2: "COMPLETED"}
    assert array.storm.server.gets.total() == before
    array.check(kills=4)
    # and once more after it was gathered
    again = slurm.ask("sbatch", "--array=5", str(script)).split()[-1]
    assert slurm.wait(again) == {5: "COMPLETED"}, array.words()
    assert array.storm.server.gets.total() == before
    array.check(kills=4)


def test_a_node_is_lost_and_its_part_wakes_up_when_another_has_begun_it(array: Array) -> None:
    slurm = array.slurm
    array.submit()
    array.until(lambda: array.is_under_way(1), "part 1 is under way")
    frozen = [each for each in slurm.processes(f"{array.job}_1") if each.name() != "slurmstepd"]
    node = slurm.node_of(f"{array.job}_1")
    for process in frozen:
        process.suspend()
    slurm.kill_daemon(node)
    array.until(lambda: array.standing(1)[0] == "running" and attempt(array, 1) == 2, "part 1 is begun again")
    array.until(lambda: status(array.target)[0].size_bytes > 1_000_000, "its successor is under way")
    for process in frozen:
        process.resume()
    _, living = psutil.wait_procs([each for each in frozen if "dataset" in " ".join(each.cmdline())], 30)
    assert not living, "the frozen part ends when it sees its successor"
    slurm.start_node(node)
    array.finish()
    log = (array.plan.with_suffix(".logs") / f"{array.job}_1.log").read_text()
    assert "Part 1/6 of" in log
    assert "was begun again by another process" in log
    array.check(kills=2)


def attempt(array: Array, part: int) -> int:
    return status(array.target)[part - 1].attempt


def test_time_is_over_and_the_part_goes_on(array: Array) -> None:
    """Slurm knows no limit below a minute, so the part is told when it has run for half a minute."""
    slurm = array.slurm
    script = array.plan.with_suffix(".sh")
    text = array.submit(rate_mbps=0.15, only_print=True)
    text = re.sub(r"--time=\S+", "--time=0:01:00", text).replace("B:TERM@120", "B:TERM@50")
    script.write_text(text)
    array.plan.with_suffix(".logs").mkdir()
    array.job = slurm.ask("sbatch", "--array=1-2", str(script)).split()[-1]
    array.until(lambda: attempt_if_any(array, 1) >= 2, "part 1 is begun again", 120)
    assert slurm.wait(array.job) == {1: "COMPLETED", 2: "COMPLETED"}, array.words()
    assert {each.state for each in status(array.target)[:2]} == {"complete"}


def attempt_if_any(array: Array, part: int) -> int:
    found = status(array.target)
    return found[part - 1].attempt if found else 0


def test_a_cancelled_job_does_not_come_back(array: Array) -> None:
    array.submit(rate_mbps=0.1)
    array.until(lambda: array.is_under_way(1), "part 1 is under way")
    array.slurm.ask("scancel", array.job)
    assert set(array.slurm.wait(array.job).values()) == {"CANCELLED"}
    array.until(lambda: not psutil_children(array), "nothing lives on")
    time.sleep(1)
    assert set(array.slurm.states(array.job).values()) == {"CANCELLED"}


def psutil_children(array: Array) -> list[psutil.Process]:
    return [each for part in range(1, PARTS + 1) for each in array.slurm.processes(f"{array.job}_{part}")]


def test_what_slurm_refuses_is_told(array: Array, tmp_path: Path) -> None:
    template = tmp_path / "own.sh"
    template.write_text("#!/bin/sh\n#SBATCH --partition=nowhere --array=1-{{parts}}\n{{command}}\n")
    done = array.cli.process(
        "cluster", "submit", array.plan, "--to", array.target, "--slurm", "--template", template
    )
    assert done.code == 2
    assert "Slurm refuses the job (" in done.err
    assert "Traceback" not in done.err
