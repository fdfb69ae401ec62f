"""Runs of commands with what they cost, and the table that is made of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_TIMED = Path(__file__).with_name("timed.py")


@dataclass(frozen=True)
class Run:
    """What a command cost.

    Attributes
    ----------
    seconds
        From its start to its end.
    cpu_seconds, children_cpu_seconds
        Processor time of itself, and of the processes that it started.
    peak_mb
        The most memory that it held itself, in MB; 0 where it is not Python.
    stdout
        What it printed.
    """

    seconds: float
    cpu_seconds: float
    children_cpu_seconds: float
    peak_mb: float
    stdout: str


def python(
    arguments: Sequence[str | Path],
    *,
    interpreter: str | Path = sys.executable,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Run:
    """Run ``python ARGUMENTS`` (a file, ``-m`` or ``-c``), which tells its costs itself as it ends."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as told:
        began = time.monotonic()
        done = subprocess.run(
            [interpreter, _TIMED, told.name, *arguments], cwd=directory, env=_environment(environment),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[:3]} ended with {done.returncode}: {done.stderr[-2000:]}")
        costs = json.load(told)
    return Run(seconds, costs["self"], costs["children"], costs["peak_kb"] / 1000, done.stdout)


def command(
    argv: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Run:
    """Run any other command."""
    before = os.times()
    began = time.monotonic()
    done = subprocess.run(
        argv, cwd=directory, env=_environment(environment), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    after = os.times()
    if done.returncode != 0:
        raise RuntimeError(f"{argv[:3]} ended with {done.returncode}: {done.stderr[-2000:]}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(seconds, spent, 0.0, 0.0, "")


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, **(more or {})}


def repeat(times: int, *works: Callable[[], Run]) -> list[Run]:
    """Run several works by turns, so that what else the machine does falls on all; the median of each."""
    runs = [[work() for work in works] for _ in range(times)]
    return [median([each[index] for each in runs]) for index in range(len(works))]


def median(runs: Sequence[Run]) -> Run:
    """The run in the middle of some, by time."""
    return sorted(runs, key=lambda each: each.seconds)[(len(runs) - 1) // 2]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes
    ----------
    work, measure
        What was done, and what is told of it.
    ours, peer
        The figures; of which unit, `measure` says.
    peer_name
        Whose the second is; "target" for a fixed bound.
    bound
        What the ratio of ours to the peer's may be.
    more_is_better
        Whether it has to be above that.
    """

    work: str
    measure: str
    ours: float
    peer: float
    peer_name: str
    bound: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Ours by the peer's."""
        return self.ours / self.peer

    @property
    def verdict(self) -> str:
        """Whether it is within its bound."""
        if self.bound is None:
            return ""
        is_met = self.ratio >= self.bound if self.more_is_better else self.ratio <= self.bound
        return "met" if is_met else "NOT met"


def figure(value: float) -> str:
    """A number with three figures that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def line(row: Row) -> str:
    """A row as a line of the table."""
    bound = "" if row.bound is None else f"{'≥' if row.more_is_better else '≤'} {figure(row.bound)}"
    return (
        f"| {row.work} | {row.measure} | {figure(row.ours)} | {figure(row.peer)} | {row.peer_name} |"
        f" {figure(row.ratio)} | {bound} | {row.verdict} |"
    )


HEADER = "| work | measure | ours | peer | which | ratio | target | |\n|---|---|---|---|---|---|---|---|"


def as_json(rows: Sequence[Row], notes: Mapping[str, object]) -> str:
    """Everything for a program."""
    return json.dumps(
        {"rows": [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict} for row in rows], **notes},
        indent=1,
    )
