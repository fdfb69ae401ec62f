"""Conditions, addresses, nodes and spreadsheets, before any archive is asked."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.pacs import secrets, spreadsheets
from dataset_dl.pacs.address import Address
from dataset_dl.pacs.matching import matcher
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.pacs.query import Query
from support.cli import Cli

UIDS = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){0,6}", fullmatch=True)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=30).filter(
    str.strip
)


@given(
    st.sampled_from(["dicomweb", "dimse"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    st.fixed_dictionaries(
        {},
        optional={
            "PatientID": TEXTS,
            "StudyDate": TEXTS,
            "StudyInstanceUID": UIDS,
            "SeriesInstanceUID": UIDS,
        },
    ),
)
def test_addresses_lead_back(scheme: str, node: str, conditions: dict[str, str]) -> None:
    made = Address(scheme, node, conditions)
    assert Address.of(str(made)) == made


@pytest.mark.parametrize(
    "text",
    ["dimse://", "dimse://A/../x", "dimse://A/studies/1.2/series", "dimse://u:p@A/studies/1", "dicomweb://A B/studies", "dimse://A/studies/../1", "dimse://A/studies/1.2/series/1.3/instances/1", "dimse://[::1/studies", "dimse://A/studies/1#x"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(dd.SelectionError, match="is no address"):
        Address.of(text)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("2024-01-31", "20240131"), ("20240131", "20240131"), ("2024-01-01..2024-01-31", "20240101-20240131"), ("20240101-20240131", "20240101-20240131"), ("2024-01-01..", "20240101-"), ("..2024-01-31", "-20240131"), ("2024-01-01-2024-01-31", "20240101-20240131"), ("*", "*")],
)  # fmt: skip
def test_dates(given: str, kept: str) -> None:
    assert Query.of({"StudyDate": given}).conditions == {"StudyDate": kept}


@pytest.mark.parametrize(
    "given", ["2024", "2024-13-01", "20240230", "yesterday?", "20240131..20240101", "..", "-", "1.2"]
)
def test_what_is_no_date(given: str) -> None:
    with pytest.raises(dd.SelectionError, match="StudyDate"):
        Query.of({"StudyDate": given})


def test_conditions_that_cannot_be_asked() -> None:
    with pytest.raises(dd.SelectionError, match="whole archive"):
        Query.of({})
    with pytest.raises(dd.SelectionError, match="whole archive"):
        Query.of({"PatientID": "  "})
    with pytest.raises(dd.SelectionError, match="no attribute"):
        Query.of({"Colour": "red"})
    with pytest.raises(dd.SelectionError, match="is no StudyInstanceUID"):
        Query.of({"StudyInstanceUID": "1.2/../3"})
    with pytest.raises(dd.SelectionError, match="no level"):
        Query.of({"PatientID": "1"}, "instance")
    assert Query.of({"StudyInstanceUID": "1.2, 1.3 1.4"}).conditions == {"StudyInstanceUID": "1.2\\1.3\\1.4"}


@given(TEXTS)
def test_a_text_matches_itself(text: str) -> None:
    value = text.replace("*", "x").replace("?", "y").replace("\\", "z").strip()
    assert matcher("PatientID", value)(value)
    assert matcher("PatientID", "*")(value)
    assert matcher("PatientID", "?" * len(value))(value)


def test_ranges_match() -> None:
    matches = matcher("StudyDate", "20240101-20240131")
    assert matches("20240101") and matches("20240131") and not matches("20240201") and not matches("20231231")
    assert matcher("StudyInstanceUID", "1.2\\1.3")("1.3") and not matcher("StudyInstanceUID", "1.2")("1.22")


def added(cli: Cli, *arguments: str) -> str:
    done = cli("pacs", "nodes", "add", *arguments)
    assert done.code == 0, done.err
    return done.out


def test_nodes_are_added_listed_and_removed(cli: Cli, tmp_path: Path) -> None:
    added(cli, "WARD", "dimse://WARDPACS@pacs.example:11112", "--at-once", "3", "--hours", "20:00-06:00")
    added(cli, "WEB", "https://research.example/dicom-web/", "dimse://R@research.example:104", "--tls")
    (tmp_path / "export").mkdir()
    added(cli, "EXPORT", str(tmp_path / "export"))
    rows = {row["name"]: row for row in cli("pacs", "nodes", "list", "--format", "json").json}
    assert rows["WARD"]["at_once"] == 3 and rows["WARD"]["hours"] == "20:00-06:00"
    assert (
        rows["WEB"]["address"] == "dimse://R@research.example:104 (TLS), https://research.example/dicom-web"
    )
    added(cli, "WARD", "dimse://OTHER@pacs.example:11112")
    assert Nodes().find("WARD") == Node(name="WARD", dimse="dimse://OTHER@pacs.example:11112")
    assert cli("pacs", "nodes", "remove", "WARD").code == 0
    gone = cli("pacs", "echo", "WARD")
    assert gone.code == 2 and "The nodes are EXPORT, WEB" in gone.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A", "http://pacs.example/dicom-web"], "has no TLS"),
        (["A", "https://me:s3cret@pacs.example/dicom-web"], "contains a password"),
        (["A", "dimse://pacs.example:104"], "no DIMSE address"),
        (["A", "dimse://A@pacs.example:99999"], "no DIMSE address"),
        (["A", "dimse://SEVENTEENLETTERS_@pacs.example:104"], "no AE title"),
        (["A B", "dimse://A@pacs.example:104"], "cannot be the name"),
        (["A", "/nowhere/at/all"], "no directory"),
        (["A", "dimse://A@a.example:104", "dimse://B@b.example:104"], "cannot be added to"),
        (["A", "dimse://A@a.example:104", "--hours", "25:00-06:00"], "are no hours"),
        (["A", "dimse://A@a.example:104", "--client-certificate", "/nowhere.pem"], "no certificate"),
    ],
)
def test_nodes_that_cannot_be(cli: Cli, arguments: list[str], words: str) -> None:
    done = cli("pacs", "nodes", "add", *arguments)
    assert done.code == 2 and words in done.err and "s3cret" not in done.err
    assert not Nodes().all()


def test_a_damaged_file_of_nodes_is_said(cli: Cli) -> None:
    Nodes().path.write_text('[{"name": "A", "password": "x"}]')
    done = cli("pacs", "nodes", "list")
    assert done.code == 2 and "cannot be read" in done.err


@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [("20:00-06:00", "21:00", "21:00"), ("20:00-06:00", "05:59", "05:59"), ("20:00-06:00", "06:00", "20:00"), ("08:00-12:00", "07:30", "08:00"), ("08:00-12:00", "12:00", "next 08:00"), ("", "12:00", "12:00")],
)  # fmt: skip
def test_hours(hours: str, now: str, opens: str) -> None:
    at = datetime.fromisoformat(f"2024-05-01T{now}")
    day = 2 if opens.startswith("next") else 1
    assert Node(name="A", dimse="dimse://A@a.example:104", hours=hours).opens_at(
        at
    ) == datetime.fromisoformat(f"2024-05-0{day}T{opens[-5:]}")


def test_a_node_outside_its_hours_is_not_asked(cli: Cli) -> None:
    from datetime import timedelta

    later = datetime.now() + timedelta(hours=2)
    hours = f"{later:%H}:00-{later + timedelta(hours=1):%H}:00"
    added(cli, "NIGHT", "dimse://A@127.0.0.1:1", "--hours", hours)
    done = cli("pacs", "query", "NIGHT", "--patient-id", "1")
    assert done.code == 2 and "may be asked in the hours" in done.err and "It opens" in done.err


def test_secrets_come_from_variables_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert secrets.variables("my-node") == ("DATASET_DL_NODE_MY_NODE_TOKEN", "DATASET_DL_NODE_MY_NODE_USER", "DATASET_DL_NODE_MY_NODE_PASSWORD")  # fmt: skip
    monkeypatch.setenv("DATASET_DL_NODE_A_USER", "me")
    monkeypatch.setenv("DATASET_DL_NODE_A_PASSWORD", "s3cret")
    found = secrets.secret_of("A")
    assert found.header == "Basic bWU6czNjcmV0" and "bWU6" not in repr(found)
    monkeypatch.setenv("DATASET_DL_NODE_A_TOKEN", "tok")
    assert secrets.secret_of("A").header == "Bearer tok"
    assert secrets.secret_of("B").header == ""
    with pytest.raises(TypeError):
        found.__reduce__()


def test_secrets_come_from_the_keyring(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Kept(KeyringBackend):
        priority = 1  # type: ignore[assignment]
        values: ClassVar[dict[tuple[str, str], str]] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.values.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.values[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.values[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Kept())
    try:
        added(cli, "A", "https://a.example/dicom-web")
        assert cli("pacs", "nodes", "login", "A", stdin="me\ns3cret\n").code == 0
        assert Nodes().find("A").in_keyring
        assert secrets.secret_of("A", in_keyring=True).header == "Basic bWU6czNjcmV0"
        assert secrets.secret_of("A").header == ""
        assert cli("pacs", "nodes", "login", "A", "--token", stdin="tok\n").code == 0
        assert secrets.secret_of("A", in_keyring=True).header == "Bearer tok" and len(Kept.values) == 1
        assert "s3cret" not in Nodes().path.read_text()
        assert cli("pacs", "nodes", "remove", "A").code == 0
        assert not Kept.values
    finally:
        keyring.set_keyring(before)


def book(
    path: Path, rows: list[list[object]], merged: str = "", formats: dict[str, str] | None = None
) -> Path:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for cell, number_format in (formats or {}).items():
        sheet[cell].number_format = number_format
    if merged:
        sheet.merge_cells(merged)
    made.save(path)
    return path


def test_a_spreadsheet_with_merged_cells_numbers_and_dates(tmp_path: Path) -> None:
    path = book(
        tmp_path / "a.xlsx",
        [["Patient ID", "study_date", "note", "Accession"], [12345, datetime(2024, 1, 15), "x", 7], [None, "2024-01-01..2024-02-01", "y", "A 8"], [1e6, None, None, None]],
        merged="A2:A3",
        formats={"D2": "0000"},
    )  # fmt: skip
    header, rows = spreadsheets.read(path, "study")
    assert header == ["Patient ID", "study_date", "note", "Accession"]
    assert [(row.number, row.query.conditions) for row in rows] == [
        (2, {"PatientID": "12345", "StudyDate": "20240115", "AccessionNumber": "0007"}),
        (3, {"PatientID": "12345", "StudyDate": "20240101-20240201", "AccessionNumber": "A 8"}),
        (4, {"PatientID": "1000000"}),
    ]


def test_wrong_rows_are_named_by_number_and_nothing_is_asked(cli: Cli, tmp_path: Path) -> None:
    added(cli, "NOWHERE", "dimse://A@127.0.0.1:1")
    path = book(
        tmp_path / "a.xlsx",
        [
            ["PatientID", "StudyDate"],
            ["1", "20240101"],
            ["2", "soon"],
            [None, None],
            [None, "20249999"],
            ["3", None],
        ],
    )
    done = cli("pacs", "query", "NOWHERE", "--batch", path, "-o", tmp_path / "b.xlsx")
    assert done.code == 2
    assert re.search(r"2 rows of .* row 3: “soon” is no date.*; row 5: “20249999” has no such day", done.err)
    assert not (tmp_path / "b.xlsx").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"colour\nred\n", "No column"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"PatientID\n", "no row below"),
        ("a.csv", b"PatientID;patient_id\n1;2\n", "several columns for PatientID"),
        ("a.csv", b"PatientID\n\xff\xfe\n", "not in UTF-8"),
        ("a.xlsx", b"no workbook", "no workbook"),
        ("a.ods", b"", "neither .xlsx nor .csv"),
    ],
)
def test_spreadsheets_that_cannot_be_asked(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(dd.ManifestError, match=words):
        spreadsheets.read(path, "study")


def test_values_of_an_archive_are_no_formulas(tmp_path: Path) -> None:
    spreadsheets.write(tmp_path / "a.xlsx", ["x"], iter([["=1+1"], ["a\x01b"]]))
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    assert sheet is not None
    assert [(cell.value, cell.data_type) for (cell,) in sheet.iter_rows(min_row=2)] == [
        ("=1+1", "s"),
        ("ab", "s"),
    ]


def test_titles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dataset_dl.pacs.titles import Titles

    assert Titles.gather().calling == "DATASET_DL"
    monkeypatch.setenv("CALLING_AE_TITLE", "ADIT1")
    assert Titles.gather()[:2] == ("ADIT1", "ADIT1")
    monkeypatch.setenv("RECEIVER_AE_TITLE", "ADIT1RCV")
    assert Titles.gather()[:2] == ("ADIT1", "ADIT1RCV")
    config = tmp_path / "config.toml"
    config.write_text('[pacs]\ncalling_ae_title = "MINE"\n')
    monkeypatch.setenv("DATASET_DL_CONFIG", str(config))
    assert Titles.gather().calling == "MINE"
    monkeypatch.setenv("DATASET_DL_CALLING_AE_TITLE", "back\\slash")
    with pytest.raises(dd.SelectionError, match="no AE title"):
        Titles.gather()


def test_the_file_of_nodes_has_no_field_for_secrets() -> None:
    names = set(Node.__struct_fields__)
    assert not {name for name in names if re.search("password|token|secret|user", name)}
    with pytest.raises(Exception, match="unknown field"):
        import msgspec

        msgspec.json.decode(json.dumps({"name": "A", "token": "x"}), type=Node)
