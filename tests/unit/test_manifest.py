from __future__ import annotations

import datetime
import io
import shlex
import tempfile
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_dl.engines.s5cmd.lines import copy_line
from dataset_dl.errors import ManifestError
from dataset_dl.manifest import tcia
from dataset_dl.manifest.contents import parse
from dataset_dl.manifest.entry import Entry
from dataset_dl.plans.names import check_directory
from support.plans import plan_of, row

UUID = "085e85b3-3780-47f6-8538-585bcca95336"
URL = f"s3://idc-open-data/{UUID}/*"


@pytest.mark.parametrize(
    "line",
    [f"cp {URL} .", f"cp '{URL}' .", f'cp "{URL}" "."', URL, f"cp --show-progress {URL} .", URL[:-2], URL[:-1],
     f"cp gs://public-datasets-idc/{UUID}/* .", f"cp S3://idc-open-cr/{UUID.upper()}/* .", f"sync {URL} .",
     f"s5cmd --no-sign-request --endpoint-url https://s3.amazonaws.com cp {URL} .", f"cp {URL} --show-progress ."],
)  # fmt: skip
def test_lines_of_the_portal(line: str) -> None:
    contents = parse(f"# comment\r\n\r\n  {line}  \r\n".encode(), "m")
    assert [(entry.line, entry.key, entry.directory) for entry in contents.entries] == [(3, UUID, None)]


def test_a_line_may_name_a_file() -> None:
    contents = parse(f"cp s3://idc-open-data/{UUID}/one.dcm a/\n".encode(), "m")
    assert contents.entries == (Entry(1, UUID, "a", "one.dcm:"),)


def test_directories_in_a_manifest_are_kept() -> None:
    contents = parse(f"cp '{URL}' './a b/it'\\''s/'\n".encode(), "m")
    assert contents.entries[0].directory == "a b/it's"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"cp {URL} ../x", "leaves the destination"),
        (f"cp {URL} /etc", "leaves the destination"),
        (f"cp '{URL} .", "left open"),
        (f"rm {URL}", "s3:// or gs://"),
        (f"mv {URL} .", "s3:// or gs://"),
        (f"drop {URL}", "it is not"),
        (f"cp {URL} . extra", "it is not"),
        ("cp https://example.org/x .", "s3:// or gs://"),
        ("cp s3://bucket/not-a-series/* .", "name a series"),
        (f"cp s3://idc-open-data/{UUID}/one.txt .", "name a series"),
        (f"cp s3://idc-open-data/{UUID}/../one.dcm .", "name a series"),
        (f"cp s3://idc-open-data/{UUID}/one.dcm two.dcm", "another name"),
    ],
)
def test_a_wrong_line_is_named_with_its_reason(line: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason) as caught:
        parse(f"cp {URL} .\n\n{line}\ncp {URL} .\n".encode(), "m.s5cmd")
    assert caught.value.line == 3
    assert "Line 3 of m.s5cmd" in caught.value.message


def test_all_wrong_lines_are_counted() -> None:
    text = f"cp {URL} .\n" + "cp s3://b/x .\n" * 9
    with pytest.raises(ManifestError, match="4 more lines are wrong"):
        parse(text.encode(), "m")


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n\0\0", b"PK\x03\x04", b"%PDF-1.7", b"\xff\xfe\xfd", b"a\0b", b"", b"# only\n\n"],
)
def test_what_is_no_manifest_says_so(data: bytes) -> None:
    with pytest.raises(ManifestError, match="is not a manifest"):
        parse(data, "pic.png")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_save_them(delimiter: str, encoding: str) -> None:
    rows = [["Subject ID", "Series UID", "Größe"], ["a", "1.2.3", "1,5"], ["b", "1.2.4 ", ""]]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    assert parse(text.encode(encoding), "m").identifiers == ("1.2.3", "1.2.4")


def test_a_comment_does_not_shift_the_number_of_a_line() -> None:
    with pytest.raises(ManifestError) as caught:
        parse(b"# exported\n\n# more\na,SeriesInstanceUID\n\n1,1.2\n1\n", "m.csv")
    assert caught.value.line == 7


def workbook(*sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for cells in sheets:
        sheet = book.create_sheet()
        for values in cells:
            sheet.append(values)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def test_workbooks_by_their_column() -> None:
    notes: list[list[object]] = [["what I did"], [datetime.date(2024, 1, 1)]]
    table: list[list[object]] = [[], ["Nr", "SeriesInstanceUID"], [1, "1.2.3"], [], [2, " 1.2.4 "]]
    assert parse(workbook(notes, table), "m.xlsx").identifiers == ("1.2.3", "1.2.4")


def test_a_row_is_told_by_the_next_column_that_names_it() -> None:
    text = f"crdc_series_uuid,SeriesInstanceUID,PatientID\n{UUID},1.2.3,P\n,1.2.4,P\n,,P2\n"
    assert parse(text.encode(), "m.csv").identifiers == (UUID, "1.2.4", "P2")
    with pytest.raises(
        ManifestError, match=r"Row 5 of m\.csv names nothing: it is empty in crdc_series_uuid, Ser"
    ):
        parse(f"{text},,\n".encode(), "m.csv")


def test_workbooks_that_name_nothing_say_so() -> None:
    with pytest.raises(ManifestError, match="no sheet of the workbook"):
        parse(workbook([["a", "b"], [1, 2]]), "m.xlsx")
    damaged = workbook([["SeriesInstanceUID"], ["1.2"]])[:-200]
    with pytest.raises(ManifestError, match="is not a manifest"):
        parse(damaged, "m.xlsx")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "x")
    with pytest.raises(ManifestError, match="it is a ZIP archive"):
        parse(archive.getvalue(), "m.zip")


TCIA = (
    "downloadServerUrl=https://public.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet\r\n"
    "includeAnnotation=true\r\nnoOfrRetry=4\r\ndatabasketId=manifest-1.tcia\r\nmanifestVersion=3.0\r\n"
    "ListOfSeriesToDownload=\r\n"
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (TCIA + "1.2.3 \r\n1.2.4\t\r\n1.2.3\r\n\r\n", "m"),
        ("ListOfSeriesToDownload=1.2.3\n1.2.4\n", "m"),
        ("manifestVersion = 3.0\n1.2.3\n1.2.4", "m.txt"),
        ("1.2.3\n1.2.4\n", "dir/M.TCIA"),
        (tcia.text_of(["1.2.3", "1.2.4"]), "m"),
    ],
)
def test_manifests_of_tcia(text: str, name: str) -> None:
    contents = parse(text.encode(), name)
    assert (contents.optional, contents.identifiers) == (("1.2.3", "1.2.4"), ())


def test_a_wrong_line_of_a_tcia_manifest_is_named() -> None:
    with pytest.raises(ManifestError, match="it is no SeriesInstanceUID") as caught:
        parse((TCIA + "1.2.3\n<html>\n").encode(), "m.tcia")
    assert caught.value.line == 8
    with pytest.raises(ManifestError, match="no series follows"):
        parse(TCIA.encode(), "m.tcia")


@pytest.mark.parametrize(
    "header", ["crdc_series_uuid", "SeriesInstanceUID", "series_instance_uid", "Series Instance UID"]
)
def test_tables_by_their_column(header: str) -> None:
    contents = parse(f"study_instance_uid,{header}\n1.2,1.2.3\n1.2,1.2.4\n1.2,1.2.3\n".encode(), "m.csv")
    assert contents.identifiers == ("1.2.3", "1.2.4")


def test_a_short_row_of_a_table_is_named() -> None:
    with pytest.raises(ManifestError) as caught:
        parse(b"a,SeriesInstanceUID\n1,1.2\n1\n", "m.csv")
    assert caught.value.line == 3


def test_lists_of_identifiers() -> None:
    assert parse("\ufefftcga_luad\n# no\nnlst, 1.2.3\n".encode(), "m").identifiers == (
        "tcga_luad",
        "nlst",
        "1.2.3",
    )


directories = st.text().filter(lambda text: check_directory(text) is None and text == text.strip())


@given(directories)
def test_a_line_of_ours_is_one_command_and_reads_back(directory: str) -> None:
    line = copy_line(URL, directory)
    assert line.count("\n") == 1
    command, source, target = shlex.split(line)
    assert (command, source, target) == ("cp", URL, f"./{directory}/" if directory else "./")
    assert parse(line.encode(), "m").entries[0].directory == directory


@given(st.text())
def test_any_text_parses_or_says_why(text: str) -> None:
    try:
        contents = parse(text.encode("utf-8", "surrogatepass"), "m")
    except ManifestError:
        return
    for entry in contents.entries:
        assert entry.directory is None or check_directory(entry.directory) is None


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=30), max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_saved_manifest_has_the_lines_that_s5cmd_gets(directories: list[str]) -> None:
    rows = [row(number, directory=directory) for number, directory in enumerate(["", *directories])]
    with tempfile.TemporaryDirectory() as scratch:
        text = plan_of(rows).save(Path(scratch) / "m.s5cmd").read_text(encoding="utf-8")
    header, _, lines = text.partition("\n")
    assert header.startswith("# IDC v25")
    assert lines == "".join(copy_line(each.series_aws_url, each.directory) for each in rows)
