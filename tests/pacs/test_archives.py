"""Two real Orthancs: query, fetch, send and transfer, by DIMSE and by DICOMweb."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pydicom
import pytest
import requests

import dataset_dl as dd
from dataset_dl.pacs.ledger import Ledger
from dataset_dl.pacs.nodes import Nodes
from dataset_dl.pseudonyms.keys import Key
from support.cli import Cli
from support.orthanc import Orthanc
from support.patients import write_series

pytestmark = pytest.mark.usefixtures("nodes")

# Each patient once, for tests that count.
SERIES = [("P1", "1.2.1", "1.2.1.1", 12), ("P1", "1.2.1", "1.2.1.2", 5), ("P1", "1.2.2", "1.2.2.1", 3), ("P22", "1.2.3", "1.2.3.1", 4), ("Müller 3", "1.2.4", "1.2.4.1", 2)]  # fmt: skip
BOTH = pytest.mark.parametrize("node", ["WARD", "WARDWEB"])


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("disc")
    for patient, study, series, count in SERIES:
        more = {"SpecificCharacterSet": "ISO_IR 192"} if not patient.isascii() else {}
        write_series(place / study, patient, study, series, count, StudyDate=f"2024010{study[-1]}", **more)
    return place


@pytest.fixture
def filled(disc: Path, ward: Orthanc, cli: Cli) -> Orthanc:
    """WARD with all of the disc."""
    if ward.count < sum(each[3] for each in SERIES):
        done = cli("pacs", "upload", disc, "--to", "WARD")
        assert done.code == 0, done.err
    return ward


def test_upload_sends_each_instance_once(disc: Path, filled: Orthanc, cli: Cli) -> None:
    first = cli("pacs", "upload", disc, "--to", "RESEARCH")
    assert first.code == 0 and "26 files: 26 sent to RESEARCH, 0 sent before, 0 failed" in first.out
    again = cli("pacs", "upload", disc, "--to", "RESEARCH")
    assert again.code == 0 and "0 sent to RESEARCH, 26 sent before" in again.out
    third = cli("pacs", "upload", disc, "--to", "RESEARCH", "--again")
    assert "26 sent to RESEARCH, 0 sent before" in third.out
    by_web = cli("pacs", "upload", disc, "--to", "RESEARCHWEB")
    assert by_web.code == 0 and "26 sent to RESEARCHWEB" in by_web.out
    rows = cli("pacs", "status", "--all", "--format", "json").json
    assert sum(row["node"] != "WARD" for row in rows) == 52 and {row["state"] for row in rows} == {"stored"}


@pytest.fixture(autouse=True)
def _as_it_was(nodes: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests share the archive, so each takes away what it has brought."""
    if "filled" not in request.fixturenames:
        yield
        return
    archive: Orthanc = request.getfixturevalue("filled")
    before = set(archive.ask("/patients"))
    yield
    for patient in set(archive.ask("/patients")) - before:
        requests.delete(f"{archive.url}/patients/{patient}", timeout=60).raise_for_status()


@BOTH
def test_query_drills_down(node: str, filled: Orthanc, cli: Cli) -> None:
    def rows(*arguments: str) -> list[dict[str, str]]:
        done = cli("pacs", "query", node, *arguments, "--format", "json")
        assert done.code == 0, done.err
        return list(done.json)

    patients = rows("--patient-id", "*", "--level", "patient")
    assert {(row["PatientID"], row["studies"]) for row in patients} == {
        ("P1", "2"),
        ("P22", "1"),
        ("Müller 3", "1"),
    }
    studies = rows("--patient-id", "P*")
    assert {(row["StudyInstanceUID"], row["NumberOfStudyRelatedInstances"]) for row in studies} == {("1.2.1", "17"), ("1.2.2", "3"), ("1.2.3", "4")}  # fmt: skip
    assert [row["StudyInstanceUID"] for row in rows("--patient-id", "P??")] == ["1.2.3"]
    assert {row["StudyInstanceUID"] for row in rows("--study-date", "2024-01-02..2024-01-03")} == {
        "1.2.2",
        "1.2.3",
    }
    assert {row["StudyInstanceUID"] for row in rows("--study", "1.2.1", "--study", "1.2.4")} == {
        "1.2.1",
        "1.2.4",
    }
    if node == "WARD":  # by QIDO-RS, Orthanc 1.10 finds no text beyond ASCII
        assert [row["PatientID"] for row in rows("--patient-id", "Müller 3")] == ["Müller 3"]
    series = rows("--patient-id", "P1", "--level", "series")
    assert {row["SeriesInstanceUID"]: row["NumberOfSeriesRelatedInstances"] for row in series} == {"1.2.1.1": "12", "1.2.1.2": "5", "1.2.2.1": "3"}  # fmt: skip
    assert {row["StudyInstanceUID"] for row in rows("--series", "1.2.2.1")} == {"1.2.2"}
    assert rows("--patient-id", "P1", "--modality", "MR") == []
    assert (
        rows("--where", "StudyDescription=Thor*", "--study-date", "20240104")[0]["StudyDescription"]
        == "Thorax"
    )


def test_query_says_what_it_cannot(filled: Orthanc, cli: Cli) -> None:
    nothing = cli("pacs", "query", "WARD")
    assert nothing.code == 2 and "whole archive" in nothing.err
    table = cli("pacs", "query", "WARD", "--patient-id", "nobody")
    assert table.code == 0 and "0 studies of WARD" in table.err


@BOTH
def test_a_spreadsheet_is_answered(node: str, filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    asked = tmp_path / "asked.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["PatientID", "note"])
    for number in range(1000):
        sheet.append([("P1", "P22", "nobody")[number % 3], f"row {number}"])
    book.save(asked)
    done = cli("pacs", "query", node, "--batch", asked, "-o", tmp_path / "answers.xlsx")
    assert done.code == 0 and "1,000 of 1,000 rows answered" in done.err
    answers = openpyxl.load_workbook(tmp_path / "answers.xlsx").active
    assert answers is not None
    rows = list(answers.iter_rows(min_row=2, values_only=True))
    header = next(answers.iter_rows(max_row=1, values_only=True))
    assert header[:4] == ("row", "PatientID (asked)", "note", "result")
    assert len(rows) == 334 * 2 + 333 + 333
    assert rows[0][:4] == ("2", "P1", "row 0", "2 studies") and rows[3][:4] == (
        "4",
        "nobody",
        "row 2",
        "nothing found",
    )


@BOTH
def test_download_fetches_what_matches(
    node: str, filled: Orthanc, disc: Path, cli: Cli, tmp_path: Path
) -> None:
    target = tmp_path / "data"
    done = cli("pacs", "download", node, "--patient-id", "P1", "--to", target)
    assert done.code == 0, done.err
    found = {path.stem: pydicom.dcmread(path) for path in target.rglob("*.dcm")}
    assert len(found) == 20
    for path in disc.rglob("1.2.[12].*.dcm"):
        sent = pydicom.dcmread(path)
        assert found[sent.SOPInstanceUID] == sent, "the same data set"
        assert found[sent.SOPInstanceUID].file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    again = cli("pacs", "download", node, "--patient-id", "P1", "--to", target)
    assert again.code == 0 and "nothing was fetched" in again.out
    assert cli("idc", "verify", target).code == 0
    assert len(Ledger.of(target).find("received", node, Nodes().find(node).address, found)) == 20


@BOTH
def test_only_what_is_missing_is_asked_for(node: str, filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "data"
    cli("pacs", "download", node, "--series", "1.2.1.1", "--to", target)
    whole = {path.name: path.read_bytes() for path in target.rglob("*.dcm")}
    gone = sorted(target.rglob("*.dcm"))[:3]
    for path in gone:
        path.unlink()
    report = dd.download(dd.plan(f"{'dimse' if node == 'WARD' else 'dicomweb'}://{node}/studies/1.2.1/series/1.2.1.1", into=target, layout="%PatientID/%StudyInstanceUID/%SeriesInstanceUID"))  # fmt: skip
    assert report.ok
    again = cli("pacs", "download", node, "--series", "1.2.1.1", "--to", target, "--json")
    assert again.code == 0
    assert again.events[-1]["fetched_bytes"] == sum(len(whole[path.name]) for path in gone)
    assert {path.name: path.read_bytes() for path in target.rglob("CT_1.2.1.1/*.dcm")} == whole


def test_a_series_that_grew_is_completed(filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    write_series(tmp_path / "a", "P9", "1.9", "1.9.1", 2)
    assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
    assert cli("pacs", "download", "WARD", "--study", "1.9", "--to", tmp_path / "data").code == 0
    write_series(tmp_path / "a", "P9", "1.9", "1.9.1", 4)
    assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
    grown = cli("pacs", "download", "WARD", "--study", "1.9", "--to", tmp_path / "data")
    assert grown.code == 0, grown.err
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == 4
    assert cli("idc", "verify", tmp_path / "data").code == 0


def test_a_series_in_two_studies_is_no_single_one(
    filled: Orthanc, research: Orthanc, cli: Cli, tmp_path: Path
) -> None:
    for study in ("1.6", "1.7"):
        write_series(tmp_path / study, "P7", study, "1.7.1", 2)
        assert cli("pacs", "upload", tmp_path / study, "--to", "RESEARCH", "--again").code == 0
    done = cli("pacs", "download", "RESEARCH", "--patient-id", "P7", "--to", tmp_path / "data")
    assert (done.code, "the series 1.7.1 in two studies" in done.err) == (2, True), done.err
    assert not (tmp_path / "data").exists()
    research.forget()


def test_what_a_series_has_grown_by_is_sent(
    filled: Orthanc, research: Orthanc, cli: Cli, tmp_path: Path
) -> None:
    """From a download that is kept, and by a transfer that keeps nothing."""
    uids = {f"1.8.1.{number}" for number in range(1, 7)}
    transfer = ("pacs", "transfer", "--from", "WARD", "--to", "RESEARCH", "--study", "1.8")
    for count, sent in ((2, 2), (4, 2)):
        write_series(tmp_path / "a", "P8", "1.8", "1.8.1", count)
        assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
        assert cli("pacs", "download", "WARD", "--study", "1.8", "--to", tmp_path / "data").code == 0
        done = cli("pacs", "send", tmp_path / "data", "--to", "RESEARCH")
        assert (done.code, f"{sent} instances sent" in done.out) == (0, True), done.out
        assert len(uids & research.instances) == count
    assert cli(*transfer).code == 0
    write_series(tmp_path / "a", "P8", "1.8", "1.8.1", 6)
    assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
    assert cli(*transfer).code == 0
    assert uids <= research.instances


def test_a_plan_of_an_archive_is_saved_and_used(filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    plan = tmp_path / "plan.parquet"
    made = cli("idc", "manifest", "dimse://WARD/studies/1.2.3", "-o", plan)
    assert made.code == 0, made.err
    done = cli("idc", "download", plan, "--to", tmp_path / "data")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == 4


def test_nothing_found_is_said(filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    done = cli("pacs", "download", "WARD", "--patient-id", "nobody", "--to", tmp_path / "data")
    assert done.code == 2 and "has nothing for" in done.err
    assert not (tmp_path / "data").exists()
    by_web = cli("idc", "download", "dicomweb://WARD/studies/1.2.3", "--to", tmp_path / "data")
    assert by_web.code == 2 and "does not speak DICOMweb" in by_web.err


@pytest.mark.parametrize("to", ["RESEARCH", "RESEARCHWEB"])
def test_send_what_was_downloaded(
    to: str, filled: Orthanc, research: Orthanc, cli: Cli, tmp_path: Path
) -> None:
    target, uids = tmp_path / "data", {f"1.2.1.1.{number}" for number in range(1, 13)}
    cli("pacs", "download", "WARD", "--patient-id", "P1", "--to", target)
    done = cli("pacs", "send", target, "--to", to)
    assert done.code == 0 and f"20 instances sent to {to}" in done.out
    assert uids <= research.instances
    again = cli("pacs", "send", target, "--to", to)
    assert again.code == 0 and "3 delivered before" in again.out
    status = cli("pacs", "status", target)
    assert status.code == 0 and "20 received: stored, 20 sent: stored" in status.err


def test_transfer_between_archives_resumes_and_leaves_nothing(
    filled: Orthanc, research: Orthanc, cli: Cli, tmp_path: Path
) -> None:
    write_series(tmp_path / "new", "P77", "1.77", "1.77.1", 6)
    assert cli("pacs", "upload", tmp_path / "new", "--to", "WARD").code == 0
    command = ("pacs", "transfer", "--from", "WARD", "--to", "RESEARCH", "--patient-id", "P77")
    done = cli(*command)
    assert done.code == 0 and "6 instances sent to RESEARCH" in done.out
    assert {f"1.77.1.{number}" for number in range(1, 7)} <= research.instances
    again = cli(*command)
    assert again.code == 0 and "nothing was fetched" in again.out
    assert not list((tmp_path / "state").rglob("*.dcm"))
    same = cli("pacs", "transfer", "--from", "WARD", "--to", "WARD", "--patient-id", "P77")
    assert same.code == 2 and "where it comes from" in same.err


def test_transfer_to_a_directory_and_to_a_file(filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    done = cli("pacs", "transfer", "--from", "WARD", "--to", target, "--study", "1.2.3")
    assert done.code == 0 and len(list(target.rglob("*.dcm"))) == 4
    done = cli("pacs", "transfer", "--from", "WARD", "--to", tmp_path / "case.zip", "--study", "1.2.3")
    assert done.code == 0 and "4 instances in" in done.out
    names = zipfile.ZipFile(tmp_path / "case.zip").namelist()
    assert sorted(names) == [f"P22/1.2.3/CT_1.2.3.1/1.2.3.1.{number}.dcm" for number in range(1, 5)]
    again = cli("pacs", "transfer", "--from", "WARD", "--to", tmp_path / "case.zip", "--study", "1.2.3")
    assert again.code == 2 and "there already" in again.err
    nowhere = cli("pacs", "transfer", "--from", "WARD", "--to", "ELSEWHERE", "--study", "1.2.3")
    assert nowhere.code == 2 and "no node “ELSEWHERE”" in nowhere.err


def test_pseudonyms_are_put_in_on_the_way(
    filled: Orthanc, research: Orthanc, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_PSEUDONYM_KEY", "a key for these tests, long enough")
    ask = ("pacs", "transfer", "--from", "WARD", "--study", "1.2.3", "--pseudonymise")
    before = research.instances
    done = cli(*ask, "--to", "RESEARCH", "--pseudonym", "CASE-07")
    assert done.code == 0 and "4 instances sent" in done.out
    new = research.instances - before
    assert len(new) == 4 and all(uid.startswith("2.25.") for uid in new)
    found = cli("pacs", "query", "RESEARCH", "--patient-id", "CASE-07", "--format", "json")
    assert len(found.json) == 1
    assert cli(*ask, "--to", tmp_path / "folder" / "case").code == 0
    names = [path.name for path in (tmp_path / "folder").rglob("*.dcm")]
    assert {f"{uid}.dcm" for uid in new} == set(names)
    assert cli(*ask, "--to", tmp_path / "case.zip").code == 0
    packed = zipfile.ZipFile(tmp_path / "case.zip").namelist()
    assert {Path(name).name for name in packed} == set(names) and len(packed) == 4
    assert not list((tmp_path / "state").rglob("*.dcm"))
    lonely = cli(
        "pacs", "transfer", "--from", "WARD", "--to", "RESEARCH", "--study", "1.2.3", "--pseudonym", "X"
    )
    assert lonely.code == 2


@pytest.mark.parametrize("to", ["folder/case", "case.zip"])
def test_one_pseudonym_is_never_that_of_two_patients(
    filled: Orthanc, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setenv("DATASET_DL_PSEUDONYM_KEY", "a key for these tests, long enough")
    ask = ("pacs", "transfer", "--from", "WARD", "--to", tmp_path / to, "--pseudonymise")
    both = cli(*ask, "--pseudonym", "CASE-1", "--patient-id", "P*")
    assert both.code == 3 and "would get the pseudonym CASE-1" in both.err
    written = sorted(path for path in tmp_path.rglob("*.dcm") if "CASE-1" in path.parts)
    studies = {pydicom.dcmread(path).StudyInstanceUID for path in written}
    key = Key(b"a key for these tests, long enough")
    first, second = {key.uid("1.2.1"), key.uid("1.2.2")}, {key.uid("1.2.3")}
    assert studies and (studies <= first or studies <= second)
    assert not (tmp_path / "case.zip").exists()
    if to == "case.zip":
        # What the other options have left is not packed, and goes.
        by_key = cli(*ask, "--patient-id", "P*")
        names = zipfile.ZipFile(tmp_path / to).namelist()
        assert by_key.code == 0 and f"{len(names)} instances in" in by_key.out
        assert len(names) >= 24 and not any(name.startswith("CASE-1/") for name in names)
        assert not list((tmp_path / "state").rglob("*.dcm"))


def test_a_directory_is_a_node_to_send_to(filled: Orthanc, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    assert cli("pacs", "nodes", "add", "EXPORT", tmp_path / "export").code == 0
    done = cli("pacs", "transfer", "--from", "WARD", "--to", "EXPORT", "--study", "1.2.3")
    assert done.code == 0, done.err
    names = {
        path.relative_to(tmp_path / "export").as_posix() for path in (tmp_path / "export").rglob("*.dcm")
    }
    assert names == {f"1.2.3/1.2.3.1/1.2.3.1.{number}.dcm" for number in range(1, 5)}
    asked = cli("pacs", "query", "EXPORT", "--patient-id", "1")
    assert asked.code == 2 and "answers no queries" in asked.err
    assert cli("pacs", "echo", "EXPORT").code == 0


def test_probe_says_what_a_node_can(filled: Orthanc, cli: Cli) -> None:
    rows = cli("pacs", "nodes", "probe", "WARD", "--format", "json").json
    offered = {row["service"]: row["offered"] for row in rows if row["service"] != "transfer syntax"}
    assert offered == {"C-ECHO": True, "C-FIND": True, "C-GET": True, "C-MOVE": True, "C-STORE": True}
    syntaxes = {row["details"]: row["offered"] for row in rows if row["service"] == "transfer syntax"}
    assert syntaxes["Explicit VR Little Endian"] and syntaxes["JPEG 2000 Image Compression (Lossless Only)"]
    web = cli("pacs", "nodes", "probe", "WARDWEB", "--format", "json").json
    assert {row["service"]: row["offered"] for row in web} == {
        "QIDO-RS": True,
        "WADO-RS": True,
        "STOW-RS": True,
    }
    assert cli("pacs", "echo").out.count("listens") == 4


def test_c_move_when_c_get_is_not_offered(
    filled: Orthanc, receiver_port: int, cli: Cli, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from support.peers import node_file

    options = {"DicomAlwaysAllowGet": False, "DicomModalities": {"DATASET_DL": {"AET": "DATASET_DL", "Host": "127.0.0.1", "Port": receiver_port, "AllowGet": False}}, "DicomCheckModalityHost": False}  # fmt: skip
    with Orthanc(tmp_path_factory.mktemp("move"), "MOVER", options=options) as mover:
        node_file(tmp_path / "nodes.json", MOVER=mover.dimse)
        write_series(tmp_path / "a", "P5", "1.5", "1.5.1", 25)
        assert cli("pacs", "upload", tmp_path / "a", "--to", "MOVER").code == 0
        rows = cli("pacs", "nodes", "probe", "MOVER", "--format", "json").json
        done = cli("pacs", "download", "MOVER", "--study", "1.5", "--to", tmp_path / "data")
        assert done.code == 0, (done.err, rows)
        assert len(list((tmp_path / "data").rglob("*.dcm"))) == 25


def test_from_idc_into_an_archive_on_a_bounded_disk(research: Orthanc, cli: Cli, tmp_path: Path) -> None:
    from dataset_dl.testing import LocalBucket

    with LocalBucket("qin_pet_phantom", max_series=3) as bucket:
        uids = [series.SeriesInstanceUID for series in bucket.series]
        total = sum(series.expected_instances for series in bucket.series)
        command = (
            "idc", "download", *uids, "--to", tmp_path / "data", "--then", "pacs:RESEARCH", "--evict",
            "--disk-budget", "8MB", "--endpoint-url", bucket.endpoint_url,
        )  # fmt: skip
        before = research.count
        done = cli(*command)
        assert done.code == 0, done.err
        assert f"{total:,} instances sent to RESEARCH" in done.out and "3 removed since" in done.out
        assert research.count == before + total
        assert not list((tmp_path / "data").rglob("*.dcm"))
        again = cli(*command)
        assert again.code == 0 and "nothing was fetched" in again.out


@pytest.mark.parametrize("node", ["WARD", "WARDWEB"])
def test_a_killed_download_goes_on(node: str, ward: Orthanc, cli: Cli, tmp_path: Path) -> None:
    import signal
    import subprocess

    from support.cli import PROGRAM
    from support.peers import settled

    if "1.44.1.1" not in ward.instances:
        write_series(tmp_path / "a", "P44", "1.44", "1.44.1", 300, pixels=256)
        assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
    target = tmp_path / "data"
    command = ["pacs", "download", node, "--study", "1.44", "--to", target]
    killed = 0
    for count in (20, 100, 180):
        process = subprocess.Popen(
            [PROGRAM, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        settled(lambda: len(list(target.rglob("*.dcm"))) >= count or process.poll() is not None)  # noqa: B023
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    had = {path.name: path.stat().st_mtime_ns for path in target.rglob("*.dcm")}
    done = cli(*command)
    assert done.code == 0, done.err
    there = {path.name: path.stat().st_mtime_ns for path in target.rglob("*.dcm")}
    assert killed and len(there) == 300 and had.items() <= there.items(), (
        "what was there is not fetched again"
    )
    assert not list(target.rglob("*.part"))
    assert cli("idc", "verify", target, "--deep").code == 0
