"""Two stores with the same series, one near and one far, of which either may fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import dataset_dl as dd
from benchmarks.stores import Store, far
from dataset_dl.model.events import Event, FileCompleted, Finished
from dataset_dl.testing import LocalBucket
from support.cli import Cli
from support.faults import FaultServer, serve

# Far enough that a busy machine does not change which one is nearer.
NEAR_SECONDS, FAR_SECONDS = 0.005, 0.3


class Pair:
    """Amazon's store and Google's, each behind a relay."""

    def __init__(self, aws: FaultServer, gcs: FaultServer) -> None:
        self.aws, self.gcs = aws, gcs


@pytest.fixture
def pair(filled: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    with serve(filled.root) as aws, serve(filled.root) as gcs:
        with (
            far(Store(aws.endpoint_url, {}, Path()), FAR_SECONDS) as aws_far,
            far(Store(gcs.endpoint_url, {}, Path()), NEAR_SECONDS) as gcs_near,
        ):
            monkeypatch.delenv("DATASET_DL_ENDPOINT_URL")
            monkeypatch.setenv("DATASET_DL_STORE", "auto")
            monkeypatch.setenv("DATASET_DL_AWS_ENDPOINT_URL", aws_far.endpoint_url)
            # The host tells them apart in the report.
            monkeypatch.setenv(
                "DATASET_DL_GCS_ENDPOINT_URL", f"http://localhost:{urlsplit(gcs_near.endpoint_url).port}"
            )
            yield Pair(aws, gcs)


@pytest.fixture
def plan(saved: Path, tmp_path: Path) -> dd.Plan:
    return dd.plan(saved, into=tmp_path / "to")


def run(plan: dd.Plan, **options: object) -> tuple[list[Event], dd.Report]:
    events = list(dd.download_events(plan, **options))  # type: ignore[arg-type]
    assert isinstance(events[-1], Finished)
    return events, events[-1].report


def test_the_nearer_store_gives_all(pair: Pair, plan: dd.Plan, engine: str) -> None:
    _, report = run(plan)
    assert report.ok
    assert report.bytes_by_store == {"localhost": plan.size_bytes}
    assert pair.gcs.gets.total() == plan.instance_count
    assert pair.aws.gets.total() == 0


@pytest.mark.parametrize("fault", ["404", "500", "403", "cut"])
def test_what_one_store_cannot_give_comes_from_the_other(
    filled: LocalBucket, pair: Pair, plan: dd.Plan, tmp_path: Path, engine: str, fault: str
) -> None:
    wrong = filled.series[1]
    files = sorted(filled.series_directory(wrong).iterdir())
    pair.gcs.faults = {file.name: fault for file in files[:5]}
    events, report = run(plan)
    assert report.ok
    assert dd.verify(tmp_path / "to", deep=True).ok
    # Only what was missing was asked of the other store, and the report says what its log says.
    assert set(pair.aws.gets) == {f"{wrong.crdc_series_uuid}/{file.name}" for file in files[:5]}
    of_aws = sum(file.stat().st_size for file in files[:5])
    assert report.bytes_by_store == {"localhost": plan.size_bytes - of_aws, "127.0.0.1": of_aws}
    told = [event.path for event in events if isinstance(event, FileCompleted)]
    assert len(told) == len(set(told)) == plan.instance_count


def test_what_both_stores_lack_has_failed(
    filled: LocalBucket, pair: Pair, plan: dd.Plan, engine: str
) -> None:
    wrong = filled.series[1]
    name = min(filled.series_directory(wrong).iterdir()).name
    pair.gcs.faults = pair.aws.faults = {name: "404"}
    _, report = run(plan)
    assert [(each.planned.crdc_series_uuid, each.cause) for each in report.failures] == [
        (wrong.crdc_series_uuid, "not_found")
    ]
    assert pair.gcs.gets[f"{wrong.crdc_series_uuid}/{name}"] == 1
    assert pair.aws.gets[f"{wrong.crdc_series_uuid}/{name}"] == 1


def test_a_store_that_does_not_answer_is_left_out(
    pair: Pair, plan: dd.Plan, saved: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_GCS_ENDPOINT_URL", "http://127.0.0.1:9")
    _, report = run(plan)
    assert report.ok
    assert report.bytes_by_store == {"127.0.0.1": plan.size_bytes}
    monkeypatch.setenv("DATASET_DL_AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(dd.NetworkError, match="nothing listens there"):
        run(dd.plan(saved, into=tmp_path / "other"))


def test_the_command_says_how_much_came_from_where(
    filled: LocalBucket, pair: Pair, saved: Path, tmp_path: Path
) -> None:
    pair.gcs.faults = {min(filled.series_directory(filled.series[1]).iterdir()).name: "404"}
    outcome = Cli(tmp_path)("idc", "download", saved, "--to", "to", "--store", "auto")
    assert outcome.code == 0, outcome.err
    assert "MB from localhost, " in outcome.out
    assert "kB from 127.0.0.1" in outcome.out


def test_one_endpoint_is_not_two(tmp_path: Path, saved: Path) -> None:
    outcome = Cli(tmp_path)("idc", "download", saved, "--to", "to", "--store", "auto", "--endpoint-url",
                            "http://127.0.0.1:9")  # fmt: skip
    assert outcome.code == 2
    assert "auto chooses between two" in outcome.err
