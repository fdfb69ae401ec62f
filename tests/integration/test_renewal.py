"""A tree of an earlier IDC version, told apart from today's index and brought up to date."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.model.events import Noticed
from dataset_dl.testing import LocalBucket
from support.cli import Cli

PATIENT = "TCGA-05-4384"
WHERE = ["Modality=SM,SEG,ANN", "series_size_MB<50"]
THEN = 22
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    """All series of a patient then and now; the revised one has kept one of its files."""
    uuids = {row.crdc_series_uuid for version in (None, THEN) for row in planned(version)}
    with LocalBucket(sorted(uuids), directory=tmp_path_factory.mktemp("bucket")) as served:
        old, new = revised(served)
        kept = files(served.series_directory(new))[0]
        shutil.copy(kept, served.series_directory(old))
        yield served


@pytest.fixture(autouse=True)
def _endpoint(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    dd.download(planned(THEN), tmp_path / "data")
    return tmp_path / "data"


@functools.cache
def planned(version: int | None) -> dd.Plan:
    return dd.plan(PATIENT, where=WHERE, idc_version=version)


def revised(bucket: LocalBucket) -> tuple[dd.PlannedSeries, dd.PlannedSeries]:
    then = {each.SeriesInstanceUID: each for each in planned(THEN)}
    (pair,) = [
        (then[each.SeriesInstanceUID], each)
        for each in planned(None)
        if each.SeriesInstanceUID in then
        and then[each.SeriesInstanceUID].crdc_series_uuid != each.crdc_series_uuid
    ]
    return pair


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.dcm"))


def holds_today(tree: Path, bucket: LocalBucket) -> bool:
    expected = {
        (row.directory, path.name, path.read_bytes())
        for row in planned(None)
        for path in files(bucket.series_directory(row))
    }
    found = {
        (path.parent.relative_to(tree).as_posix(), path.name, path.read_bytes())
        for path in files(tree)
        if ".dataset-dl" not in path.parts
    }
    return found == expected


def test_what_is_newer_added_and_withdrawn_is_told(tree: Path, cli: Cli) -> None:
    difference = dd.diff(tree)
    kinds = sorted(each.change for each in difference.changes)
    assert kinds == ["added"] * 3 + ["revised"] + ["withdrawn"] * 2
    assert (difference.downloaded_version, difference.idc_version) == (THEN, 25)
    assert (difference.knows_request, difference.is_current, difference.series_count) == (True, False, 5)
    shown = cli("idc", "diff", tree)
    assert (shown.code, shown.err) == (0, "")
    assert "planned from IDC v22; the index here is of v25" in shown.out
    told = cli("idc", "diff", tree, "--format", "json").json
    assert [each["change"] for each in told["changes"]] == kinds
    table = cli("idc", "diff", tree, "--format", "csv").out.splitlines()
    assert table[0].startswith("change,collection_id,PatientID,SeriesInstanceUID")
    assert len(table) == 7


def test_a_tree_is_brought_up_to_date_and_nothing_else_is_moved(
    tree: Path, bucket: LocalBucket, cli: Cli
) -> None:
    old, new = revised(bucket)
    stays = {path: path.stat().st_mtime_ns for path in files(tree)
             if path.parent.name.startswith(("SEG", "ANN"))
             and any(path.parent.name.endswith(str(row.SeriesInstanceUID)) for row in planned(None))}  # fmt: skip
    kept = tree / new.directory / files(bucket.series_directory(new))[0].name
    stays[kept] = kept.stat().st_mtime_ns
    assert len(stays) > 1
    outcome = cli("idc", "diff", tree, "--update", "--endpoint-url", bucket.endpoint_url)
    assert outcome.code == 0, outcome.err
    assert "4 series were fetched; 6 of 6 are complete on disk" in outcome.out
    assert holds_today(tree, bucket)
    assert {path: path.stat().st_mtime_ns for path in stays} == stays
    replaced = files(tree / ".dataset-dl" / "replaced")
    withdrawn = [each for each in planned(THEN)
                 if each.SeriesInstanceUID not in {row.SeriesInstanceUID for row in planned(None)}]  # fmt: skip
    gone = {path.name for row in [old, *withdrawn] for path in files(bucket.series_directory(row))}
    assert {path.name for path in replaced} == gone - {kept.name}
    assert dd.verify(tree).ok
    assert dd.diff(tree).is_current
    assert "all as in IDC v25" in cli("idc", "diff", tree).out
    assert cli("idc", "diff", tree, "--update", "--endpoint-url", NOWHERE).code == 0


def test_an_update_that_is_cut_off_goes_on(tree: Path, bucket: LocalBucket) -> None:
    _, new = revised(bucket)
    lacking = bucket.series_directory(new)
    hidden = lacking.with_name("hidden")
    lacking.rename(hidden)
    try:
        with pytest.raises(dd.NetworkError, match="left as they are"):
            dd.update(dd.diff(tree))
        assert len(files(tree)) == sum(
            1 for row in planned(THEN) for _ in files(bucket.series_directory(row))
        )
        hidden.rename(lacking)
        report = dd.update(dd.diff(tree))
        assert report.ok
    finally:
        if hidden.is_dir():
            hidden.rename(lacking)
    assert holds_today(tree, bucket)


def test_a_withdrawn_series_that_the_store_has_no_more_is_set_aside_too(
    tree: Path, bucket: LocalBucket
) -> None:
    withdrawn = [
        each.earlier_crdc_series_uuid for each in dd.diff(tree).changes if each.change == "withdrawn"
    ]
    homes = [bucket.series_directory(row) for row in planned(THEN) if row.crdc_series_uuid in withdrawn]
    for home in homes:
        home.rename(home.with_suffix(".hidden"))
    try:
        assert dd.update(dd.diff(tree)).ok
    finally:
        for home in homes:
            home.with_suffix(".hidden").rename(home)
    assert holds_today(tree, bucket)


def test_a_flat_tree_is_brought_up_to_date(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = dd.plan(PATIENT, where=WHERE, idc_version=THEN, layout=".")
    dd.download(plan, tmp_path)
    stranger = tmp_path / "notes.dcm"
    stranger.write_text("mine")
    assert dd.update(dd.diff(tmp_path)).ok
    expected = {path.name for row in planned(None) for path in files(bucket.series_directory(row))}
    assert {path.name for path in tmp_path.glob("*.dcm")} == expected | {stranger.name}


def test_a_tree_from_a_saved_plan_knows_what_was_asked_for(
    tmp_path: Path, cli: Cli, bucket: LocalBucket
) -> None:
    saved = dd.plan(PATIENT, where=WHERE, idc_version=THEN).save(tmp_path / "p.parquet")
    assert cli("idc", "download", saved, "--to", tmp_path / "d").code == 0
    difference = dd.diff(tmp_path / "d")
    assert difference.knows_request
    assert (
        sorted(each.change for each in difference.changes) == ["added"] * 3 + ["revised"] + ["withdrawn"] * 2
    )


def test_files_that_were_named_by_the_layout_are_so_after_an_update(
    tmp_path: Path, bucket: LocalBucket
) -> None:
    layout = "%SeriesInstanceUID/%SOPInstanceUID.dcm"
    dd.download(PATIENT, tmp_path / "d", where=WHERE, idc_version=THEN, layout=layout)
    assert dd.update(dd.diff(tmp_path / "d")).ok
    names = [path.name for path in (tmp_path / "d").glob("*/*.dcm")]
    assert len(names) == sum(row.instanceCount for row in planned(None))
    assert {name[:5] for name in names} == {"2.25."}
    assert dd.verify(tmp_path / "d", md5=True).ok


def test_a_tree_from_series_alone_has_nothing_added(tmp_path: Path, cli: Cli, bucket: LocalBucket) -> None:
    old, _ = revised(bucket)
    dd.download(dd.plan(old.crdc_series_uuid), tmp_path / "d")
    difference = dd.diff(tmp_path / "d")
    assert [each.change for each in difference.changes] == ["revised"]
    assert not difference.knows_request
    assert "added series cannot be detected" in cli("idc", "diff", tmp_path / "d").out


def test_requests_are_kept_once(bucket: LocalBucket, tmp_path: Path) -> None:
    for _ in range(2):
        dd.download(planned(None), tmp_path)
    dd.download(dd.plan(where={"PatientID": PATIENT, "Modality": "ANN"}), tmp_path)
    kept = json.loads((tmp_path / ".dataset-dl" / "requests.json").read_text())
    assert [each[0] for each in kept] == [[PATIENT], []]


def test_a_plain_download_says_how_to_bring_a_tree_up_to_date(tree: Path) -> None:
    with pytest.raises(dd.StorageError, match=r"idc diff .* --update"):
        dd.download(planned(None), tree)
    assert dd.update(dd.diff(tree)).ok
    assert dd.download(planned(None), tree, endpoint_url=NOWHERE).ok


def test_what_the_store_does_not_tell_of_stays_asked_for(
    bucket: LocalBucket, tmp_path: Path, cli: Cli
) -> None:
    old, _ = revised(bucket)
    home = bucket.series_directory(old)
    home.rename(home.with_suffix(".hidden"))
    try:
        report = dd.download(planned(THEN), tmp_path, check=False, retries=0)
    finally:
        home.with_suffix(".hidden").rename(home)
    assert [failure.planned.crdc_series_uuid for failure in report.failures] == [old.crdc_series_uuid]
    shown = cli("idc", "verify", tmp_path)
    assert shown.code == 3
    assert "has never listed the files" in shown.out
    assert dd.download(planned(THEN), tmp_path).ok
    assert dd.verify(tmp_path).ok


def test_a_request_that_cannot_be_repeated_is_no_lack_of_news(tree: Path) -> None:
    path = tree / ".dataset-dl" / "requests.json"
    asked = json.loads(path.read_text())
    asked[0][1].append({"column": "seg_index.total_segments", "operator": "=", "values": ["1"]})
    path.write_text(json.dumps(asked))
    with pytest.raises(dd.SelectionError, match="idc indices fetch seg_index"):
        dd.diff(tree)
    path.write_text("{")
    with pytest.raises(dd.ManifestError, match=r"requests\.json is damaged"):
        dd.diff(tree)


def test_both_versions_side_by_side_stay(bucket: LocalBucket, tmp_path: Path) -> None:
    old, new = revised(bucket)
    both = dd.plan([old.crdc_series_uuid, new.crdc_series_uuid], layout="%PatientID/%crdc_series_uuid")
    assert dd.download(both, tmp_path).ok
    assert dd.diff(tmp_path).is_current
    alone = dd.plan(old.crdc_series_uuid, layout="%PatientID/%crdc_series_uuid")
    assert dd.download(alone, tmp_path / "alone").ok
    assert dd.update(dd.diff(tmp_path / "alone")).ok
    assert [path.name for path in (tmp_path / "alone" / PATIENT).iterdir()] == [new.crdc_series_uuid]


def test_an_update_of_yesterdays_difference_looks_anew(tree: Path) -> None:
    difference = dd.diff(tree)
    other = dd.plan(where={"PatientID": PATIENT, "Modality": "SEG"}, layout="more/%SeriesInstanceUID")
    added = [row.SeriesInstanceUID for row in other if row.SeriesInstanceUID not in
             {each.SeriesInstanceUID for each in planned(THEN)}]  # fmt: skip
    dd.download(dd.plan(added, layout="more/%SeriesInstanceUID"), tree)
    assert dd.update(difference).ok
    assert dd.update(difference).ok
    kept = dd.verify(tree)
    assert kept.ok
    assert {path.parent.name for path in (tree / "more").rglob("*.dcm")} == set(added)


def test_all_withdrawn_leaves_a_tree_that_can_be_looked_at(bucket: LocalBucket, tmp_path: Path) -> None:
    now = {row.SeriesInstanceUID for row in planned(None)}
    gone = [row.crdc_series_uuid for row in planned(THEN) if row.SeriesInstanceUID not in now]
    dd.download(dd.plan(gone), tmp_path)
    assert dd.update(dd.diff(tmp_path)).ok
    assert dd.verify(tmp_path).ok
    assert dd.diff(tmp_path).is_current
    assert len(files(tmp_path / ".dataset-dl" / "replaced")) > 0


def test_a_damaged_plan_is_set_aside_with_a_word(bucket: LocalBucket, tmp_path: Path) -> None:
    plans = [dd.plan(each.crdc_series_uuid) for each in planned(None)][:2]
    dd.download(plans[0], tmp_path)
    (tmp_path / ".dataset-dl" / "plan.parquet").write_text("junk")
    events = list(dd.download_events(plans[1], tmp_path))
    assert any("was damaged" in each.text for each in events if isinstance(each, Noticed))
    assert (tmp_path / ".dataset-dl" / "plan.damaged").read_text() == "junk"


def test_a_directory_without_a_plan_is_refused(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("idc", "diff", tmp_path)
    assert outcome.code == 2
    assert "holds no plan" in outcome.err
