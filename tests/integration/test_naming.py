"""Files that are named by what stands in their headers: complete, resumed, verified and repaired as others are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

import dataset_dl as dd
from dataset_dl.destination.journal import Journal
from dataset_dl.errors import LayoutError
from dataset_dl.plans.names import check_directory, file_name
from dataset_dl.testing import LocalBucket
from support.cli import Cli

LAYOUT = "%PatientID/%SeriesInstanceUID/%InstanceNumber.dcm"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> LocalBucket:
    """A bucket whose instances are numbered, in no order; two of the first series have one number."""
    bucket = LocalBucket("qin_pet_phantom", max_series=2, directory=tmp_path_factory.mktemp("numbered"))
    bucket.fill()
    for series in bucket.series:
        files = sorted(bucket.series_directory(series).iterdir())
        for number, file in enumerate(files, 1):
            dataset = dcmread(file)
            dataset.InstanceNumber = number
            dataset.save_as(file)
            assert file.stat().st_size % 2 == 0
    twin = sorted(bucket.series_directory(bucket.series[0]).iterdir())[1]
    dataset = dcmread(twin)
    dataset.InstanceNumber = 1
    dataset.save_as(twin)
    sizes = [
        sum(file.stat().st_size for file in bucket.series_directory(each).iterdir()) for each in bucket.series
    ]
    # A number of more figures takes more bytes than the index says.
    bucket.series = tuple(
        each._replace(size_bytes=size) for each, size in zip(bucket.series, sizes, strict=True)
    )
    return bucket


@pytest.fixture(scope="module")
def served(numbered: LocalBucket):
    numbered.serve()
    yield numbered
    numbered.close()


@pytest.fixture
def plan(served: LocalBucket, tmp_path: Path) -> dd.Plan:
    from dataclasses import replace

    from support.plans import plan_of

    made = dd.plan([each.crdc_series_uuid for each in served.series], layout=LAYOUT, into=tmp_path / "to")
    sizes = {each.crdc_series_uuid: each.size_bytes for each in served.series}
    sized = plan_of(
        [each._replace(size_bytes=sizes[each.crdc_series_uuid]) for each in made], tmp_path / "to"
    )
    return replace(sized, origin=made.origin)


def names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*.dcm")}


def is_right(bucket: LocalBucket, root: Path) -> bool:
    """Whether each file holds the bytes of the object with its number."""
    held = {file.read_bytes() for each in bucket.series for file in bucket.series_directory(each).iterdir()}
    return {path.read_bytes() for path in root.rglob("*.dcm")} == held


def test_files_get_the_names_that_the_layout_says(served: LocalBucket, plan: dd.Plan, tmp_path: Path) -> None:
    assert plan.origin.file_template == "%InstanceNumber.dcm"
    assert dd.download(plan, endpoint_url=served.endpoint_url).ok
    root = tmp_path / "to"
    found = names(root)
    assert {"0003.dcm", "0081.dcm"} <= found
    assert all(re.fullmatch(r"[0-9]{4}(~[0-9a-f]{8})?\.dcm", name) for name in found)
    assert len([name for name in found if name.startswith("0001~")]) == 2
    for path in root.rglob("*.dcm"):
        assert int(path.name[:4]) == dcmread(path, specific_tags=["InstanceNumber"]).InstanceNumber
    assert is_right(served, root)
    assert dd.download(plan, endpoint_url=NOWHERE).ok
    assert names(root) == found
    assert [series.paths for series in dd.stream(plan, endpoint_url=NOWHERE)]


def test_what_is_missing_is_fetched_and_named(served: LocalBucket, plan: dd.Plan, tmp_path: Path) -> None:
    dd.download(plan, endpoint_url=served.endpoint_url)
    root = tmp_path / "to"
    before = names(root)
    gone = min(root.rglob("0005.dcm"))
    gone.unlink()
    assert not dd.verify(root).ok
    report = dd.download(plan, endpoint_url=served.endpoint_url)
    assert report.ok
    assert report.fetched_bytes < 100_000  # not the whole series
    assert names(root) == before
    assert is_right(served, root)


def test_checksums_and_repair_know_the_names(served: LocalBucket, plan: dd.Plan, tmp_path: Path) -> None:
    dd.download(plan, endpoint_url=served.endpoint_url)
    root = tmp_path / "to"
    assert dd.verify(root, md5=True, endpoint_url=served.endpoint_url).ok
    wrong = sorted(root.rglob("0007.dcm"))[1]
    data = bytearray(wrong.read_bytes())
    data[-1] ^= 1
    wrong.write_bytes(data)
    outcome = dd.verify(root, md5=True, endpoint_url=served.endpoint_url)
    assert [(each.problem, each.file) for each in outcome.deviations] == [("altered", "0007.dcm")]
    assert dd.repair(outcome, endpoint_url=served.endpoint_url).ok
    assert is_right(served, root)
    assert dd.verify(root, md5=True, endpoint_url=served.endpoint_url).ok
    assert wrong.is_file()


def test_a_blow_in_the_middle_of_renaming_costs_nothing(
    served: LocalBucket, plan: dd.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    rename, left = os.rename, [40]

    def struck(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", struck)
        with pytest.raises(KeyboardInterrupt):
            dd.download(plan, endpoint_url=served.endpoint_url)
    assert dd.download(plan, endpoint_url=served.endpoint_url).ok
    root = tmp_path / "to"
    assert all(re.match(r"[0-9]{4}", name) and len(name) < 20 for name in names(root))
    assert is_right(served, root)
    with Journal(root / ".dataset-dl" / "journal.sqlite") as journal:
        for series in plan:
            assert len(journal.renamed(series.crdc_series_uuid)) == series.instanceCount


def test_series_that_share_a_directory_do_not_take_each_others_names(
    served: LocalBucket, plan: dd.Plan, tmp_path: Path
) -> None:
    from dataclasses import replace

    from support.plans import plan_of

    together = plan_of([each._replace(directory="all") for each in plan], tmp_path / "to")
    together = replace(together, origin=plan.origin)
    assert dd.download(together, endpoint_url=served.endpoint_url).ok
    assert len(names(tmp_path / "to")) == sum(each.instanceCount for each in plan)
    assert is_right(served, tmp_path / "to")
    report = dd.download(together, endpoint_url=NOWHERE)
    assert (report.ok, report.fetched_series) == (True, 0)


def test_a_saved_plan_and_the_destination_remember_the_template(cli: Cli, bucket: LocalBucket) -> None:
    uid = bucket.series[0].crdc_series_uuid
    layout = "%PatientID/%SOPInstanceUID.dcm"
    assert cli("idc", "manifest", uid, "-o", "p.parquet", "--layout", layout).code == 0
    assert cli("idc", "download", "p.parquet", "--to", "d", "--endpoint-url", bucket.endpoint_url).code == 0
    found = names(cli.directory / "d")
    assert all(name.startswith("2.25.") for name in found)
    next((cli.directory / "d").rglob("*.dcm")).unlink()
    assert cli("idc", "verify", "d", "--repair", "--endpoint-url", bucket.endpoint_url).code == 0
    assert names(cli.directory / "d") == found


@pytest.mark.parametrize(
    "layout", ["%InstanceNumbr.dcm", "%PatientID/x.dcm", "%PatientID/a:%InstanceNumber.dcm"]
)
def test_a_file_name_that_is_none_is_refused(layout: str) -> None:
    with pytest.raises(LayoutError):
        dd.plan("rider_pilot", layout=layout, limit=1)
    with pytest.raises(LayoutError, match="Did you mean %InstanceNumber"):
        dd.plan("rider_pilot", layout="%InstanceNumbr.dcm", limit=1)


@given(st.none() | st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_value_makes_a_name_that_every_system_takes(value: str | None) -> None:
    name = file_name("%SeriesDescription.dcm", {"SeriesDescription": value})
    assert name.endswith(".dcm")
    assert check_directory(name) is None


@pytest.mark.parametrize("lost", ["journal.sqlite", "."])
def test_names_are_found_again_by_checksums_where_the_journal_is_lost(
    served: LocalBucket, plan: dd.Plan, tmp_path: Path, lost: str
) -> None:
    dd.download(plan, endpoint_url=served.endpoint_url)
    root = tmp_path / "to"
    before = names(root)
    path = root / ".dataset-dl" / lost
    if lost == ".":
        shutil.rmtree(root / ".dataset-dl")
        assert dd.download(plan, endpoint_url=NOWHERE).ok
    else:
        path.unlink()
    outcome = dd.verify(root, md5=True, endpoint_url=served.endpoint_url)
    assert not outcome.ok
    report = dd.repair(outcome, endpoint_url=served.endpoint_url)
    assert (report.ok, report.fetched_bytes) == (True, 0)
    assert names(root) == before
    assert is_right(served, root)
    assert dd.verify(root, md5=True, endpoint_url=served.endpoint_url).ok


def test_a_file_renamed_by_hand_is_known_by_its_checksum(
    served: LocalBucket, plan: dd.Plan, tmp_path: Path
) -> None:
    dd.download(plan, endpoint_url=served.endpoint_url)
    root = tmp_path / "to"
    before = names(root)
    file = next(root.rglob("0009.dcm"))
    file.rename(file.with_name("mine.dcm"))
    report = dd.download(plan, verify="md5", endpoint_url=served.endpoint_url)
    assert (report.ok, report.fetched_bytes) == (True, 0)
    assert names(root) == before


def test_another_layout_of_names_renames(cli: Cli, bucket: LocalBucket) -> None:
    words = ("idc", "download", bucket.series[0].crdc_series_uuid, "--to", "d")
    words += ("--endpoint-url", bucket.endpoint_url)
    for template, beginning in (("%SOPInstanceUID.dcm", "2.25."), ("x-%SOPInstanceUID.dcm", "x-2.25.")):
        assert cli(*words, "--layout", f"%SeriesInstanceUID/{template}").code == 0
        found = names(cli.directory / "d")
        assert len(found) == bucket.series[0].instanceCount
        assert all(name.startswith(beginning) for name in found)
    assert cli("idc", "verify", "d", "--md5", "--endpoint-url", bucket.endpoint_url).code == 0


def test_a_plan_that_is_narrowed_or_combined_keeps_the_names(tmp_path: Path) -> None:
    saved = dd.plan("qin_pet_phantom", layout=LAYOUT).save(tmp_path / "p.parquet")
    for plan in (
        dd.plan(saved, where="Modality=PT"),
        dd.plan(saved, limit=2),
        dd.plan([saved, "rider_pilot"]),
    ):
        assert plan.origin.file_template == "%InstanceNumber.dcm"
        assert dd.plan(plan.save(tmp_path / "q.parquet")).origin.file_template == "%InstanceNumber.dcm"
    assert dd.plan(saved, layout="%PatientID").origin.file_template == ""
