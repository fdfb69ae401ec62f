"""The parts that a plan was cut into, as destinations have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from dataset_dl.destination import disk, paths
from dataset_dl.destination.reading import Entries
from dataset_dl.destination.reports import report_of
from dataset_dl.errors import ManifestError, PlanError
from dataset_dl.model.outcome import Report
from dataset_dl.model.part import Cut, Part
from dataset_dl.plans.compare import together
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import copy_of, origin_of
from dataset_dl.plans.parts import digest
from dataset_dl.wording import first_few


@dataclass(frozen=True)
class Writer:
    """What a destination has of a part.

    Attributes
    ----------
    root
        The destination.
    name
        The name of the newest attempt, like ``3-of-16-attempt-1``.
    """

    root: Path
    name: str

    @property
    def files(self) -> paths.Files:
        """Its records."""
        return paths.files_of(self.root, self.name)

    @property
    def part(self) -> Part:
        """Which part it is."""
        return self._attempt[0]

    @property
    def attempt(self) -> int:
        """Which attempt it is, from 1."""
        return self._attempt[1]

    @property
    def _attempt(self) -> tuple[Part, int]:
        found = paths.attempt_of(self.name)
        assert found is not None, "only attempts are writers"
        return found

    @cached_property
    def cut(self) -> Cut | None:
        """How the whole plan was cut; None where `plan` is None."""
        path = self.files.plan
        with suppress(ManifestError):
            cut = origin_of(path).cut if path.is_file() else None
            return None if cut is None else cut.whole
        return None

    @cached_property
    def plan(self) -> PlanFile | None:
        """What it was asked for; None if it ended before it could say so, or if that is damaged."""
        path = self.files.plan
        with suppress(ManifestError):
            return copy_of(path) if path.is_file() else None
        return None

    @cached_property
    def report(self) -> Report | None:
        """The report of its last run that has one."""
        return report_of(self.files)

    @property
    def entries(self) -> Entries:
        """What its journal says, read anew."""
        return Entries(self.files.journal)


def roots_of(destinations: Sequence[str | Path]) -> list[Path]:
    """Return the destinations, each once.

    Raises
    ------
    ManifestError
        If there are none, or one is no directory.
    """
    roots = list(dict.fromkeys(disk.absolute(Path(each)) for each in destinations))
    for root in roots:
        if not root.is_dir():
            raise ManifestError(
                str(root), f"{root} is no directory; nothing was changed.", "Name where the parts went to."
            )
    if not roots:
        raise ManifestError(
            "", "No destination was named; nothing was changed.", "Name where the parts went to."
        )
    return roots


def target_of(roots: Sequence[Path], to: str | Path | None) -> Path:
    """Return where the parts of some destinations belong.

    Raises
    ------
    ManifestError
        If that is not said, and there are several.
    """
    if to is not None:
        return disk.absolute(Path(to))
    if len(roots) == 1:
        return roots[0]
    raise ManifestError(
        str(roots[0]),
        f"The parts are in {len(roots)} directories, so it must be said where they belong.",
        "Give one with --to.",
    )


def writers_of(roots: Iterable[Path]) -> list[Writer]:
    """Return the parts of all destinations, in the order of their numbers.

    Raises
    ------
    PlanError
        If they are of plans that were cut into different numbers of parts, or two destinations have the same.
    """
    found = [
        Writer(root, name)
        for root in dict.fromkeys(roots)
        for name in paths.parts(root)
        if paths.attempt_of(name) is not None
    ]
    found.sort(key=lambda each: each.part)
    totals = sorted({each.part.total for each in found})
    if len(totals) > 1:
        raise PlanError(
            "part",
            f"These are parts of plans that were cut into {totals[0]} and into {totals[1]} parts, so they do"
            " not belong together; nothing was changed.",
            "Name the destinations of one plan.",
        )
    for one, other in pairwise(found):
        if one.part == other.part:
            raise PlanError(
                "part",
                f"Part {one.part} is in {one.root} and in {other.root}; nothing was changed.",
                "Name only one of them.",
            )
    return found


def absent(writers: Sequence[Writer]) -> list[Part]:
    """Return the parts of which nothing is here."""
    total = writers[0].part.total if writers else 0
    present = {each.part for each in writers if each.plan is not None}
    return [part for number in range(1, total + 1) if (part := Part(number, total)) not in present]


def cut_of(writers: Sequence[Writer]) -> Cut | None:
    """Return how the plan of all parts was cut; None if no part has a plan.

    Raises
    ------
    PlanError
        If the parts are of different plans.
    """
    found = {each.cut for each in writers if each.cut is not None}
    if len(found) > 1:
        raise PlanError(
            "part",
            f"The parts in {first_few([str(each.root) for each in writers])} are of {len(found)} different"
            " plans, so together they are nothing whole; nothing was changed.",
            "Name the destinations of one plan.",
        )
    return next(iter(found), None)


def was_gathered(target: Path, cut: Cut) -> bool:
    """Whether a destination already holds the plan of the parts, so that these parts are a repetition."""
    kept = paths.files_of(target).plan
    if not kept.is_file():
        return False
    known = origin_of(kept).cut
    return known is not None and known.whole == cut.whole


def whole_plan(writers: Sequence[Writer]) -> PlanFile:
    """Return the plan that the parts make up, after a check that it is the one that was cut.

    Raises
    ------
    ManifestError
        If series are lacking, or are in two parts.
    """
    rows, cut = together_of(writers), cut_of(writers)
    if cut is None or digest(rows) != cut.digest:
        raise _no_whole()
    return rows


def together_of(writers: Sequence[Writer]) -> PlanFile:
    """Return the series of some parts.

    Raises
    ------
    ManifestError
        If a series is in two of them.
    """
    rows = together([each.plan for each in writers if each.plan is not None])
    if rows is None:
        raise _no_whole()
    return rows


def _no_whole() -> ManifestError:
    return ManifestError(
        "part",
        "The parts do not make up the plan that was cut: series are lacking, or are in two parts; nothing"
        " was changed.",
        "Remove the records of the parts (.dataset-dl/parts), and download the whole plan there: what is"
        " complete is not fetched again.",
    )
