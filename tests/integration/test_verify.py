"""A tree held against its plan: what is found, what is said, what --repair makes of it."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from support.cli import Cli


@pytest.fixture
def tree(bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)
    root = tmp_path / "tree"
    dd.download(planned(bucket), root, progress="none")
    return root


@functools.cache
def planned(bucket: LocalBucket) -> dd.Plan:
    return dd.plan([each.crdc_series_uuid for each in bucket.series])


def file_of(tree: Path, bucket: LocalBucket, number: int, place: int = 0) -> Path:
    row = list(planned(bucket))[number]
    return sorted((tree / row.directory).glob("*.dcm"))[place]


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def problems(outcome: dd.Verification) -> list[tuple[str, str]]:
    return [(each.problem, each.file) for each in outcome.deviations]


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def junk(path: Path) -> None:
    path.write_bytes(b"<html>" + b"x" * (path.stat().st_size - 6))


@pytest.mark.parametrize(("spoil", "problem"), [(zero, "zeros"), (junk, "unreadable")])
def test_deep_finds_what_has_the_right_size_and_no_header(
    tree: Path, bucket: LocalBucket, spoil: object, problem: str
) -> None:
    file = file_of(tree, bucket, 1)
    spoil(file)  # type: ignore[operator]
    assert dd.verify(tree).ok
    assert problems(dd.verify(tree, deep=True)) == [(problem, file.name)]


def test_deep_finds_a_file_of_another_series(tree: Path, bucket: LocalBucket) -> None:
    file, other = file_of(tree, bucket, 1), file_of(tree, bucket, 2)
    shutil.copyfile(other, file)
    (deviation,) = [each for each in dd.verify(tree, deep=True).deviations if each.file]
    assert (deviation.problem, deviation.file) == ("foreign", file.name)
    assert "it is of the series" in deviation.detail


def test_deep_counts_the_files_of_each_series_in_a_shared_directory(
    bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], layout=".", into=tmp_path)
    dd.download(plan, progress="none")
    assert dd.verify(tmp_path, deep=True, md5=True).ok
    first, second = (
        min(file.name for file in bucket.series_directory(each).iterdir()) for each in list(plan)[:2]
    )
    shutil.copyfile(tmp_path / second, tmp_path / first)
    found = dd.verify(tmp_path, deep=True)
    assert [each.problem for each in found.deviations if "of the series" in each.detail] == ["missing"]


def test_md5_names_every_kind_of_wrong_file(tree: Path, bucket: LocalBucket) -> None:
    altered, short, gone, stray = (file_of(tree, bucket, 0, place) for place in range(4))
    flip(altered)
    short.write_bytes(short.read_bytes()[:-5])
    gone.unlink()
    extra = stray.with_name("00000000-stray.dcm")
    extra.write_bytes(b"mine")
    found = dd.verify(tree, md5=True)
    assert sorted(problems(found)) == sorted(
        [("altered", altered.name), ("short", short.name), ("missing", gone.name), ("extra", extra.name)]
    )
    assert found.complete_series == 3
    assert found.unchecked == ()


def test_repair_fetches_just_what_is_wrong(tree: Path, bucket: LocalBucket) -> None:
    wrong = [file_of(tree, bucket, 0), file_of(tree, bucket, 2, 5)]
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*.dcm")}
    for file in wrong:
        flip(file)
    report = dd.repair(dd.verify(tree, md5=True))
    assert report.ok
    assert report.series_count == 2
    changed = {path for path in tree.rglob("*.dcm") if path.stat().st_mtime_ns != before[path]}
    assert changed == set(wrong)
    found = dd.verify(tree, deep=True, md5=True)
    assert found.ok
    assert found.series_count == 4


def test_repair_leaves_what_is_not_ours(tree: Path, bucket: LocalBucket) -> None:
    mine = file_of(tree, bucket, 0).with_name("mine.dcm")
    mine.write_text("mine")
    report = dd.repair(dd.verify(tree, md5=True))
    assert [each.cause for each in report.failures] == ["extra_files"]
    assert mine.read_text() == "mine"


def test_a_deep_look_never_costs_a_file_that_is_not_ours(tree: Path, bucket: LocalBucket) -> None:
    directory = file_of(tree, bucket, 0).parent
    mine = {directory / "mine.dcm": b"\0" * 128 + b"DICM my work", directory / "zeros.dcm": bytes(3000)}
    for path, data in mine.items():
        path.write_bytes(data)
    wrong = file_of(tree, bucket, 1)
    zero(wrong)
    report = dd.repair(dd.verify(tree, deep=True))
    assert [each.cause for each in report.failures] == ["extra_files"]
    assert {path: path.read_bytes() for path in mine} == mine
    assert [each.problem for each in dd.verify(tree, deep=True).deviations if not each.file] == []
    assert dd.verify(tree, md5=True).complete_series == 3


def test_a_file_under_another_name_gets_its_own_back_by_its_checksum(tree: Path, bucket: LocalBucket) -> None:
    file = file_of(tree, bucket, 0)
    file.rename(file.with_name("IM0001.dcm"))
    found = dd.verify(tree, md5=True)
    assert not found.ok
    report = dd.repair(found)
    assert (report.ok, report.fetched_bytes) == (True, 0)
    assert file.exists()
    assert not file.with_name("IM0001.dcm").exists()
    assert dd.verify(tree, md5=True).ok


def test_nothing_is_removed_where_the_store_does_not_answer(tree: Path, bucket: LocalBucket) -> None:
    file = file_of(tree, bucket, 0)
    flip(file)
    found = dd.verify(tree, md5=True)
    with pytest.raises(dd.NetworkError):
        dd.repair(found, endpoint_url="http://127.0.0.1:9")
    assert file.exists()


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_what_is_no_file_is_no_instance(tree: Path, bucket: LocalBucket, kind: str) -> None:
    odd = file_of(tree, bucket, 0).with_name("odd.dcm")
    if kind == "link":
        odd.symlink_to("nowhere")
    elif kind == "directory":
        odd.mkdir()
    else:
        os.mkfifo(odd)
    assert dd.verify(tree, deep=True, md5=True).ok


def test_trees_of_other_tools_with_odd_names_and_copies(
    tree: Path, bucket: LocalBucket, tmp_path: Path
) -> None:
    source = file_of(tree, bucket, 0).parent
    odd = tmp_path / "odd"
    for name in ("x", "y", "what? really", b"caf\xe9".decode(errors="surrogateescape")):
        shutil.copytree(source, odd / name / source.name)
    (odd / "x" / source.name / file_of(tree, bucket, 0).name).unlink()
    shutil.copytree(source, odd / "z" / "1.2.3.4.5.6.7")
    found = dd.verify(odd)
    assert sorted(each.problem for each in found.deviations) == ["extra"] * 4 + ["missing"]
    details = sorted(each.detail for each in found.deviations)
    assert "a second copy of its series" in details
    assert "the index has no such series" in details
    assert dd.repair(found).ok
    assert dd.verify(odd).ok


def test_the_command_says_what_repair_could_not_do(cli: Cli, tree: Path, bucket: LocalBucket) -> None:
    shutil.rmtree(tree / ".dataset-dl")
    source = file_of(tree, bucket, 0).parent
    shutil.copytree(source, tree / "1.2.3.4.5.6.7")
    outcome = cli("idc", "verify", tree, "--repair")
    assert outcome.code == 3
    assert "left as they are" in outcome.err


def test_a_tree_of_another_tool_is_repaired_and_then_has_a_plan(tree: Path, bucket: LocalBucket) -> None:
    shutil.rmtree(tree / ".dataset-dl")
    file_of(tree, bucket, 3).unlink()
    found = dd.verify(tree)
    assert problems(found) == [("missing", "")]
    assert dd.repair(found).ok
    assert dd.verify(tree).series_count == 4


def test_repair_never_writes_through_a_link(tree: Path, bucket: LocalBucket, tmp_path: Path) -> None:
    file = file_of(tree, bucket, 0)
    flip(file)
    outside = tmp_path / "outside"
    file.parent.rename(outside)
    file.parent.symlink_to(outside)
    with pytest.raises(dd.StorageError, match="symbolic link"):
        dd.repair(dd.verify(tree, md5=True))
    assert (outside / file.name).exists()


def test_the_command_says_it_in_a_table_and_repairs(cli: Cli, tree: Path, bucket: LocalBucket) -> None:
    file = file_of(tree, bucket, 0)
    flip(file)
    told = cli("idc", "verify", tree, "--md5")
    assert told.code == 3
    assert "altered" in told.out
    assert file.name in told.out
    assert "--repair" in told.err
    repaired = cli("idc", "verify", tree, "--md5", "--repair")
    assert repaired.code == 0, repaired.err
    assert "repaired; 1 series" in repaired.out
    assert cli("idc", "verify", tree, "--md5", "--deep").code == 0


def test_the_command_as_json(cli: Cli, tree: Path, bucket: LocalBucket) -> None:
    file_of(tree, bucket, 0).unlink()
    told = cli("idc", "verify", tree, "--json", "--repair")
    assert told.code == 0
    assert [each["problem"] for each in told.json["deviations"]] == ["missing"]
    assert told.json["repair"]["ok"]


def test_a_store_that_does_not_answer_is_told_at_once(cli: Cli, tree: Path) -> None:
    outcome = cli("idc", "verify", tree, "--md5", "--endpoint-url", "http://127.0.0.1:9")
    assert outcome.code == 4
    assert "nothing listens there" in outcome.err


def test_a_download_compares_checksums_if_asked(cli: Cli, tree: Path, bucket: LocalBucket) -> None:
    uuids = [each.crdc_series_uuid for each in bucket.series]
    flip(file_of(tree, bucket, 0))
    assert "nothing was fetched" in cli("idc", "download", *uuids, "--to", tree).out
    outcome = cli("idc", "download", *uuids, "--to", tree, "--verify", "md5")
    assert outcome.code == 0, outcome.err
    assert "compared with the store's MD5 sums" in outcome.out
    assert dd.verify(tree, md5=True).ok
    trusting = cli("idc", "download", *uuids, "--to", tree, "--trust-journal")
    assert "4 series are complete according to the journal" in trusting.out
