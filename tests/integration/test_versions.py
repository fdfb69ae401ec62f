"""Series of earlier IDC versions: what the store has of them is asked before they are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket


@pytest.fixture(scope="module")
def earlier() -> list[str]:
    """Some small series that are no longer in IDC, and one that is."""
    prior = dd.query(
        "SELECT DISTINCT crdc_series_uuid AS uuid FROM prior_versions_index"
        " WHERE series_size_MB BETWEEN 0.02 AND 0.5 AND Modality = 'CT' ORDER BY 1 LIMIT 3"
    )
    today = dd.query(
        "SELECT crdc_series_uuid AS uuid FROM idc_index WHERE series_size_MB < 1 AND Modality = 'CT'"
        " ORDER BY 1 LIMIT 1"
    )
    return [*prior.uuid, *today.uuid]


@pytest.fixture(scope="module")
def store(earlier: list[str]) -> Iterator[LocalBucket]:
    with LocalBucket(earlier) as bucket:
        yield bucket


def test_they_are_fetched_and_checked(store: LocalBucket, earlier: list[str], tmp_path: Path) -> None:
    plan = dd.plan(earlier, into=tmp_path)
    assert plan.unsized_series == 3
    report = dd.download(plan, endpoint_url=store.endpoint_url)
    assert report.ok
    assert report.complete_series == report.series_count == 4
    assert report.instance_count == report.complete_instances == sum(s.instanceCount for s in store.series)
    assert report.size_bytes == sum(file.stat().st_size for file in tmp_path.rglob("*.dcm"))
    assert dd.verify(tmp_path).ok
    # What the first download learnt is kept: no store is needed to see that everything is there.
    again = dd.download(plan, endpoint_url="http://127.0.0.1:9")
    assert again.ok
    assert again.fetched_series == 0


def test_a_series_that_the_store_does_not_have_is_never_complete(
    store: LocalBucket, earlier: list[str], tmp_path: Path
) -> None:
    lost = str(
        dd.query("SELECT min(crdc_series_uuid) AS uuid FROM prior_versions_index WHERE Modality = 'MR'").uuid[
            0
        ]
    )
    plan = dd.plan([*earlier, lost], into=tmp_path)
    report = dd.download(plan, endpoint_url=store.endpoint_url, check=False)
    assert (report.series_count, report.complete_series) == (5, 4)
    (failure,) = report.failures
    assert (failure.planned.crdc_series_uuid, failure.cause) == (lost, "not_found")
    with pytest.raises(dd.TransferIncomplete):
        dd.download(dd.plan(lost, into=tmp_path / "alone"), endpoint_url=store.endpoint_url)
    assert not list((tmp_path / "alone").rglob("*.dcm"))


def test_without_a_store_nothing_is_started(earlier: list[str], tmp_path: Path) -> None:
    with pytest.raises(dd.NetworkError):
        dd.download(dd.plan(earlier, into=tmp_path / "data"), endpoint_url="http://127.0.0.1:9")
    assert not list(tmp_path.rglob("*.dcm"))
