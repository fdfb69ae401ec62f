"""Metrics of a real download, read back by Prometheus's own parser."""

from __future__ import annotations

import shutil
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import dataset_dl as dd
from dataset_dl.metrics.observer import Metrics
from dataset_dl.model.events import SeriesCompleted, SeriesFailed
from dataset_dl.model.outcome import SeriesFailure
from dataset_dl.testing import LocalBucket
from support.cli import Cli
from support.plans import row

Samples = dict[tuple[str, ...], float]


def read(text: str) -> Samples:
    """Each sample by its name and the values of its labels."""
    return {
        (
            sample.name.removeprefix("dataset_dl_"),
            *(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def uuids(bucket: LocalBucket) -> str:
    return ",".join(each.crdc_series_uuid for each in bucket.series)


def test_a_file_for_a_textfile_collector(cli: Cli, bucket: LocalBucket) -> None:
    done = cli(
        "idc", "download", uuids(bucket), "--to", "to", "--metrics", "a.prom", "--json",
        "--endpoint-url", bucket.endpoint_url,
    )  # fmt: skip
    assert done.code == 0, done.err
    report = done.events[-1]
    found = read((cli.directory / "a.prom").read_text())
    assert found["fetched_bytes_total", "127.0.0.1"] == report["fetched_bytes"]
    assert found["fetched_files_total", "127.0.0.1"] == report["instance_count"]
    assert found["series_completed_total", "qin_pet_phantom"] == 4
    assert found["engine_starts_total", "s5cmd"] == 1
    assert found["planned_bytes",] == found["completed_bytes",] == report["size_bytes"]
    assert found["run_info", report["run_id"]] == 1
    assert found["destination_free_bytes",] > 0
    assert found["gigabytes_per_hour",] == pytest.approx(3.6 * found["megabytes_per_second",])


def test_a_port_while_it_runs(bucket: LocalBucket, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages: list[Samples] = []

    def scrape(event: object) -> None:
        if isinstance(event, SeriesCompleted):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                pages.append(read(page.read().decode()))

    report = dd.download(
        uuids(bucket), tmp_path, endpoint_url=bucket.endpoint_url, observers=[Metrics(port), scrape]
    )
    assert report.ok
    counts = [page["series_completed_total", "qin_pet_phantom"] for page in pages]
    assert counts == [1, 2, 3, 4]
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_failures_are_counted_by_collection_and_cause(tmp_path: Path) -> None:
    with LocalBucket("qin_pet_phantom", max_series=2, directory=tmp_path / "b") as bucket:
        shutil.rmtree(bucket.series_directory(bucket.series[0]))
        metrics = Metrics(tmp_path / "a.prom")
        dd.download(
            uuids(bucket), tmp_path / "to", endpoint_url=bucket.endpoint_url, observers=[metrics], check=False
        )
    found = read((tmp_path / "a.prom").read_text())
    assert found["series_failed_total", "not_found", "qin_pet_phantom"] == 1
    assert found["series_completed_total", "qin_pet_phantom"] == 1


def test_labels_are_bounded(tmp_path: Path) -> None:
    with Metrics(tmp_path / "a.prom") as metrics:
        for number in range(1000):
            series = row(number)._replace(collection_id=f"made up {number}")
            metrics(SeriesCompleted(series, fetched=True))
            metrics(SeriesFailed(SeriesFailure(series, "unknown", "", 0, 0)))
    found = read((tmp_path / "a.prom").read_text())
    labels = {name[1] for name in found if name[0] == "series_completed_total"}
    assert len(labels) == 251
    assert sum(value for name, value in found.items() if name[0] == "series_completed_total") == 1000


@pytest.mark.parametrize("value", ["a.txt", "70000", "-1", "x"])
def test_what_is_neither_a_port_nor_a_file_is_refused(cli: Cli, value: str) -> None:
    done = cli("idc", "download", "rider_pilot", "--to", "to", f"--metrics={value}")
    assert (done.code, done.err.count("Traceback")) == (2, 0)
    assert "neither a port" in done.err
    assert not (cli.directory / "to").exists()


def test_a_port_that_is_taken_is_said(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("idc", "download", "rider_pilot", "--to", "to", "--metrics", taken.getsockname()[1])
    assert done.code == 5
    assert "cannot be used for metrics" in done.err


def test_without_the_extra_one_sentence_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(dd.MissingExtra, match=r"dataset-dl\[metrics\]"):
        Metrics("a.prom")
