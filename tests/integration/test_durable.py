"""A power loss, as it happens to a real file system: what has not reached the disk is gone.

The disk is a file with ext4. A copy of that file, made at some moment, is what the disk would hold if the power
failed just then: all else is still in the memory of the system.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.destination.journal import Journal
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM
from support.faults import FaultServer

# Called in a mount namespace of its own.
_SCRIPT = """
PATH=$PATH:/usr/sbin:/sbin
set -e
truncate -s 100m disk.img
mkfs.ext4 -q disk.img
mkdir -p disk after
mount -o loop,commit=300 disk.img disk
set +e
{program} idc download plan.parquet --to disk/to --endpoint-url {url} --workers 2 --engine {engine} {options} \
    --json >events & program=$!
case {moment} in
    middle)
        while [ "$(grep -c series_completed events)" -lt 2 ]; do sleep 0.02; done
        kill -KILL $program
        ;;
    end) wait $program ;;
esac
cp disk.img lost.img
mount -o loop lost.img after
cp -a after/to survived 2>/dev/null || mkdir survived
{program} idc download plan.parquet --to after/to --endpoint-url {url} {options} >/dev/null || exit 9
cp -a after/to whole
"""


def lose_power(plan: dd.Plan, place: Path, **words: str) -> list[dd.PlannedSeries]:
    """Download, lose the power, download again; return the series that the journal still knew in between."""
    plan.save(place / "plan.parquet")
    script = _SCRIPT.format(program=PROGRAM, **words)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    if not (place / "survived" / ".dataset-dl" / "journal.sqlite").exists():
        return []
    with Journal(place / "survived" / ".dataset-dl" / "journal.sqlite") as journal:
        assert journal.set_aside is None
        return [row for row in plan if journal.holds(row)]


def intact(bucket: LocalBucket, target: Path, rows: Iterable[dd.PlannedSeries]) -> bool:
    return all(
        (target / row.directory / file.name).is_file()
        and (target / row.directory / file.name).read_bytes() == file.read_bytes()
        for row in rows
        for file in bucket.series_directory(row).iterdir()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="loop devices and mount namespaces")
@pytest.mark.parametrize("options", ["--durable", "--durable --trust-journal"])
@pytest.mark.parametrize("moment", ["middle", "end"])
def test_what_counts_as_complete_outlasts_a_power_loss(
    filled: LocalBucket,
    server: FaultServer,
    saved: Path,
    tmp_path: Path,
    engine: str,
    moment: str,
    options: str,
) -> None:
    server.each_nth = (1, "slow")
    plan = dd.plan(saved)
    words = {"url": server.endpoint_url, "engine": engine, "moment": moment, "options": options}
    complete = lose_power(plan, tmp_path, **words)
    assert len(complete) == 3 or moment == "middle"
    assert intact(filled, tmp_path / "survived", complete)
    assert intact(filled, tmp_path / "whole", plan)


@pytest.mark.skipif(sys.platform != "linux", reason="loop devices and mount namespaces")
def test_without_it_files_are_lost(
    filled: LocalBucket, server: FaultServer, saved: Path, tmp_path: Path
) -> None:
    """So that the test above could fail."""
    plan = dd.plan(saved)
    words = {"url": server.endpoint_url, "engine": "s5cmd", "moment": "end", "options": ""}
    assert len(lose_power(plan, tmp_path, **words)) == 3
    assert not intact(filled, tmp_path / "survived", plan)


def test_a_file_of_the_right_length_is_not_believed(
    filled: LocalBucket, server: FaultServer, saved: Path, tmp_path: Path, engine: str
) -> None:
    """As ext4 and XFS leave it: the length is there, the bytes are zeros, and the journal does not know it."""
    plan = dd.plan(saved, into=tmp_path / "to")
    options = {"endpoint_url": server.endpoint_url, "progress": "none", "durable": True}
    dd.download(plan, **options)  # type: ignore[call-overload]
    row = next(iter(plan))
    path = min((tmp_path / "to" / row.directory).iterdir())
    before = path.read_bytes()
    path.write_bytes(bytes(len(before)))
    with Journal(tmp_path / "to" / ".dataset-dl" / "journal.sqlite") as journal:
        journal.forget(row)
    assert dd.download(plan, **options).fetched_series == 1  # type: ignore[call-overload]
    assert path.read_bytes() == before
