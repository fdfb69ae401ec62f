"""What must not be lost, and what must not be believed: each of these once went wrong."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import openpyxl
import pytest

import dataset_dl as dd
from dataset_dl.pacs import commandsets, spreadsheets
from dataset_dl.pacs.association import Association
from dataset_dl.pacs.ledger import folder_of
from support.cli import Cli
from support.orthanc import Orthanc
from support.patients import write_series
from support.peers import node_file, raw, respond, scp
from support.series import downloaded


def name(tmp_path: Path, **addresses: str) -> None:
    node_file(tmp_path / "nodes.json", **addresses)


@pytest.mark.usefixtures("nodes")
def test_a_zip_takes_nothing_of_a_directory_that_the_user_named(
    ward: Orthanc, cli: Cli, tmp_path: Path
) -> None:
    write_series(tmp_path / "a", "Z1", "1.61", "1.61.1", 3)
    write_series(tmp_path / "b", "Z2", "1.62", "1.62.1", 2)
    assert cli("pacs", "upload", tmp_path / "a", tmp_path / "b", "--to", "WARD").code == 0
    via = tmp_path / "via"
    assert cli("pacs", "download", "WARD", "--patient-id", "Z1", "--to", via).code == 0
    (via / "precious.txt").write_text("mine")
    done = cli(
        "pacs", "transfer", "--from", "WARD", "--to", via / "x.zip", "--via", via, "--patient-id", "Z2"
    )
    assert done.code == 0 and "2 instances in" in done.out
    assert (via / "x.zip").exists() and (via / "precious.txt").exists()
    assert len(list(via.rglob("*.dcm"))) == 3, "the download that was there"
    assert cli("idc", "verify", via).code == 0


def test_a_directory_that_is_its_own_source_keeps_its_files(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = downloaded(data, [("P1", "1.2", "1.2.1", 4)])
    place = data / "1.2" / "1.2.1"
    (data / rows[0].directory).rename(tmp_path / "moved")
    place.mkdir(parents=True)
    for number, path in enumerate(sorted((tmp_path / "moved").iterdir()), 1):
        path.rename(place / f"1.2.1.{number}.dcm")
    name(tmp_path, EXPORT=str(data))
    before = sorted(data.rglob("*.dcm"))
    done = cli("pacs", "upload", place, "--to", "EXPORT")
    assert done.code == 3 and "is where it comes from" in done.err
    assert sorted(data.rglob("*.dcm")) == before


def test_a_file_that_changes_gets_no_name_in_a_directory(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.pacs import copying

    (path,) = write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 1)
    (tmp_path / "export").mkdir()
    name(tmp_path, EXPORT=str(tmp_path / "export"))
    monkeypatch.setattr(copying, "unchanged", lambda instance, data: False)
    done = cli("pacs", "upload", path, "--to", "EXPORT")
    assert done.code == 3 and "it changed while it was sent" in done.err
    assert not [each for each in (tmp_path / "export").rglob("*") if each.is_file()]


def test_an_answer_is_of_an_archive_and_not_of_a_name(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    downloaded(data, [("P1", "1.2", "1.2.1", 3)])
    with scp() as first, scp() as second:
        for archive in (first, second):
            name(tmp_path, A=archive.address)
            assert cli("pacs", "upload", data, "--to", "A").code == 0
            assert cli("pacs", "send", data, "--to", "A").code == 0
        assert len(first.stored) == len(second.stored) == 3
        assert cli("pacs", "send", data, "--to", "A").out.count("1 delivered before") == 1
        counted = second.counts.total()
        again = cli("pacs", "send", data, "--to", "A", "--again")
        assert again.code == 0 and second.counts.total() == counted + 3


def test_an_answer_of_another_service_is_none(cli: Cli, tmp_path: Path) -> None:
    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            if message.command["CommandField"] == commandsets.C_STORE:
                association.send(message.context, {"CommandField": 0x8030, "Status": 0})
            else:
                respond(association, message)

    write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 2)
    with raw(serve) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "upload", tmp_path / "a", "--to", "A", "--retries", "0")
        assert done.code == 3 and "answers a question that was not asked" in done.err


def test_an_answer_without_its_instance_is_for_the_one_that_was_sent(cli: Cli, tmp_path: Path) -> None:
    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            respond(association, message._replace(command={**message.command, "AffectedSOPInstanceUID": ""}))

    write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 2)
    with raw(serve) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        assert cli("pacs", "upload", tmp_path / "a", "--to", "A").code == 0


def test_what_is_not_looked_into_is_said(cli: Cli, tmp_path: Path) -> None:
    write_series(tmp_path / "real", "P1", "1.2", "1.2.1", 2)
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(tmp_path / "real")
    (top / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(top / "pipe")
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", top, "--to", "A")
        assert done.code == 0 and "3 links or others not looked into: link, broken, pipe" in done.out
        (top / "empty.dcm").write_bytes(b"")
        assert cli("pacs", "upload", top, "--to", "A").code == 3
        twice = cli("pacs", "upload", tmp_path / "real", tmp_path / "real", "--to", "A")
        assert twice.code == 0 and "2 files: 2 sent" in twice.out and archive.counts.total() == 2


def test_an_archive_with_room_for_one_association(cli: Cli, tmp_path: Path) -> None:
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import Verification

    stored: list[str] = []
    entity = AE("ONE")
    entity.maximum_associations = 1
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax)

    def store(event: Any) -> int:
        stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        for number in range(4):
            write_series(tmp_path / "a" / str(number), "P1", "1.2", f"1.2.{number}", 60)
        (tmp_path / "nodes.json").write_text(
            json.dumps(
                [{"name": "A", "dimse": f"dimse://ONE@127.0.0.1:{server.server_address[1]}", "at_once": 4}]
            )
        )
        done = cli("pacs", "upload", tmp_path / "a", "--to", "A")
        assert done.code == 0, done.err
        assert len(set(stored)) == 240
    finally:
        server.shutdown()


def test_a_file_that_vanishes_costs_itself_only(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.pacs import delivering

    paths = write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 5)
    before = delivering.Delivering.send

    def vanished(self: Any, instances: Any, sums: Any) -> Any:
        paths[2].unlink(missing_ok=True)
        return before(self, instances, sums)

    monkeypatch.setattr(delivering.Delivering, "send", vanished)
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", tmp_path / "a", "--to", "A", "--retries", "0", "--json")
        assert done.code == 3 and "it cannot be read (No such file" in done.err and len(archive.stored) == 4
        assert done.events[-1]["event"] == "delivered"


def test_a_ledger_of_another_machine_that_is_damaged_or_just_begun(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    downloaded(data, [("P1", "1.2", "1.2.1", 3)])
    folder = folder_of(data)
    folder.mkdir(parents=True)
    (folder / "begun.sqlite").write_bytes(b"")
    (folder / "damaged.sqlite").write_bytes(b"no database" * 100)
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0 and len(archive.stored) == 3, done.err
    said = cli("pacs", "status", data)
    assert said.code == 5 and "damaged.sqlite, is damaged" in said.err
    (folder / "damaged.sqlite").unlink()
    assert cli("pacs", "status", data, "--all").code == 0


def test_a_strange_transfer_syntax_costs_its_file_only(cli: Cli, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 3)
    data = paths[1].read_bytes()
    old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
    assert old in data
    long = ("1." + "2" * 70).encode()
    paths[1].write_bytes(data.replace(old, b"\x02\x00\x10\x00UI" + len(long).to_bytes(2, "little") + long))
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", tmp_path / "a", "--to", "A")
        assert done.code == 3 and "TransferSyntaxUID" in done.err and len(archive.stored) == 2


@pytest.mark.parametrize(
    "node",
    [{"name": "A"}, {"name": "A", "dimse": "x"}, {"name": "A", "dimse": "dimse://A@a:1", "at_once": 0}, {"name": "A", "dimse": "dimse://A@a:1", "timeout_seconds": -1}, {"name": "A", "dicomweb": "http://[::1"}],
)  # fmt: skip
def test_a_file_of_nodes_by_hand(cli: Cli, tmp_path: Path, node: dict[str, object]) -> None:
    (tmp_path / "nodes.json").write_text(json.dumps([node]))
    done = cli("pacs", "echo", "A")
    assert done.code == 2 and "cannot be read" in done.err


@pytest.mark.parametrize(
    "address", ["dimse://me:s3cret@h:104", "dimse://A@..a:104", f"dimse://A@{'x' * 64}:104"]
)
def test_addresses_that_no_node_has(cli: Cli, address: str) -> None:
    done = cli("pacs", "nodes", "add", "A", address)
    assert done.code == 2 and "no DIMSE address" in done.err


def test_two_nodes_do_not_share_their_variables(cli: Cli) -> None:
    assert cli("pacs", "nodes", "add", "a-b", "https://a.example/dicom-web").code == 0
    done = cli("pacs", "nodes", "add", "A_B", "https://b.example/dicom-web")
    assert done.code == 2 and "would share DATASET_DL_NODE_A_B_TOKEN" in done.err


def test_what_the_keyring_has_is_for_one_host(cli: Cli) -> None:
    from dataset_dl.pacs.nodes import Nodes

    assert cli("pacs", "nodes", "add", "A", "https://a.example/dicom-web").code == 0
    Nodes().mark_in_keyring("A")
    assert cli("pacs", "nodes", "add", "A", "https://a.example/dicom-web", "--hours", "20:00-06:00").code == 0
    assert Nodes().find("A").in_keyring
    assert cli("pacs", "nodes", "add", "A", "https://b.example/dicom-web").code == 0
    assert not Nodes().find("A").in_keyring


def test_queries_that_would_list_everything(cli: Cli, tmp_path: Path) -> None:
    name(tmp_path, A="dimse://A@127.0.0.1:1")
    for more in ((), ("--level", "series")):
        done = cli("pacs", "query", "A", "--where", "SeriesDescription=x", *more)
        assert done.code == 2 and "is an attribute of series" in done.err
    mixed = cli("pacs", "query", "A", "--patient-id", "1", "--where", "SeriesNumber=1")
    assert mixed.code == 2
    odd = cli("pacs", "query", "A", "--patient-id", b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert odd.code == 2
    port = cli(
        "pacs",
        "download",
        "A",
        "--patient-id",
        "1",
        "--to",
        tmp_path / "x",
        env={"DATASET_DL_RECEIVER_PORT": "99999"},
    )
    assert port.code in (2, 4)


def test_a_spreadsheet_with_columns_of_one_name_and_formulas(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("PatientID,note,note\nP1,one,two\n")
    header, (row,) = spreadsheets.read(path, "study")
    assert header == ["PatientID", "note", "note"] and list(row.cells) == ["P1", "one", "two"]
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["PatientID", "StudyDate"])
    sheet.append(['="P"&"1"', "20240101"])
    book.save(tmp_path / "b.xlsx")
    with pytest.raises(dd.ManifestError, match=r"A2 of .* is a formula without a value"):
        spreadsheets.read(tmp_path / "b.xlsx", "study")
    spreadsheets.write(tmp_path / "c.xlsx", ['=HYPERLINK("x")', "a\x01b"], [["1", "2"]])
    written = openpyxl.load_workbook(tmp_path / "c.xlsx").active
    assert written is not None
    assert [(cell.value, cell.data_type) for cell in written[1]] == [('=HYPERLINK("x")', "s"), ("ab", "s")]


def test_answers_go_where_they_can_be_written(cli: Cli, tmp_path: Path) -> None:
    name(tmp_path, A="dimse://A@127.0.0.1:1")
    (tmp_path / "a.csv").write_text("PatientID\n1\n")
    done = cli("pacs", "query", "A", "--batch", tmp_path / "a.csv", "-o", tmp_path / "nowhere" / "b.csv")
    assert done.code == 2 and "has no directory to be in" in done.err


@pytest.mark.usefixtures("nodes")
def test_names_with_signs_are_found_by_both_services(ward: Orthanc, cli: Cli, tmp_path: Path) -> None:
    write_series(
        tmp_path / "a", "N1", "1.71", "1.71.1", 1, PatientName="ROE^JANE B", StudyDescription="Head & neck"
    )
    write_series(
        tmp_path / "b", "N2", "1.72", "1.72.1", 1, PatientName="ROE^JOAN", StudyDescription="Head + neck"
    )
    assert cli("pacs", "upload", tmp_path / "a", tmp_path / "b", "--to", "WARD").code == 0
    for node in ("WARD", "WARDWEB"):
        for asked in (("--patient-name", "ROE^JANE*"), ("--study-description", "Head & neck")):
            done = cli("pacs", "query", node, *asked, "--format", "json")
            assert [row["PatientID"] for row in done.json] == ["N1"], (node, asked)


@pytest.mark.usefixtures("nodes")
def test_patients_whose_identifiers_differ_by_a_sign(ward: Orthanc, cli: Cli, tmp_path: Path) -> None:
    for number, patient in enumerate(("S 1", "S-1", "S/1")):
        write_series(tmp_path / str(number), patient, f"1.8{number}", f"1.8{number}.1", 1)
        assert cli("pacs", "upload", tmp_path / str(number), "--to", "WARD").code == 0
    for node in ("WARD", "WARDWEB"):
        for patient in ("S 1", "S-1", "S/1"):
            done = cli("pacs", "query", node, "--patient-id", patient, "--format", "json")
            assert [row["PatientID"] for row in done.json] == [patient], (node, patient, done.err)


def test_a_ledger_that_is_damaged_is_said(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    downloaded(data, [("P1", "1.2", "1.2.1", 2)])
    with scp() as archive:
        name(tmp_path, A=archive.address)
        assert cli("pacs", "send", data, "--to", "A").code == 0
        (own,) = folder_of(data).glob("*.sqlite")
        for path in folder_of(data).iterdir():
            path.unlink()
        own.write_bytes(b"no database" * 1000)
        done = cli("pacs", "send", data, "--to", "A", "--again")
        assert done.code == 5 and own.name in done.err, done.err
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(own).execute("SELECT 1 FROM instances")


@pytest.mark.usefixtures("nodes")
def test_the_same_instance_by_another_way_is_the_same(ward: Orthanc, cli: Cli, tmp_path: Path) -> None:
    write_series(tmp_path / "a", "W1", "1.91", "1.91.1", 3)
    (tmp_path / "export").mkdir()
    assert cli("pacs", "nodes", "add", "EXPORT", tmp_path / "export").code == 0
    assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
    for node in ("WARD", "WARDWEB"):
        data = tmp_path / node
        assert cli("pacs", "download", node, "--study", "1.91", "--to", data).code == 0
        assert cli("pacs", "send", data, "--to", "EXPORT").code == 0
        back = cli("pacs", "upload", data, "--to", "WARD")
        assert back.code == 0 and "3 sent before" in back.out


@pytest.mark.usefixtures("nodes")
def test_a_bounded_disk_holds_for_archives_too(ward: Orthanc, cli: Cli, tmp_path: Path) -> None:
    for number in range(4):
        write_series(tmp_path / "a", "B1", "1.92", f"1.92.{number}", 10, pixels=512)
    assert cli("pacs", "upload", tmp_path / "a", "--to", "WARD").code == 0
    (tmp_path / "export").mkdir()
    assert cli("pacs", "nodes", "add", "EXPORT", tmp_path / "export").code == 0
    given = (
        "pacs",
        "download",
        "WARD",
        "--study",
        "1.92",
        "--to",
        tmp_path / "data",
        "--evict",
        "--then",
        "pacs:EXPORT",
    )
    done = cli(*given, "--disk-budget", "12MB", "--json")
    assert done.code == 0, done.err
    held = most = 0
    for event in done.events:
        held += event["size_bytes"] if event["event"] == "file_completed" else 0
        held -= event["size_bytes"] if event["event"] == "series_evicted" else 0
        most = max(most, held)
    assert most <= 12_000_000
    assert len(list((tmp_path / "export").rglob("*.dcm"))) == 40
