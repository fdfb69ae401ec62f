"""Compare a tree with its plan: counts and sizes, file headers, the store's checksums."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination import checksums
from dataset_dl.destination.tree import Found, batches, file_size, instances, is_zero, look
from dataset_dl.errors import NetworkError
from dataset_dl.model.checks import Deviation, Problem, Verification
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries, StoredObject, Suspects

Objects = Callable[[Sequence[PlannedSeries]], dict[str, list[StoredObject]]]
Used = Callable[[PlannedSeries], bool]
Renamed = Callable[[str], Mapping[str, str]]
OnProgress = Callable[[int, int], object]


class Expected(NamedTuple):
    """The series planned for a directory, with the sums of their instances and bytes."""

    directory: str
    series: list[PlannedSeries]
    instances: int
    size_bytes: int


@dataclass(slots=True)
class _Findings:
    deviations: list[Deviation] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def add(self, expected: Expected, problem: Problem, file: str, found: Found, detail: str = "") -> None:
        self.deviations.append(
            Deviation(
                expected.directory,
                problem,
                file,
                expected.instances,
                expected.size_bytes,
                found.instances,
                found.size_bytes,
                detail,
            )
        )


def audit(
    root: Path,
    plan: Plan,
    *,
    strangers: Mapping[str, str] | None = None,
    deep: bool = False,
    objects: Objects | None = None,
    renamed: Renamed = lambda uuid: {},
    used: Used = lambda series: False,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Compare a tree with a plan.

    Parameters
    ----------
    root
        The tree.
    plan
        The plan that it should match.
    strangers
        Directories that should not be there → why.
    deep
        Read the header of each file, and compare its UIDs with the plan's.
    objects
        Lists the store's objects of some series. If given, each file is compared with its checksum there.
    renamed
        Returns object name → file name for a series whose files were renamed, by its key.
    used
        Whether a series was delivered and then removed, so that it need not be there.
    on_progress
        Called after each directory with the number of series and bytes checked so far.
    """
    findings = _Findings()
    series_count = size_bytes = 0
    wrong_series = used_series = 0
    for everything in batches(_expected(plan), lambda each: each.instances):
        batch, used_now = _without_used(everything, used)
        used_series += used_now
        series = [series for each in batch for series in each.series]
        stored = objects(series) if objects else None
        if stored:
            stored = {uuid: _as_named(listed, renamed(uuid)) for uuid, listed in stored.items()}
        if stored == {} and len(series) > 1:
            raise NetworkError(
                str(root), "The store has stopped answering; the check was not finished.", "Try again later."
            )
        for each in batch:
            before = len(findings.deviations)
            _check(root, each, findings, deep=deep, stored=stored)
            wrong_series += len(each.series) if len(findings.deviations) > before else 0
            series_count += len(each.series)
            size_bytes += each.size_bytes
            if on_progress is not None:
                on_progress(series_count, size_bytes)
    for directory, why in (strangers or {}).items():
        findings.add(Expected(directory, [], 0, 0), "extra", "", look(root / directory), why)
    return Verification(
        root=root,
        series_count=series_count,
        complete_series=series_count - wrong_series,
        size_bytes=size_bytes,
        deviations=tuple(findings.deviations),
        unchecked=tuple(findings.unchecked),
        used_series=used_series,
        plan=plan,
    )


def _without_used(batch: list[Expected], used: Used) -> tuple[list[Expected], int]:
    """Leave out series that were delivered and removed; return how many these are."""
    left = []
    for each in batch:
        series = [one for one in each.series if not used(one)]
        if len(series) == len(each.series):
            left.append(each)
        elif series:
            left.append(_together(each.directory, series))
    return left, sum(len(each.series) for each in batch) - sum(len(each.series) for each in left)


def _as_named(listed: list[StoredObject], files: Mapping[str, str]) -> list[StoredObject]:
    """Give objects the names of their local files."""
    return [each._replace(name=files.get(each.name, each.name)) for each in listed]


def _expected(plan: Plan) -> Iterator[Expected]:
    if not plan.rows.shares_directories():
        for row in plan:
            yield Expected(row.directory, [row], row.expected_instances, row.expected_bytes)
        return
    together: dict[str, list[PlannedSeries]] = {}
    for row in plan:
        together.setdefault(row.directory, []).append(row)
    for directory, series in together.items():
        yield _together(directory, series)


def _together(directory: str, series: list[PlannedSeries]) -> Expected:
    instances = sum(each.expected_instances for each in series)
    return Expected(directory, series, instances, sum(each.expected_bytes for each in series))


def _check(
    root: Path,
    expected: Expected,
    findings: _Findings,
    *,
    deep: bool,
    stored: dict[str, list[StoredObject]] | None,
) -> None:
    directory = root / expected.directory
    found = look(directory, {name for series in expected.series for name in series.wanted() or ()})
    of_files = len(findings.deviations)
    if stored is not None:
        _compare(directory, expected, found, findings, stored)
    else:
        _find(directory, expected, found, findings)
    if deep and found.instances:
        _read(directory, expected, found, findings)
    for series in expected.series:
        if not series.is_exact:
            detail = f"the store has never listed the files of the series {series.title}"
            findings.add(expected, "missing", "", found, detail)
    problem = _problem(expected, found)
    # A finding that names a file is more specific than one about its directory.
    if problem and len(findings.deviations) == of_files:
        findings.add(expected, problem, "", found)


def _problem(expected: Expected, found: Found) -> Problem | None:
    if found.instances != expected.instances:
        return "missing" if found.instances < expected.instances else "extra"
    if found.size_bytes != expected.size_bytes:
        return "short" if found.size_bytes < expected.size_bytes else "long"
    return None


def _find(directory: Path, expected: Expected, found: Found, findings: _Findings) -> None:
    """Check the files that the plan requests by name."""
    for series in expected.series:
        for name, size_bytes in (series.wanted() or {}).items():
            _is_as_long(directory, name, size_bytes, expected, found, findings)


def _is_as_long(
    directory: Path,
    name: str,
    wanted_bytes: int | None,
    expected: Expected,
    found: Found,
    findings: _Findings,
) -> bool:
    """Whether a file exists with the wanted size; if not, add a finding."""
    size = file_size(directory / name)
    if size is None:
        findings.add(expected, "missing", name, found)
    elif size != wanted_bytes:
        stored_bytes = wanted_bytes or 0
        problem: Problem = "short" if size < stored_bytes else "long"
        findings.add(expected, problem, name, found, f"{size:,} bytes, but the store has {stored_bytes:,}")
    return size is not None and size == wanted_bytes


def _compare(
    directory: Path,
    expected: Expected,
    found: Found,
    findings: _Findings,
    stored: dict[str, list[StoredObject]],
) -> None:
    """Compare each file with its object in the store."""
    answers = [stored.get(series.key) for series in expected.series]
    if None in answers:
        findings.unchecked.append(expected.directory)
        return
    objects = []
    for series, answer in zip(expected.series, answers, strict=True):
        wanted = series.wanted()
        objects += [each for each in answer or () if wanted is None or each.name in wanted]
    for name in sorted({entry.name for entry in instances(directory)} - {each.name for each in objects}):
        findings.add(expected, "extra", name, found)
    comparable = [
        (directory / each.name, each)
        for each in objects
        if _is_as_long(directory, each.name, each.size_bytes, expected, found, findings)
    ]
    for (path, each), outcome in zip(comparable, checksums.compare(comparable), strict=True):
        if outcome == "different":
            findings.add(
                expected, "altered", path.name, found, f"its checksum differs from the store's, {each.etag}"
            )
        elif outcome == "unknown":
            findings.unchecked.append(f"{expected.directory}/{path.name}")


def _read(directory: Path, expected: Expected, found: Found, findings: _Findings) -> None:
    """Read the header of each file; count the files of each series."""
    studies = {each.SeriesInstanceUID: each.StudyInstanceUID for each in expected.series}
    counts: Counter[str | None] = Counter()
    for name in sorted(entry.name for entry in instances(directory)):
        path = directory / name
        if is_zero(path):
            findings.add(expected, "zeros", name, found)
            continue
        try:
            series, study = _uids(path)
        except Exception as error:  # a broken file can make pydicom raise almost anything
            findings.add(expected, "unreadable", name, found, str(error) or type(error).__name__)
            continue
        counts[series] += 1
        if None not in studies and studies.get(series, "") != study:
            findings.add(expected, "foreign", name, found, f"it is of the series {series}, study {study}")
    if len(expected.series) > 1 and None not in studies:
        for each in expected.series:
            if counts[each.SeriesInstanceUID] < each.expected_instances:
                detail = (
                    f"{counts[each.SeriesInstanceUID]:,} of {each.expected_instances:,} files of the series"
                )
                findings.add(expected, "missing", "", found, f"{detail} {each.SeriesInstanceUID} are there")


def _uids(path: Path) -> tuple[str, str]:
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = dcmread(
            path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "StudyInstanceUID"]
        )
    return str(header.SeriesInstanceUID), str(header.StudyInstanceUID)


def suspects(verification: Verification) -> Suspects:
    """Return directories that deviate → the names of their wrong files, whatever their size."""
    names: dict[str, set[str]] = {}
    for each in verification.deviations:
        if not each.expected_instances:
            continue  # nothing belongs there, so nothing can be fetched
        wrong = names.setdefault(each.directory, set())
        if each.file and each.problem not in ("missing", "extra"):
            wrong.add(each.file)
    return {directory: frozenset(files) for directory, files in names.items()}
