"""The Python faces, as a notebook uses them."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import dataset_dl as dd
from dataset_dl import DownloadProgress, IDCClient, Service
from dataset_dl.testing import LocalBucket
from support.children import running


@pytest.fixture
def plan(bucket: LocalBucket, tmp_path: Path) -> dd.Plan:
    return dd.plan([each.crdc_series_uuid for each in bucket.series], into=tmp_path / "data")


@pytest.fixture(autouse=True)
def _endpoint(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)


def test_download_reports(plan: dd.Plan, tmp_path: Path) -> None:
    report = dd.download(plan)
    assert report.ok
    assert report.destination == tmp_path / "data"
    assert (report.complete_series, report.complete_bytes) == (4, plan.size_bytes)
    assert dd.verify(tmp_path / "data").ok


def test_progress_is_called_back(plan: dd.Plan) -> None:
    seen: list[DownloadProgress] = []
    dd.download(plan, progress_callback=seen.append)
    last = seen[-1]
    assert (last.total_files, last.completed_files, last.failed_files) == (
        plan.instance_count,
        plan.instance_count,
        0,
    )
    assert (last.total_series, last.completed_series) == (4, 4)
    assert last.completed_bytes == last.total_bytes == plan.size_bytes
    assert last.seconds_left == 0
    assert last.current_file.endswith(".dcm")
    assert [each.completed_bytes for each in seen] == sorted(each.completed_bytes for each in seen)


def test_an_error_in_a_callback_stops_the_download(plan: dd.Plan, tmp_path: Path) -> None:
    def fails(progress: DownloadProgress) -> None:
        if progress.completed_files:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        dd.download(plan, progress_callback=fails, workers=1)
    assert not running()
    assert not list(tmp_path.rglob("*.dcm?*"))
    assert dd.download(plan).ok


def test_failures_raise_unless_told_not_to(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = dd.plan("qin_pet_phantom", into=tmp_path)
    with pytest.raises(dd.TransferIncomplete, match="40 of 44 series failed") as caught:
        dd.download(plan)
    assert len(caught.value.report.failures) == 40
    report = dd.download(plan, check=False)
    assert not report.ok
    assert report.to_dict()["failures"][0]["cause"] == "not_found"


def test_stream_hands_over_complete_series(plan: dd.Plan, tmp_path: Path) -> None:
    seen = []
    for series in dd.stream(plan):
        assert len(series.paths) == series.planned.instanceCount
        assert sum(path.stat().st_size for path in series.paths) == series.planned.size_bytes
        assert series.directory == tmp_path / "data" / series.planned.directory
        seen.append(series.planned.crdc_series_uuid)
    assert sorted(seen) == sorted(row.crdc_series_uuid for row in plan)
    assert len(list(dd.stream(plan))) == 4


def test_leaving_a_stream_stops_the_download(plan: dd.Plan) -> None:
    for _ in dd.stream(plan, workers=1):
        break
    assert not running()


def test_a_dropped_stream_stops_the_download(plan: dd.Plan) -> None:
    happenings = dd.download_events(plan, workers=1)
    for event in happenings:
        if type(event).__name__ == "FileCompleted":
            break
    assert running()
    del happenings
    assert not running()


def test_a_plan_needs_a_destination(bucket: LocalBucket) -> None:
    with pytest.raises(dd.PlanError, match="no destination"):
        dd.download(dd.plan(bucket.series[0].crdc_series_uuid))


def test_the_bar_draws_in_a_terminal(plan: dd.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    dd.download(plan)
    assert "/4 series" in screen.getvalue()
    assert "MB/s" in screen.getvalue()


def test_none_draws_nothing_in_a_terminal(plan: dd.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    dd.download(plan, progress="none")
    dd.verify(plan.into, progress="none")
    assert screen.getvalue() == ""


def test_nothing_is_printed_where_there_is_no_terminal(
    plan: dd.Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    dd.download(plan)
    assert capfd.readouterr() == ("", "")


def test_service_as_in_the_readme(bucket: LocalBucket, tmp_path: Path) -> None:
    for collection in IDCClient().get_collections():
        assert collection == collection.id
        assert collection.subjects > 0
    wanted = {each.crdc_series_uuid for each in bucket.series}
    items = [item for item in IDCClient().get_download_manifest("QIN-PET-Phantom", filters={"Modality": "PT"})
             if item["crdc_series_uuid"] in wanted]  # fmt: skip
    assert items[0]["target_path"].startswith("qin_pet_phantom/")
    assert items[0]["aws_url"].startswith("s3://")
    seen: list[DownloadProgress] = []
    report = Service().download_filtered(items[:2], tmp_path / "some", progress_callback=seen.append)
    assert report.complete_series == 2
    assert seen[-1].completed_series == 2
    assert all((tmp_path / "some" / item["target_path"]).is_dir() for item in items[:2])
    uids = [each.SeriesInstanceUID for each in bucket.series]
    report = Service().download_dataset(
        collection_id="QIN-PET-Phantom", output_dir=tmp_path / "all", filters={"SeriesInstanceUID": uids}
    )
    assert report.ok and report.series_count == 4
    with pytest.raises(dd.SelectionError, match="empty"):
        Service().download_filtered([], tmp_path)
    with pytest.raises(dd.SelectionError):
        Service().download_filtered([items[0] | {"target_path": "../../x"}], tmp_path)


def test_downloads_in_threads_do_not_disturb_each_other(bucket: LocalBucket, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def fetch(number: int) -> bool:
        plan = dd.plan(bucket.series[number].crdc_series_uuid, into=tmp_path / str(number))
        return dd.download(plan, progress="none").ok

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fetch, range(4)))


@pytest.mark.parametrize(
    "frame", [dd.collections, dd.indices, lambda: dd.columns("idc_index"), lambda: dd.query("SELECT 1")]
)
def test_listings_are_frames(frame: Callable[[], object]) -> None:
    assert isinstance(frame(), pd.DataFrame)


def test_the_bar_moves_within_a_large_file(tmp_path: Path) -> None:
    uuid = dd.query(
        "SELECT crdc_series_uuid AS u FROM idc_index WHERE instanceCount = 1 AND series_size_MB BETWEEN 200 AND 300"
        " ORDER BY series_size_MB LIMIT 1"
    ).u[0]
    seen: list[DownloadProgress] = []
    with LocalBucket(uuid, directory=tmp_path / "bucket") as bucket:
        plan = dd.plan(uuid, into=tmp_path / "data")
        dd.download(plan, endpoint_url=bucket.endpoint_url, progress_callback=seen.append)
    within = [each.completed_bytes for each in seen if each.completed_files == 0 and each.completed_bytes]
    assert within == sorted(within)
    assert 0 < within[0] < plan.size_bytes
    assert seen[-1].completed_bytes == plan.size_bytes


def test_a_forked_child_can_plan_and_leaves_its_parents_plan(bucket: LocalBucket, tmp_path: Path) -> None:
    import multiprocessing

    plan = dd.plan(bucket.series[0].crdc_series_uuid, into=tmp_path)
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        other = pool.apply_async(_fetch, (plan, bucket.series[1].crdc_series_uuid, tmp_path))
        assert other.get(60) == (True, True)
    assert len(list(plan)) == 1


def _fetch(plan: dd.Plan, uuid: str, target: Path) -> tuple[bool, bool]:
    own = dd.plan(uuid, into=target)
    return dd.download(plan, progress="none").ok, dd.download(own, progress="none").ok
