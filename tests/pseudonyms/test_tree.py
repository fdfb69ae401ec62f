"""`dataset-dl pseudonymise`: a tree, resumed, with a table of who is who; and the step before other consumers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pydicom
import pytest

import dataset_dl as dd
from dataset_dl.errors import DeliveryIncomplete, SelectionError, StorageError
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.pseudonyms.mapping import Mapping, read
from dataset_dl.pseudonyms.tree import pseudonymise
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM, Cli
from support.dicoms import slice_of

SECRET = "a key for these tests, which is long"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_PSEUDONYM_KEY", SECRET)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Two patients with two series each, and a report."""
    root = tmp_path / "cases"
    for patient in range(2):
        for series in range(2):
            for number in range(3):
                dataset = slice_of((0.0, 0.0, float(number)))
                dataset.PatientID, dataset.PatientName = f"ID{patient}", f"DOE^{patient}"
                dataset.StudyInstanceUID = f"1.2.{patient}"
                dataset.SeriesInstanceUID = f"1.2.{patient}.{series}"
                dataset.SOPInstanceUID = f"1.2.{patient}.{series}.{number}"
                dataset.StudyDate, dataset.Modality = "20200102", "CT"
                _save(dataset, root / f"Doe {patient}" / str(series) / f"{number}.dcm")
    report = slice_of()
    report.Modality, report.SOPInstanceUID, report.PatientID = "SR", "1.2.9", "ID0"
    report.StudyInstanceUID, report.SeriesInstanceUID = "1.2.0", "1.2.0.9"
    _save(report, root / "Doe 0" / "report")
    (root / "notes.txt").write_text("not DICOM")
    return root


def _save(dataset: pydicom.Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.dcm")}


def test_a_tree(cases: Path, tmp_path: Path, cli: Cli) -> None:
    target, held = tmp_path / "new", tmp_path / "held.csv"
    result = cli("pseudonymise", str(cases), "--to", str(target), "--held", str(held))
    assert result.code == 3
    assert "12 files with pseudonyms" in result.out and "its modality is SR" in result.out
    assert "`--allow` lets" in result.err
    assert held.read_text().splitlines()[1].endswith("report,held,its modality is SR")
    files = _files(target)
    assert len(files) == 12
    assert not any("Doe" in name or "ID0" in name for name in files)
    everything = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    for secret in (b"DOE", b"Doe", b"ID0", SECRET.encode(), b"cases"):
        assert secret not in everything
    patients = {pydicom.dcmread(target / name).PatientID for name in files}
    assert len(patients) == 2
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.dcm")}
    again = cli("pseudonymise", str(cases), "--to", str(target), "--allow", "SR", "--json")
    assert again.code == 0
    assert (again.json["done"], again.json["known"]) == (1, 12)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    third = cli("pseudonymise", str(cases), "--to", str(target), "--allow", "SR")
    assert "0 files with pseudonyms, 13 done before" in third.out


def test_two_processes_and_two_places_agree(cases: Path, tmp_path: Path) -> None:
    pseudonymise(cases, tmp_path / "one", processes=1)
    pseudonymise(cases, tmp_path / "two", processes=3)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_the_table_is_encrypted_and_complete(cases: Path, tmp_path: Path, cli: Cli) -> None:
    table = tmp_path / "safe" / "who.table"
    pseudonymise(cases, tmp_path / "new", mapping=table)
    assert b"ID0" not in table.read_bytes() and table.stat().st_mode & 0o77 == 0
    key = Key(SECRET.encode())
    rows = set(read(table, key))
    assert ("PatientID", "ID0", key.pseudonym("ID0")) in rows
    assert ("SeriesInstanceUID", "1.2.1.1", key.uid("1.2.1.1")) in rows
    assert len(rows) == 2 + 2 + 4
    shown = cli("pseudonymise", "--show-mapping", str(table), "--format", "csv")
    assert f"PatientID,ID0,{key.pseudonym('ID0')}" in shown.out
    with pytest.raises(SelectionError, match="another key"):
        list(read(table, Key(b"another key of 16 and more")))
    with pytest.raises(SelectionError, match="beside the data"):
        pseudonymise(cases, tmp_path / "new", mapping=tmp_path / "new" / "who.table")


def test_several_runs_write_one_table(tmp_path: Path) -> None:
    path, key = tmp_path / "safe" / "who.table", Key(SECRET.encode())
    tables = [Mapping(path, key) for _ in range(4)]

    def write(number: int) -> None:
        for each in range(5):
            name = f"{number}.{each}"
            tables[number].add(
                (f"P{name}", f"1.2.{name}", f"1.3.{name}"), ("new", f"2.2.{name}", f"2.3.{name}")
            )
            tables[number].save()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(read(path, key))) == 4 * 5 * 3
    assert path.stat().st_mode & 0o77 == 0


def test_killed_and_run_again_all_are_there(cases: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    for number in range(60):
        shutil.copytree(cases / "Doe 1", many / f"copy {number}")
    expected = tmp_path / "expected"
    pseudonymise(many, expected)
    target = tmp_path / "new"
    command = [PROGRAM, "pseudonymise", str(many), "--to", str(target), "--processes", "2"]
    for wait in (1.0, 1.3, 1.6):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
    deadline = time.monotonic() + 120
    while subprocess.run(command, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline
    assert _files(target) == _files(expected)
    assert not list(target.rglob("*.part"))


def test_one_instance_with_two_contents_is_named(cases: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(cases / "Doe 0" / "0" / "0.dcm")
    dataset.SliceThickness = 7
    _save(dataset, cases / "other" / "0.dcm")
    summary = pseudonymise(cases, tmp_path / "new", processes=1)
    assert len(summary.problems) == 1
    assert "same SOPInstanceUID" in next(iter(summary.problems.values()))
    damaged = cases / "damaged.dcm"
    damaged.write_bytes((cases / "Doe 0" / "0" / "0.dcm").read_bytes()[:-9])
    summary = pseudonymise(cases, tmp_path / "third")
    assert summary.problems[damaged] == "it is cut off"


def test_wrong_requests_start_nothing(
    cases: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = cli("pseudonymise", str(cases), "--to", str(cases / "new"))
    assert (inside.code, "in one another" in inside.err) == (2, True)
    assert cli("pseudonymise", str(cases)).code == 2
    pseudonymise(cases, tmp_path / "new")
    monkeypatch.setenv("DATASET_DL_PSEUDONYM_KEY", "another key, also long enough")
    other = cli("pseudonymise", str(cases), "--to", str(tmp_path / "new"))
    assert (other.code, "pseudonyms of another key" in other.err) == (2, True)
    monkeypatch.delenv("DATASET_DL_PSEUDONYM_KEY")
    none = cli("pseudonymise", str(cases), "--to", str(tmp_path / "new"))
    assert (none.code, "DATASET_DL_PSEUDONYM_KEY" in none.err) == (2, True)
    assert not (cases / "new").exists()


def test_what_is_not_looked_into_is_named(cases: Path, tmp_path: Path, cli: Cli) -> None:
    elsewhere = tmp_path / "elsewhere"
    (cases / "Doe 1").rename(elsewhere)
    (cases / "Doe 1").symlink_to(elsewhere)
    (cases / "Doe 0" / "report").rename(cases / "Doe 0" / ".hidden.dcm")
    (cases / ".trash").mkdir()
    (cases / "gone.dcm").symlink_to(tmp_path / "nothing")
    (cases / ".DS_Store").write_text("of a system")
    (cases / ".dataset-dl").mkdir()
    held = tmp_path / "held.csv"
    result = cli("pseudonymise", cases, "--to", tmp_path / "new", "--held", held)
    assert result.code == 0 and "6 files with pseudonyms" in result.out
    assert (
        "Not looked into: .trash (a hidden directory), Doe 1 (a link to a directory), gone.dcm" in result.out
    )
    assert "2 files left out, because they are no DICOM" in result.out
    lines = held.read_text()
    for name, why in (
        ("Doe 1", "a link to a directory"), (".hidden.dcm", "a hidden file"), (".trash", "a hidden directory")
    ):  # fmt: skip
        assert f"{name},skipped,{why}" in lines
    result = cli("pseudonymise", cases, "--to", tmp_path / "new", "--json")
    assert len(result.json["skipped"]) == 4
    only = tmp_path / "only"
    only.mkdir()
    (only / "P2").symlink_to(elsewhere)
    none = cli("pseudonymise", only, "--to", tmp_path / "third")
    assert none.code == 2 and "Not looked into: P2 (a link to a directory)" in none.err


def test_a_pseudonym_stays_with_its_patient(cases: Path, tmp_path: Path) -> None:
    target, options = tmp_path / "new", {"pseudonym": "CASE-1"}
    with pytest.raises(SelectionError, match="several patients"):
        pseudonymise(cases, target, options=options)
    assert pseudonymise(cases / "Doe 1", target, options=options).done == 6
    summary = pseudonymise(cases / "Doe 0" / "0", target, options=options)
    assert summary.done == 0 and len(summary.problems) == 3
    assert all("would get the pseudonym CASE-1" in why for why in summary.problems.values())
    assert len(_files(target)) == 6
    assert pseudonymise(cases / "Doe 1" / "0", target, options=options).known == 3


def test_the_older_variable_and_a_file_hold_the_key(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pseudonymise(cases, tmp_path / "one")
    monkeypatch.delenv("DATASET_DL_PSEUDONYM_KEY")
    monkeypatch.setenv("ANONYMIZATION_SEED", SECRET)
    pseudonymise(cases, tmp_path / "two")
    monkeypatch.delenv("ANONYMIZATION_SEED")
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    pseudonymise(cases, tmp_path / "three", options={"key-file": str(file)})
    assert _files(tmp_path / "one") == _files(tmp_path / "two") == _files(tmp_path / "three")


def test_a_disk_that_cannot_be_written_is_said(cases: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file")
    with pytest.raises(StorageError):
        pseudonymise(cases, tmp_path / "new")


def test_any_consumer_may_get_pseudonyms(
    bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)
    monkeypatch.setenv("DATASET_DL_NODES", str(tmp_path / "nodes.json"))
    from dataset_dl.pacs.nodes import Node, Nodes

    for name in ("shelf", "other"):
        (tmp_path / name).mkdir()
        Nodes().add(Node(name=name.upper(), directory=str(tmp_path / name)))
    series = bucket.series[0]
    plan = dd.plan([series.crdc_series_uuid])
    report = dd.download(plan, into=tmp_path / "data", then="pacs:SHELF?through=pseudonyms")
    assert report.ok
    key = Key(SECRET.encode())
    new = sorted((tmp_path / "shelf").rglob("*.dcm"))
    assert len(new) == 81
    read_ = pydicom.dcmread(new[0])
    assert read_.PatientID == key.pseudonym(str(series.PatientID))
    assert read_.SeriesInstanceUID == key.uid(str(series.SeriesInstanceUID))
    again = dd.deliver(tmp_path / "data", to="pacs:SHELF?through=pseudonyms")
    assert (again.delivered, again.delivered_before) == (0, 1)
    other = dd.deliver(tmp_path / "data", to="pacs:OTHER?through=pseudonyms&through.pseudonym=CASE-7")
    assert other.delivered == 1
    assert {pydicom.dcmread(path).PatientID for path in (tmp_path / "other").rglob("*.dcm")} == {"CASE-7"}


def test_what_is_held_back_gets_no_receipt(
    bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)
    monkeypatch.setenv("EXCLUDE_MODALITIES", "PT,SR")
    plan = dd.plan([bucket.series[0].crdc_series_uuid])
    dd.download(plan, into=tmp_path / "data")
    to = f"pseudonyms:{tmp_path / 'new'}"
    with pytest.raises(DeliveryIncomplete, match="81 files held back for review"):
        dd.deliver(tmp_path / "data", to=to)
    assert dd.deliver(tmp_path / "data", to=f"{to}?allowed=PT").delivered == 1
    assert len(_files(tmp_path / "new")) == 81


_POWER_LOSS = """
PATH=$PATH:/usr/sbin:/sbin
set -e
truncate -s 200m disk.img
mkfs.ext4 -q disk.img
mkdir disk after
mount -o loop,commit=300 disk.img disk
{program} deliver data --to pseudonyms:disk/new {evict}
cp disk.img lost.img
mount -o loop lost.img after
cp -a after/new survived 2>/dev/null || mkdir survived
"""


@pytest.mark.skipif(sys.platform != "linux", reason="loop devices and mount namespaces")
@pytest.mark.parametrize("evict", ["--evict", ""])
def test_originals_go_only_when_power_may_fail(
    bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evict: str
) -> None:
    """What a copy of the file system holds is what a power loss at that moment would leave."""
    monkeypatch.setenv("DATASET_DL_ENDPOINT_URL", bucket.endpoint_url)
    dd.download(dd.plan([bucket.series[0].crdc_series_uuid]), into=tmp_path / "data")
    script = _POWER_LOSS.format(program=PROGRAM, evict=evict)
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    originals, new = _files(tmp_path / "data"), _files(tmp_path / "survived")
    if evict:
        assert not originals
        assert len(new) == 81 and all(pydicom.dcmread(tmp_path / "survived" / name).PatientID for name in new)
    else:  # so that the above could fail
        assert len(originals) == 81 and not any(new.values())


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    from dataset_dl.transfer.hands import hands_of

    with pytest.raises(SelectionError, match="no step"):
        hands_of([f"pseudonyms:{tmp_path / 'new'}?through=magic"], tmp_path)
    assert os.environ["DATASET_DL_PSEUDONYM_KEY"] == SECRET
