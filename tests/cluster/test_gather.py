"""The parts of a plan become one download: in one tree, from several, or as a report alone."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.cluster import gather, gathering, moving, status
from dataset_dl.destination import paths
from dataset_dl.destination.journal import Journal
from dataset_dl.destination.merging import inherit, merge
from dataset_dl.destination.reading import Entries
from dataset_dl.model.plan import Plan
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import copy_of
from dataset_dl.process.kernel import kernel_id
from dataset_dl.testing import LocalBucket
from support.cli import Cli
from support.engines import ScriptedEngine
from support.plans import row


@pytest.fixture
def plan(filled: LocalBucket) -> Plan:
    return dd.plan([each.key for each in filled.series])


def fetch(plan: Plan, target: Path, part: str, filled: LocalBucket) -> dd.Report:
    return dd.download(plan, target, part=part, engine=ScriptedEngine(filled), progress="none")


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".dataset-dl" not in path.parts
    }


def records(root: Path) -> set[str]:
    return {path.name for path in (root / ".dataset-dl").iterdir()}


def test_one_destination_becomes_one_download(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        fetch(plan, tmp_path / "to", f"{number}/3", filled)
    report = gather(tmp_path / "to")
    assert (report.ok, report.series_count, report.fetched_series) == (True, 3, 3)
    dd.download(plan, tmp_path / "whole", engine=ScriptedEngine(filled), progress="none")
    assert contents(tmp_path / "to") == contents(tmp_path / "whole")
    assert records(tmp_path / "to") == records(tmp_path / "whole")
    for name in ("LICENSES.md", "CITATIONS.bib"):
        one, other = ((tmp_path / each / ".dataset-dl" / name).read_text() for each in ("to", "whole"))
        assert one == other
    assert [each.key for each in dd.plan(tmp_path / "to")] != []
    engine = ScriptedEngine(filled)
    again = dd.download(plan, tmp_path / "to", engine=engine, progress="none", trust_journal=True)
    assert (again.ok, again.trusted_series, engine.asked) == (True, 3, [])
    assert dd.diff(tmp_path / "to").is_current
    assert gather(tmp_path / "to").series_count == 3
    assert status(tmp_path / "to") == []


def test_what_idc_does_not_have_is_not_forgotten(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    """Not by the first gather, and not when a part is repeated that does not know of it."""
    unknown = "1.2.3.4"
    plan = replace(plan, origin=plan.origin._replace(missing=(unknown,)))
    for number in (1, 2, 3):
        dd.download(plan, tmp_path, part=f"{number}/3", engine=ScriptedEngine(filled), progress="none", check=False)  # fmt: skip
    for repeated in (None, "2/3", None):
        if repeated:
            fetch(plan, tmp_path, repeated, filled)
        report = gather(tmp_path)
        assert (report.ok, report.missing, report.complete_series) == (False, (unknown,), 3)
        assert unknown in (tmp_path / ".dataset-dl" / "missing.tcia").read_text()


def test_a_failed_delivery_of_another_part_is_not_forgotten(
    plan: Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    may_take = False

    def take(series: dd.Series) -> None:
        if not may_take:
            raise ValueError("not now")

    def run(part: str) -> None:
        dd.download(plan, tmp_path, part=part, engine=ScriptedEngine(filled), progress="none", then=take, check=False)  # fmt: skip

    def failures() -> int:
        report = gather(tmp_path)
        assert report.delivery is not None and report.complete_series == 3
        return len(report.delivery.failures)

    for number in (1, 2, 3):
        run(f"{number}/3")
    assert failures() == 3
    may_take = True
    run("2/3")
    assert failures() == 2
    run("1/3")
    run("3/3")
    assert failures() == 0


def test_nothing_is_gathered_until_each_part_has_begun(
    plan: Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    fetch(plan, tmp_path, "1/3", filled)
    fetch(plan, tmp_path, "3/3", filled)
    with pytest.raises(
        dd.TransferIncomplete, match=r"Part 2 of 3 did not begin.*2 of 3 series are complete"
    ) as caught:
        gather(tmp_path)
    assert caught.value.report is not None
    assert caught.value.report.untried_series == 1
    assert len(paths.parts(tmp_path)) == 2
    fetch(plan, tmp_path, "2/3", filled)
    assert gather(tmp_path).ok


def test_a_part_that_was_killed_is_told(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", filled)
    name = paths.parts(tmp_path)[1]
    files = paths.files_of(tmp_path, name)
    next((tmp_path / next(iter(dd.plan(files.plan))).directory).iterdir()).unlink()
    (files.folder / "holder.json").write_text(json.dumps({"kernel": kernel_id()}))
    left = next(iter(dd.plan(files.plan)))
    (tmp_path / left.directory / "36f7a8cb-0ddd-44a3-8646-df10344c49d7.dcm123").touch()
    report = gather(tmp_path)
    assert (report.ok, report.complete_series, len(report.failures)) == (False, 2, 1)
    assert report.failures[0].message == "it is not complete on the disk, and no part says why"
    assert not list(tmp_path.rglob("*.dcm123")), "what a killed attempt left is swept"


@pytest.mark.parametrize("how", ["gone", "short", "link", "forgotten"])
def test_the_disk_overrules_the_journals(plan: Plan, filled: LocalBucket, tmp_path: Path, how: str) -> None:
    for number in (1, 2, 3):
        fetch(plan, tmp_path / "to", f"{number}/3", filled)
    file = min((tmp_path / "to").rglob("*.dcm"))
    right = file.read_bytes()
    if how == "forgotten":
        paths.files_of(tmp_path / "to", paths.parts(tmp_path / "to")[0]).journal.write_bytes(b"damaged")
    else:
        file.unlink()
    if how == "short":
        file.write_bytes(right[:-1])
    if how == "link":
        (tmp_path / "outside.dcm").write_bytes(right)
        file.symlink_to(tmp_path / "outside.dcm")
    report = gather(tmp_path / "to")
    assert report.ok is (how == "forgotten")
    assert report.complete_series == (3 if how == "forgotten" else 2)
    assert gather(tmp_path / "to").ok is report.ok, "once more"
    assert dd.download(plan, tmp_path / "to", engine=ScriptedEngine(filled), progress="none").ok
    assert file.read_bytes() == right
    assert dd.verify(tmp_path / "to", progress="none").ok


def test_a_journal_is_trusted_if_that_is_wanted(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", filled)
    min(tmp_path.rglob("*.dcm")).unlink()
    report = gather(tmp_path, trust_journal=True)
    assert (report.ok, report.trusted_series) == (True, 3)
    report = gather(tmp_path)
    assert (report.ok, report.complete_series, report.trusted_series) == (False, 2, 0)


def test_nothing_is_gathered_through_a_link(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    roots = [tmp_path / f"node{number}" for number in (1, 2, 3)]
    for number, root in enumerate(roots, 1):
        fetch(plan, root, f"{number}/3", filled)
    (tmp_path / "outside").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "qin_pet_phantom").symlink_to(tmp_path / "outside")
    with pytest.raises(dd.StorageError):
        gather(*roots, to=tmp_path / "to")
    assert list((tmp_path / "outside").iterdir()) == []
    (tmp_path / "to" / "qin_pet_phantom").unlink()
    assert gather(*roots, to=tmp_path / "to").ok
    assert gather(*roots, to=tmp_path / "to").ok, "once more, when there are no parts any more"


def test_damaged_records_are_a_lost_part(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", filled)
    files = paths.files_of(tmp_path, paths.parts(tmp_path)[1])
    for text in (
        "[]",
        '{"state": "running", "completed_series": "x"}',
        '{"throughput_mbps": null}',
        "{",
        "\xff",
    ):
        files.progress.write_text(text, encoding="latin-1")
        assert status(tmp_path)[1].state == "lost"
    files.plan.write_bytes(b"damaged")
    assert status(tmp_path)[1].state == "lost"
    with pytest.raises(dd.TransferIncomplete, match=r"Part 2 of 3 .* damaged records.*--part 2/3"):
        gather(tmp_path)
    (files.folder / "holder.json").write_text("[]")
    dd.download(plan, tmp_path, part="2/3", engine=ScriptedEngine(filled), progress="none", take_over=True)
    assert status(tmp_path)[1].state == "complete"
    assert gather(tmp_path).ok


def test_the_report_has_what_came_from_each_store(plan: Plan, bucket: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        dd.download(plan, tmp_path, part=f"{number}/3", endpoint_url=bucket.endpoint_url, progress="none")
    report = gather(tmp_path)
    assert report.bytes_by_store == {"127.0.0.1": plan.size_bytes}
    assert report.fetched_bytes == plan.size_bytes


def test_what_another_machine_may_have_lost_is_not_gathered(
    plan: Plan, filled: LocalBucket, tmp_path: Path
) -> None:
    """Its journal says complete, but nobody has looked at the disk since it was lost."""
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", filled)
    files = paths.files_of(tmp_path, paths.parts(tmp_path)[1])
    (files.folder / "holder.json").write_text(json.dumps({"kernel": "of another machine"}))
    for path in (files.progress, files.folder):
        os.utime(path, (1, 1))
    with pytest.raises(dd.TransferIncomplete, match="Part 2 of 3 did not end in order on another machine"):
        gather(tmp_path)
    row = next(iter(dd.plan(files.plan)))
    file = min((tmp_path / row.directory).iterdir())
    right = file.read_bytes()
    file.write_bytes(bytes(len(right)))
    fetch(plan, tmp_path, "2/3", filled)
    assert file.read_bytes() == right
    assert gather(tmp_path).ok


def test_the_records_of_others_stay(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    other = paths.files_of(tmp_path, "of-a-program-of-its-own").folder
    other.mkdir(parents=True)
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", filled)
    assert gather(tmp_path).ok
    assert [path.name for path in other.parent.iterdir()] == [other.name]


@pytest.mark.parametrize("layout", [None, "."])
def test_several_destinations_become_one(
    filled: LocalBucket, tmp_path: Path, layout: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dd.plan([each.key for each in filled.series], layout=layout)
    roots = [tmp_path / f"node{number}" for number in (1, 2, 3)]
    for number, root in enumerate(roots, 1):
        fetch(plan, root, f"{number}/3", filled)
    with pytest.raises(dd.ManifestError, match="where they belong"):
        gather(*roots)
    only = gathering.report_of_parts(*roots)
    assert (only.ok, only.series_count) == (True, 3)
    # Interrupted in the midst of moving: the same call goes on.
    moved: list[Path] = []
    move = moving._move_file

    def interrupted(path: Path, target: Path) -> None:
        if len(moved) == 100:
            raise KeyboardInterrupt
        moved.append(path)
        move(path, target)

    (tmp_path / "to" / next(iter(plan)).directory).mkdir(parents=True)  # so that it moves file by file
    monkeypatch.setattr(moving, "_move_file", interrupted)
    if layout == ".":
        with pytest.raises(KeyboardInterrupt):
            gather(*roots, to=tmp_path / "to")
    monkeypatch.setattr(moving, "_move_file", move)
    assert gather(*roots, to=tmp_path / "to").ok
    dd.download(plan, tmp_path / "whole", engine=ScriptedEngine(filled), progress="none")
    assert contents(tmp_path / "to") == contents(tmp_path / "whole")
    assert all(contents(root) == {} for root in roots)
    assert dd.verify(tmp_path / "to", progress="none").ok
    engine = ScriptedEngine(filled)
    assert dd.download(plan, tmp_path / "to", engine=engine, progress="none").ok
    assert engine.asked == []


def test_a_series_that_is_gone_is_not_gathered(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    roots = [tmp_path / f"node{number}" for number in (1, 2, 3)]
    for number, root in enumerate(roots, 1):
        fetch(plan, root, f"{number}/3", filled)
    next(roots[1].rglob("*.dcm")).unlink()
    with pytest.raises(dd.StorageError, match="not all of its files are there"):
        gather(*roots, to=tmp_path / "to")


def test_the_report_alone_needs_no_series(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    """Each machine has its own disk; their records were copied here."""
    for number in (1, 3):
        fetch(plan, tmp_path / f"node{number}", f"{number}/3", filled)
        shutil.copytree(
            tmp_path / f"node{number}" / ".dataset-dl", tmp_path / f"copy{number}" / ".dataset-dl"
        )
        shutil.rmtree(tmp_path / f"node{number}")
    copies = [tmp_path / "copy1", tmp_path / "copy3"]
    report = gathering.report_of_parts(*copies)
    assert (report.complete_series, report.series_count, report.stopped) == (
        2,
        3,
        "Part 2 of 3 did not begin",
    )
    cli = Cli(tmp_path)
    done = cli("cluster", "gather", *copies, "--report-only")
    assert done.code == 3
    assert "1 of 3 series were not tried (Part 2 of 3 did not begin); 2 are complete" in done.err.replace(
        "\n", " "
    )


def test_what_does_not_belong_together(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    fetch(plan, tmp_path / "a", "1/3", filled)
    fetch(plan, tmp_path / "b", "1/3", filled)
    fetch(plan, tmp_path / "c", "1/2", filled)
    other = dd.plan([each.key for each in filled.series[:2]])
    fetch(other, tmp_path / "d", "2/3", filled)
    for names, words in (
        ("ab", "Part 1/3 is in"),
        ("ac", "cut into 2 and into 3 parts"),
        ("ad", "2 different plans"),
    ):
        with pytest.raises(dd.PlanError, match=words):
            gather(*(tmp_path / name for name in names), to=tmp_path / "to")
    (tmp_path / "empty").mkdir()
    with pytest.raises(dd.ManifestError, match="There is nothing to gather"):
        gather(tmp_path / "empty")


def test_parts_that_do_not_make_up_the_plan(plan: Plan, filled: LocalBucket, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        fetch(plan, tmp_path, f"{number}/3", filled)
    files = [paths.files_of(tmp_path, name).plan for name in paths.parts(tmp_path)]
    lost, twice = (copy_of(path) for path in files[:2])
    PlanFile.of([], lost.origin).save(files[0])
    with pytest.raises(dd.ManifestError, match="do not make up the plan"):
        gather(tmp_path)
    PlanFile.of(twice, lost.origin).save(files[0])
    with pytest.raises(dd.ManifestError, match="are in two parts"):
        gather(tmp_path)
    assert len(paths.parts(tmp_path)) == 3
    lost.save(files[0])
    assert gather(tmp_path).ok


def test_journals_are_merged_whole(tmp_path: Path) -> None:
    rows = [row(number) for number in range(4)]
    with Journal(tmp_path / "one.sqlite", "first") as one:
        one.record(rows[0])
        one.record(rows[1])
        one.evict(rows[3])
        one.finish_run("{}")
    with Journal(tmp_path / "other.sqlite", "second") as other:
        other.record(rows[1], ["a.dcm", "b.dcm"])
        other.record(rows[2])
        other.record(rows[3])
        other.rename(rows[2].key, {"a.dcm": "1.dcm"}, "%InstanceNumber.dcm")
        other.finish_run("{}")
    with Journal(tmp_path / "one.sqlite", "third") as one:
        for _ in range(2):  # once more changes nothing
            merge(one, tmp_path / "other.sqlite")
            assert all(map(one.holds, rows))
            assert one.names(rows[1]) == ["a.dcm", "b.dcm"]
            assert one.renamed(rows[2].key) == {"a.dcm": "1.dcm"}
            assert not one.is_evicted(rows[3])
            runs = list(one.connection.execute("SELECT run_id FROM runs ORDER BY number"))
            assert runs == [("first",), ("second",)]
            of = dict(one.connection.execute("SELECT key, run_id FROM series JOIN runs ON number = run"))
            assert of == {rows[0].key: "first", **{each.key: "second" for each in rows[1:]}}
    (tmp_path / "damaged.sqlite").write_bytes(b"no journal")
    with Journal(tmp_path / "one.sqlite") as one:
        merge(one, tmp_path / "damaged.sqlite")
        assert all(map(one.holds, rows))
    inherit(tmp_path / "one.sqlite", tmp_path / "part.sqlite", [rows[1].key, rows[2].key])
    entries = Entries(tmp_path / "part.sqlite")
    assert [entries.is_complete(each) for each in rows] == [False, True, True, False]
    assert entries.names(rows[1]) == ["a.dcm", "b.dcm"]
    assert Entries(tmp_path / "nowhere.sqlite").is_complete(rows[0]) is False
