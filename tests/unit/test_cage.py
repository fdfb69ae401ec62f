"""Nothing gets out: whatever stands in a template, a value, a manifest, an identifier or a store's list."""

from __future__ import annotations

import os
import shlex
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.engines.s5cmd.command import batch_lines, list_lines
from dataset_dl.engines.s5cmd.output import parse_listed
from dataset_dl.errors import LayoutError, ManifestError, SelectionError
from dataset_dl.manifest.contents import parse
from dataset_dl.model.series import Fetch
from dataset_dl.network import NetworkSettings
from dataset_dl.plans.layout import Layout
from dataset_dl.plans.names import check_directory
from dataset_dl.sources.idc.tables import main_columns
from dataset_dl.store.addresses import IDC_BUCKETS
from support.plans import row

# What breaks out of things, more often than chance would have it.
nasty = st.lists(
    st.one_of(
        st.sampled_from(
            ["..", "/", "\\", "'", '"', "\n", "\r", "\0", "*", "?", "$(x)", "`x`", ";", "#", "%", "%PatientID",
             "%Modality", "~", "CON", "C:", "//", ".", " ", "--", "; DROP TABLE x", "\u202e", "\ud7ff", "ß", "é"]
        ),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)  # fmt: skip


def is_inside(directory: str) -> bool:
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour(directory)
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return os.path.normpath(f"/to/{directory}").startswith("/to")


@given(nasty, st.dictionaries(st.sampled_from(["PatientID", "Modality"]), st.none() | nasty))
def test_no_template_and_no_value_leads_out(template: str, values: dict[str, str | None]) -> None:
    try:
        layout = Layout.parse(template, {"PatientID": "VARCHAR", "Modality": "VARCHAR"})
    except LayoutError:
        return
    directory = layout.directory({name: values.get(name) for name in layout.columns})
    assert is_inside(directory)
    assert check_directory(directory) is None


@given(nasty)
@example("../x")
@example("a/../../x")
@example("a\nb")
def test_a_directory_that_is_let_through_is_inside(directory: str) -> None:
    if check_directory(directory) is None:
        assert is_inside(directory)
        assert "\n" not in directory


@given(
    nasty.filter(lambda text: check_directory(text) is None),
    st.none() | st.lists(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", fullmatch=True), max_size=5),
    st.lists(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", fullmatch=True), max_size=5),
)
def test_a_line_is_one_copy_from_the_series_to_its_directory(
    directory: str, missing: list[str] | None, present: list[str]
) -> None:
    series = row(1, directory=directory)
    fetch = Fetch(series, None if missing is None else tuple(missing), tuple(present))
    for line in batch_lines([fetch], NetworkSettings()):
        assert line.count("\n") == 1
        command, *options, source, target = shlex.split(line)
        assert command == "cp"
        assert set(options[::2]) <= {"--exclude"}
        assert source.startswith(f"s3://idc-open-data/{series.crdc_series_uuid}/")
        assert target == (f"./{directory}/" if directory else "./")
        assert source.endswith("/*") or source.rsplit("/", 1)[1] in (missing or [])
    (line,) = list_lines([series], NetworkSettings())
    assert shlex.split(line) == ["ls", "--etag", series.series_aws_url]


UUID = "2d40c513-e1eb-4f4d-a7f6-0ab346e3e973"
words = st.one_of(
    nasty,
    st.sampled_from(
        ["cp", "rm", "run", "sync", "--exclude", f"s3://idc-open-data/{UUID}/*", f"gs://b/{UUID}/", "s3://b/*",
         f"file:///{UUID}/*", f"https://b/{UUID}/*", "./", "a/b", "../x", "/etc", "'", "&&", "|", ">", "1.2.3"]
    ),
)  # fmt: skip


@given(st.lists(st.lists(words, max_size=5).map(" ".join), max_size=6).map("\n".join))
def test_a_manifest_is_parsed_and_never_passed_on(text: str) -> None:
    try:
        contents = parse(text.encode(errors="surrogatepass"), "manifest")
    except ManifestError:
        return
    for entry in contents.entries:
        assert entry.key == UUID
        assert entry.directory is None or is_inside(entry.directory)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reading_of_a_manifest_fail_otherwise(data: bytes) -> None:
    try:
        parse(data, "manifest")
    except ManifestError as error:
        assert error.message


@pytest.mark.filterwarnings("ignore::dataset_dl.errors.SelectionWarning")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nasty, st.sampled_from(["PatientID", "instanceCount", "StudyDate", "Modality"]), nasty,
       st.sampled_from(["=", "!=", "<", ">=", "~"]))  # fmt: skip
@example("", "PatientID", "\n..", "=")
@example("nlst' OR '1'='1", "PatientID", "x' OR '1'='1", "=")
@example('x"; DROP TABLE y; --', "Modality", '"; DROP TABLE y; --', "~")
def test_no_identifier_and_no_value_is_more_than_a_value(
    identifier: str, column: str, value: str, operator: str
) -> None:
    assert column in main_columns()
    assume(not set("*?") & set(identifier))  # a pattern names collections on purpose
    try:
        plan = dd.plan(["rider_pilot", identifier], where=[f"{column}{operator}{value}"])
    except (SelectionError, ManifestError):
        return
    for each in plan:
        assert each.collection_id == "rider_pilot"
        assert each.series_aws_url.split("/")[2] in IDC_BUCKETS


@given(
    st.binary(max_size=200) | nasty.map(lambda name: f'{{"key":"s3://b/{UUID}/{name}","size":1}}'.encode())
)
def test_no_name_of_a_store_becomes_a_path_or_a_command(line: bytes) -> None:
    listed = parse_listed(line)
    if listed is not None and listed[1] is not None:
        name = listed[1].name
        assert is_inside(name)
        assert shlex.split(name) == [name]
        assert not name.startswith(".")
        assert "/" not in name
