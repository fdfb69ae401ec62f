"""Plan files that somebody rewrites, truncates or replaces at every phase: a state machine looks for the moment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import dataset_dl as dd
from dataset_dl.destination import paths
from dataset_dl.errors import DatasetDlError, ManifestError, StorageError
from dataset_dl.model.events import Event, Finished
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Fetch
from dataset_dl.transfer import transfer
from support.plans import plan_of
from support.stores import Store

COUNT = 6
ROWS = st.sets(st.integers(0, COUNT - 1), min_size=1).map(sorted)


def _truncate(path: Path, other: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _replace(path: Path, make: Callable[[], object]) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make()


# What somebody does to a file; each is given the file and another plan.
MISCHIEF: dict[str, Callable[[Path, Path], object]] = {
    "rewrite": lambda path, other: path.write_bytes(other.read_bytes()),
    "truncate": _truncate,
    "empty": lambda path, other: path.write_bytes(b""),
    "link": lambda path, other: _replace(path, lambda: path.symlink_to(other)),
    "dangling": lambda path, other: _replace(path, lambda: path.symlink_to("/nonexistent")),
    "fifo": lambda path, other: _replace(path, lambda: os.mkfifo(path)),
    "directory": lambda path, other: _replace(path, path.mkdir),
    "remove": lambda path, other: _replace(path, lambda: None),
}
WITH_CONTENT = ("rewrite", "link")
BAD = st.sampled_from(sorted(MISCHIEF))


class Mischievous(Store):
    """A store during whose work something is done once."""

    act: Callable[[], object] | None = None

    def run(self, fetches: Iterable[Fetch], destination: Path) -> Iterator[Event]:
        wanted = list(fetches)
        if self.act is not None:
            act, self.act = self.act, None
            act()
        yield from super().run(wanted, destination)


class PlanFiles(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="plan-machine-"))
        self.store = Mischievous()
        self.rows = [self.store.put() for _ in range(COUNT)]
        self.file, self.other = self.root / "mine.parquet", self.root / "other.parquet"
        self.target = self.root / "to"
        plan_of([self.rows[0]]).save(self.other)
        self.content: list[int] | None = None
        self.plan: Plan | None = None
        self.planned: list[int] = []
        self.asked: set[int] | None = set()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def spoil(self, path: Path, how: str) -> bool:
        """Do mischief to a file that is there; whether it then has the content of the other plan."""
        if how in ("rewrite", "truncate", "empty") and not (path.is_file() and not path.is_symlink()):
            how = "remove"
        MISCHIEF[how](path, self.other)
        return how in WITH_CONTENT

    @rule(numbers=ROWS)
    def save(self, numbers: list[int]) -> None:
        if not self.file.is_file():
            _replace(self.file, lambda: None)
        plan_of([self.rows[number] for number in numbers]).save(self.file)
        self.content = numbers

    @rule(how=BAD)
    def spoil_the_file(self, how: str) -> None:
        self.content = [0] if self.spoil(self.file, how) else None

    @rule()
    def open(self) -> None:
        if self.file.exists() and not (self.file.is_file() or self.file.is_dir()):
            return  # a pipe of a shell is read; without a writer it waits, as for every program
        try:
            plan = dd.plan(self.file)
        except ManifestError:
            assert self.content is None
            return
        assert [each.crdc_series_uuid for each in plan] == [
            self.rows[n].crdc_series_uuid for n in self.content or ()
        ]
        self.plan, self.planned = plan, list(self.content or ())

    @precondition(lambda self: self.plan is not None)
    @rule(how=BAD | st.none())
    def download(self, how: str | None) -> None:
        assert self.plan is not None
        if how is not None:
            self.store.act = lambda: self.spoil_the_file(how)
        try:
            *_, last = transfer(self.plan, self.target, lambda scheme: self.store, pause_seconds=0)
        except StorageError as error:
            assert self.asked is None, error  # what stands in the place of the records is named
            assert "plan" in error.message
            self.store.act = None
            return
        self.store.act = None
        assert isinstance(last, Finished)
        assert last.report.ok
        assert last.report.complete_series == len(self.planned)
        assert all(self.store.is_right(self.rows[number], self.target) for number in self.planned)
        self.asked = (self.asked or set()) | set(self.planned)

    @precondition(lambda self: paths.files_of(self.target).plan.is_file())
    @rule(how=BAD)
    def spoil_what_is_kept(self, how: str) -> None:
        has_content = self.spoil(paths.files_of(self.target).plan, how)
        self.asked = {0} if has_content and how == "rewrite" else None
        if how == "remove":
            self.asked = set()

    @precondition(lambda self: self.target.is_dir())
    @rule()
    def verify(self) -> None:
        try:
            outcome = dd.verify(self.target)
        except DatasetDlError:
            assert not self.asked
            return
        if self.asked:
            there = {number for number in self.asked if self.store.is_there(self.rows[number], self.target)}
            assert outcome.series_count == len(self.asked)
            assert outcome.ok == (there == self.asked)

    @invariant()
    def nothing_is_elsewhere(self) -> None:
        known = {"mine.parquet", "other.parquet", "to"}
        assert {path.name for path in self.root.iterdir()} <= known


PlanFiles.TestCase.settings = settings(
    max_examples=20, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPlanFiles = pytest.mark.timeout(180)(PlanFiles.TestCase)
