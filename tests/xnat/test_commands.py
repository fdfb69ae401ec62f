"""``dataset-dl xnat …`` from the command line, killed, and beside a download."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dataset_dl.testing import LocalBucket
from dataset_dl.testing.nbia import LocalNbia
from dataset_dl.testing.xnat import LocalXnat
from dataset_dl.testing.xnat_store import instances_of
from support.archives import TWO_STUDIES, exactly_once, uids_of
from support.cli import PROGRAM, Cli
from support.series import downloaded
from tcia.conftest import made


def test_a_rehearsal_a_delivery_and_where_it_stands(xnat: LocalXnat, cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    downloaded(data, TWO_STUDIES)
    words = ["xnat", "deliver", data, "--to", f"xnat:{xnat.url}/WARD"]
    shown = cli(*words, "--dry-run")
    assert shown.code == 0, shown.err
    assert "1_2_1" in shown.out and "Nothing was sent" in shown.err
    assert not xnat.store.prearchive and not xnat.store.archive
    states = {row["state"] for row in cli("xnat", "status", data, "--format", "json").json}
    assert states <= {"verified", "absent"}
    done = cli(*words)
    assert done.code == 0, done.err
    assert "2 sessions confirmed in the archive of WARD" in done.out
    standing = cli("xnat", "status", data, "--format", "json")
    assert "3 series: 3 confirmed." in standing.err
    assert {(row["state"], row["session"]) for row in standing.json} == {
        ("confirmed", "1_2_1"), ("confirmed", "1_2_2"),
    }  # fmt: skip
    assert "the archive" in cli(*words, "--dry-run").out
    assert cli("xnat", "status", tmp_path / "nothing").code == 2
    assert cli("xnat", "deliver", tmp_path / "nothing", "--to", f"xnat:{xnat.url}/WARD").code == 2
    assert cli(*words[:-1], f"xnat:{xnat.url}/NONE").code == 2


def test_a_tree_of_zips(xnat: LocalXnat, cli: Cli, tmp_path: Path) -> None:
    data, tree = tmp_path / "data", tmp_path / "tree"
    downloaded(data, TWO_STUDIES)
    assert cli("deliver", data, "--to", f"zips:{tree}").code == 0
    words = ["xnat", "deliver", tree, "--to", f"xnat:{xnat.url}/WARD"]
    assert "1_2_1" in cli(*words, "--dry-run").out
    zips = {path: path.read_bytes() for path in tree.rglob("img.zip")}
    done = cli(*words)
    assert done.code == 0, done.err
    assert exactly_once(xnat, uids_of(data))
    assert {path: path.read_bytes() for path in tree.rglob("img.zip")} == zips
    assert not list(tree.rglob("*.dcm"))
    assert "3 confirmed" in cli("xnat", "status", tree).err
    before = len(xnat.requests)
    assert cli(*words).code == 0
    assert not [each for each in xnat.requests[before:] if each.startswith("POST")]
    broken = next(iter(zips))
    broken.write_bytes(zips[broken][:-500])
    assert cli(*words).code == 3


def test_while_it_arrives_from_both_archives_on_a_bounded_disk(
    xnat: LocalXnat, bucket: LocalBucket, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbia = LocalNbia()
    for _ in range(4):
        for data in made(6).values():
            nbia.add(data)
    of_idc = [str(each.SeriesInstanceUID) for each in bucket.series[:2]]
    most = max(each.size_bytes or 0 for each in bucket.series[:2])
    with nbia:
        monkeypatch.setenv("DATASET_DL_NBIA_URL", nbia.url)
        done = cli(
            "tcia", "download", *of_idc, *nbia.series, "--to", tmp_path / "data", "--endpoint-url",
            bucket.endpoint_url, "--then", f"xnat:{xnat.url}/WARD", "--evict", "--disk-budget", str(most + 100_000),
        )  # fmt: skip
    assert done.code == 0, done.err
    assert "confirmed in the archive of WARD" in done.out
    found = instances_of(xnat.store.archive)
    assert len(found) == 2 * 81 + 4 * 6 and all(len(each) == 1 for each in found.values())
    assert not list((tmp_path / "data").rglob("*.dcm"))


def test_killed_anywhere_each_instance_is_there_once(xnat: LocalXnat, tmp_path: Path) -> None:
    data = tmp_path / "data"
    wanted = [(f"P-{n % 5}", f"1.2.{n % 5}", f"1.2.{n % 5}.{n}", 3) for n in range(20)]
    downloaded(data, wanted, pixels=64)
    xnat.delay_seconds = 0.02
    words = [PROGRAM, "xnat", "deliver", data, "--to", f"xnat:{xnat.url}/WARD", "--at-once", "3"]
    chance = random.Random(18)
    kills = 0
    for _ in range(8):
        before = len(xnat.requests)
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # From the login on: while it sends, looks, commits, or confirms.
        after = before + chance.randrange(3, 60)
        while child.poll() is None and len(xnat.requests) < after:
            time.sleep(0.005)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
    assert kills >= 3
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert exactly_once(xnat, uids_of(data))
    assert len(xnat.store.archive) == 5


@pytest.mark.parametrize("where", ["import", "scans", "commit", "archive", "DICOM?"])
def test_killed_in_each_state(xnat: LocalXnat, tmp_path: Path, where: str) -> None:
    """Right after a request of each kind was answered: uploaded, confirmed before, committed, confirmed."""
    data = tmp_path / "data"
    downloaded(data, TWO_STUDIES)
    words = [PROGRAM, "xnat", "deliver", data, "--to", f"xnat:{xnat.url}/WARD", "--at-once", "1"]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not any(where in each for each in xnat.requests):
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert exactly_once(xnat, uids_of(data))


def test_the_password_is_in_no_argv_and_no_record(xnat: LocalXnat, tmp_path: Path) -> None:
    data = tmp_path / "data"
    downloaded(data, TWO_STUDIES)
    xnat.delay_seconds = 0.05
    xnat.faults["commit"] = "500"
    log = tmp_path / "log"
    words = [PROGRAM, "--debug", "xnat", "deliver", data, "--to", f"xnat:{xnat.url}/WARD", "--retries", "1"]
    with log.open("wb") as file:
        child = subprocess.Popen(words, stdout=file, stderr=file)
        seen = set()
        while child.poll() is None:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue
            time.sleep(0.02)
    assert child.returncode == 3
    assert not any(xnat.password.encode() in each for each in seen)
    for path in (log, *(data / ".dataset-dl").rglob("*")):
        assert path.is_dir() or xnat.password.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "to", ["pacs:X", "zips:/tmp/x", "https://host.test/P", "xnat:{url}/WARD?existing=append"]
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_what_is_no_project_is_refused_in_a_rehearsal_too(
    xnat: LocalXnat, cli: Cli, tmp_path: Path, to: str, more: tuple[str, ...]
) -> None:
    downloaded(tmp_path, TWO_STUDIES)
    done = cli("xnat", "deliver", tmp_path, "--to", to.format(url=xnat.url), *more)
    assert (done.code, "is no project of XNAT" in done.err) == (2, True)
    assert not xnat.requests


def test_a_password_in_the_address_of_the_server_is_not_shown(
    xnat: LocalXnat, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded(tmp_path, TWO_STUDIES)
    monkeypatch.setenv("XNAT_HOST", "https://bob:hunter2@xnat.test")
    done = cli("xnat", "deliver", tmp_path, "--to", f"xnat:{xnat.url}/WARD")
    assert done.code == 2 and "are for xnat.test" in done.err
    assert "hunter2" not in done.err


def test_zips_are_not_removed(xnat: LocalXnat, cli: Cli, tmp_path: Path) -> None:
    downloaded(tmp_path / "data", TWO_STUDIES)
    assert cli("deliver", tmp_path / "data", "--to", f"zips:{tmp_path / 'tree'}").code == 0
    done = cli("xnat", "deliver", tmp_path / "tree", "--to", f"xnat:{xnat.url}/WARD", "--evict")
    assert (done.code, "Zips are not removed" in done.err) == (2, True)


def test_interrupted_it_ends_soon_though_the_server_is_silent(xnat: LocalXnat, tmp_path: Path) -> None:
    downloaded(tmp_path, TWO_STUDIES)
    words = [PROGRAM, "xnat", "deliver", tmp_path, "--to", f"xnat:{xnat.url}/WARD"]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not any("import" in each for each in xnat.requests):
        time.sleep(0.01)
    xnat.delay_seconds = 1000.0
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
