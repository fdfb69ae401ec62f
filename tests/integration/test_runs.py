"""A run has an id, by which its events, log records, journal and report are joined."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.destination.reports import gather
from dataset_dl.model.events import Event, Finished, Working
from dataset_dl.testing import LocalBucket
from support.cli import Cli


def uuids(bucket: LocalBucket) -> list[str]:
    return [each.crdc_series_uuid for each in bucket.series]


def test_log_events_journal_and_report_are_joined(
    bucket: LocalBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    where = {"Modality": "PT", "collection_id": "qin_pet_phantom"}
    plan = dd.plan(uuids(bucket)[:2], where=where, into=tmp_path)
    with caplog.at_level(logging.DEBUG, "dataset_dl"):
        report = dd.download(plan, endpoint_url=bucket.endpoint_url, observers=[events.append])
    assert {event.run_id for event in events} == {report.run_id}
    records = [vars(record) for record in caplog.records]
    assert {record["run_id"] for record in records} == {report.run_id}
    assert {record["output_directory"] for record in records} == {str(tmp_path)}
    assert records[-1]["completed_files"] == plan.instance_count
    assert {record["failed_files"] for record in records} == {0}
    with sqlite3.connect(tmp_path / ".dataset-dl" / "journal.sqlite") as journal:
        runs = journal.execute("SELECT run_id, report IS NOT NULL FROM runs").fetchall()
        joined = journal.execute("SELECT DISTINCT run_id FROM series JOIN runs ON number = run").fetchall()
    journal.close()
    assert (runs, joined) == ([(report.run_id, 1)], [(report.run_id,)])
    assert gather(tmp_path) == report
    again = dd.download(plan, endpoint_url=bucket.endpoint_url)
    assert again.run_id > report.run_id
    assert gather(tmp_path) == again


def test_a_failure_and_the_conditions_stand_in_the_log(
    bucket: LocalBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "dataset_dl"):
        dd.download("rider_pilot", tmp_path, where=["Modality=CT", "instanceCount<3"], check=False,
                    retries=0, endpoint_url=bucket.endpoint_url)  # fmt: skip
    failed = [vars(record) for record in caplog.records if hasattr(record, "error")]
    assert failed
    assert {record["filters"] for record in failed} == {"Modality=CT;instanceCount<3"}
    assert all(record["error"] for record in failed)
    assert failed[-1]["failed_files"] > 0


def test_json_carries_it(bucket: LocalBucket, cli: Cli) -> None:
    done = cli(
        "idc", "download", *uuids(bucket)[:2], "--to", "to", "--json", "--endpoint-url", bucket.endpoint_url
    )
    assert done.code == 0, done.err
    assert {event["run_id"] for event in done.events} == {done.events[-1]["run_id"]}
    names = [event["event"] for event in done.events]
    assert names[0] == "started"
    assert {"fetch_started", "engine_started", "file_completed", "series_completed", "finished"} <= set(names)
    assert done.events[0]["destination"] == str(cli.directory / "to")


def test_every_verb_that_takes_time_has_observers(bucket: LocalBucket, tmp_path: Path) -> None:
    seen: list[Event] = []
    plan = dd.plan(uuids(bucket), into=tmp_path)
    asyncio.run(dd.adownload(plan, endpoint_url=bucket.endpoint_url, observers=[seen.append]))
    assert isinstance(seen.pop(), Finished)
    list(dd.stream(plan, endpoint_url=bucket.endpoint_url, observers=[seen.append]))
    assert isinstance(seen.pop(), Finished)
    seen.clear()
    verification = dd.verify(tmp_path, observers=[seen.append])
    assert isinstance(seen[-1], Working)
    assert seen[-1].activity == "4 series looked at"
    assert seen[-1].done_bytes == seen[-1].total_bytes == plan.size_bytes
    next(tmp_path.rglob("*.dcm")).unlink()
    verification = dd.verify(tmp_path)
    dd.repair(verification, endpoint_url=bucket.endpoint_url, observers=[seen.append])
    assert isinstance(seen.pop(), Finished)
    dd.update(dd.diff(tmp_path), endpoint_url=bucket.endpoint_url, observers=[seen.append])
    assert isinstance(seen.pop(), Finished)
