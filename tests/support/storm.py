"""A storm: downloads that are killed at random moments, and whether the next run resumes them correctly.

In each round, up to three runs are ended by a random blow at a random moment, then one runs to completion.
After it the tree must equal the store, byte for byte, with nothing else in it and no child left running, and
no file that was right after the last blow may have been fetched again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from dataset_dl.model.series import PlannedSeries
from support.cli import PROGRAM
from support.faults import FaultServer, serve
from support.plans import plan_of

BUCKET = "idc-open-data"
GONE_SECONDS = 10.0


@dataclass(frozen=True)
class Blow:
    """How a run is ended: the signals to its children and then to the program, in order."""

    name: str
    to_program: tuple[signal.Signals, ...] = ()
    to_children: tuple[signal.Signals, ...] = ()


BLOWS = (
    Blow("SIGKILL of the program", to_program=(signal.SIGKILL,)),
    Blow("SIGKILL of the children", to_children=(signal.SIGKILL,)),
    Blow("SIGKILL of both", to_program=(signal.SIGKILL,), to_children=(signal.SIGKILL,)),
    Blow("SIGTERM", to_program=(signal.SIGTERM,)),
    Blow("SIGINT", to_program=(signal.SIGINT,)),
    Blow("SIGINT twice", to_program=(signal.SIGINT, signal.SIGINT)),
    Blow("SIGHUP", to_program=(signal.SIGHUP,)),
)


class Wrong(Exception):
    """A promise that was not kept."""


def check(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


class Storm:
    def __init__(self, root: Path, server: FaultServer, seed: int, series: int, engine: str) -> None:
        self.server = server
        self.engine = engine
        self.random = random.Random(seed)
        self.target = root / "to"
        self.rows = self._fill(server.root, series)
        self.plan = root / "plan.parquet"
        plan_of(self.rows).save(self.plan)
        self.whole_seconds = 0.0

    def _fill(self, root: Path, count: int) -> list[PlannedSeries]:
        rows = []
        for _ in range(count):
            name = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            directory = root / BUCKET / name
            directory.mkdir(parents=True)
            size_bytes = instances = 0
            for _ in range(self.random.randint(1, 60)):
                data = self.random.randbytes(self.random.randint(1, 30_000))
                instance = uuid.UUID(int=self.random.getrandbits(128), version=4)
                (directory / f"{instance}.dcm").write_bytes(data)
                size_bytes += len(data)
                instances += 1
            uid = f"1.2.3.{self.random.getrandbits(60)}"
            rows.append(
                PlannedSeries("storm", f"patient {len(rows) // 9}", uid, f"{uid}.1", "CT", "CC BY 4.0", "10.7937/x", name,
                              f"s3://{BUCKET}/{name}/*", f"storm/{len(rows) // 9}/{uid}/CT_{uid}.1", instances,
                              size_bytes)
            )  # fmt: skip
        return rows

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PROGRAM, "idc", "download", self.plan, "--to", self.target, "--workers", "16",
             "--engine", self.engine, "--endpoint-url", self.server.endpoint_url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A background job ignores SIGINT, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    def run(self) -> None:
        """Run to completion; the run must succeed."""
        program = self.start()
        _, errors = program.communicate(timeout=300)
        check(program.returncode == 0, f"the run ended with {program.returncode}: {errors.decode()[-500:]}")

    def calibrate(self) -> None:
        began = time.monotonic()
        self.run()
        self.whole_seconds = time.monotonic() - began
        self.check_tree()
        shutil.rmtree(self.target)

    def round(self) -> str:
        """Run one round; return a description of it."""
        blows = [
            (self.random.choice(BLOWS), self.random.uniform(0.1, 1.05))
            for _ in range(self.random.randint(1, 3))
        ]
        for blow, moment in blows:
            self.strike(blow, moment * self.whole_seconds)
        right = {key for key, path in self.places() if self.is_right(key, path)}
        self.server.gets.clear()
        self.run()
        self.check_tree()
        again = right & self.server.gets.keys()
        check(
            not again, f"{len(again)} files that were right were fetched again, like {min(again, default='')}"
        )
        self.server.gets.clear()
        lists = self.server.lists
        self.run()
        check(not self.server.gets and self.server.lists == lists, "a complete tree was asked for")
        shutil.rmtree(self.target)
        return (
            ", ".join(f"{blow.name} at {moment:.0%}" for blow, moment in blows)
            + f"; {len(right):,} were there"
        )

    def strike(self, blow: Blow, after_seconds: float) -> None:
        with self.start() as program:
            try:
                program.communicate(timeout=after_seconds)
            except subprocess.TimeoutExpired:
                self._hit(program, blow, after_seconds)
            else:
                check(program.returncode == 0, f"the run ended with {program.returncode} by itself")

    def _hit(self, program: subprocess.Popen[bytes], blow: Blow, after_seconds: float) -> None:
        children = psutil.Process(program.pid).children(recursive=True)
        for number in blow.to_children:
            for child in children:
                _quietly(lambda child=child, number=number: child.send_signal(number))  # type: ignore[misc]
        for number in blow.to_program:
            _quietly(lambda number=number: program.send_signal(number))  # type: ignore[misc]
        _, errors = program.communicate(timeout=300)
        if blow.to_program == (signal.SIGKILL,):
            codes: tuple[int, ...] = (-signal.SIGKILL, 0)
        else:
            codes = (130, 0) if blow.to_program else (0,)
        # A signal before the program has installed its handlers kills it like any other program.
        ended_early = after_seconds < 1 and -program.returncode in blow.to_program
        check(
            program.returncode in codes or ended_early,
            f"after {blow.name} it ended with {program.returncode}: {errors.decode()[-500:]}",
        )
        _, living = psutil.wait_procs(children, GONE_SECONDS)
        check(not living, f"after {blow.name} there lives on: {living}")

    def places(self) -> list[tuple[str, Path]]:
        """Return the key of each object and the path it belongs to."""
        return [
            (f"{row.crdc_series_uuid}/{path.name}", self.target / row.directory / path.name)
            for row in self.rows
            for path in (self.server.root / BUCKET / row.crdc_series_uuid).iterdir()
        ]

    def is_right(self, key: str, path: Path) -> bool:
        return path.is_file() and path.read_bytes() == (self.server.root / BUCKET / key).read_bytes()

    def check_tree(self) -> None:
        places = self.places()
        wrong = [str(path) for key, path in places if not self.is_right(key, path)]
        check(not wrong, f"{len(wrong)} files are missing or wrong, like {wrong[:1]}")
        found = {
            path for path in self.target.rglob("*") if path.is_file() and path.parent.name != ".dataset-dl"
        }
        strangers = found - {path for _, path in places}
        check(not strangers, f"files are left over, like {min(strangers, default='')}")
        records = {path.name for path in (self.target / ".dataset-dl").iterdir()}
        kept = {"lock", "journal.sqlite", "plan.parquet", "LICENSES.md", "CITATIONS.bib"}
        check(records <= kept, f"records are left over: {records - kept}")


def _quietly(act: Callable[[], object]) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it may just have ended
        act()


def storm(rounds: int, seed: int, series: int, say: Callable[[str], object], engine: str = "s5cmd") -> None:
    """Run `rounds` rounds; raise `Wrong` if a promise is not kept."""
    scratch = Path(tempfile.mkdtemp(prefix="dataset-dl-storm-"))
    try:
        with serve(scratch / "buckets") as server:
            wild = Storm(scratch, server, seed, series, engine)
            wild.calibrate()
            instances = sum(row.instanceCount for row in wild.rows)
            say(
                f"seed {seed}: {len(wild.rows):,} series, {instances:,} objects, {wild.whole_seconds:.1f} s a download"
            )
            for number in range(1, rounds + 1):
                say(f"round {number}: {wild.round()}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/storm", description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=50)
    parser.add_argument("--seed", type=int, help="the same seed strikes the same blows again")
    parser.add_argument("--series", type=int, default=130, help="about 30 objects each")
    parser.add_argument("--engine", default="s5cmd", choices=["s5cmd", "curl"])
    chosen = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if chosen.seed is None else chosen.seed
    try:
        storm(chosen.rounds, seed, chosen.series, lambda line: print(line, flush=True), chosen.engine)  # noqa: T201
    except Wrong as error:
        sys.exit(
            f"storm: {error}; again with bin/storm {chosen.rounds} --seed {seed} --series {chosen.series}"
            f" --engine {chosen.engine}"
        )
    print(f"{chosen.rounds} rounds passed")  # noqa: T201


if __name__ == "__main__":
    main()
