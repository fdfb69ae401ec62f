from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_dl.errors import ManifestError
from dataset_dl.layout import check_directory
from dataset_dl.manifest import copy_line, parse, read
from support.plans import plan_of, row

UUID = "085e85b3-3780-47f6-8538-585bcca95336"
URL = f"s3://idc-open-data/{UUID}/*"


@pytest.mark.parametrize(
    "line",
    [f"cp {URL} .", f"cp '{URL}' .", f'cp "{URL}" "."', URL, f"cp --show-progress {URL} .", URL[:-2], URL[:-1],
     f"cp gs://public-datasets-idc/{UUID}/* ."],
)  # fmt: skip
def test_lines_of_the_portal(line: str) -> None:
    contents = parse(f"# comment\r\n\r\n  {line}  \r\n".encode(), "m")
    assert [(entry.line, entry.crdc_series_uuid, entry.directory) for entry in contents.entries] == [
        (3, UUID, None)
    ]


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
        (f"cp {URL} . extra", "it is not"),
        ("cp https://example.org/x .", "s3:// or gs://"),
        ("cp s3://bucket/not-a-series/* .", "whole series"),
        (f"cp s3://idc-open-data/{UUID}/one.dcm .", "whole series"),
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


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        read(tmp_path / "none")


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
