"""A person is told what was meant, in words and tables that fit where they are read."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.cli.tables import write
from dataset_dl.errors import LayoutError, ManifestError, PlanError, QueryError
from dataset_dl.manifest import addresses
from dataset_dl.model.events import SeriesFailed
from dataset_dl.model.outcome import Report, SeriesFailure
from dataset_dl.observers.notices import Notices
from dataset_dl.sources.idc import rights
from dataset_dl.testing import LocalBucket
from dataset_dl.wording import counted, size
from support.cli import PROGRAM, Cli
from support.plans import plan_of, row


def uuids(bucket: LocalBucket, count: int = 4) -> str:
    return ",".join(each.crdc_series_uuid for each in bucket.series[:count])


def test_download_takes_what_plan_takes(bucket: LocalBucket, tmp_path: Path) -> None:
    uids = [str(each.SeriesInstanceUID) for each in bucket.series]
    where = {"SeriesInstanceUID": uids[:2]}
    report = dd.download(
        "qin_pet_phantom", into=tmp_path / "a", where=where, endpoint_url=bucket.endpoint_url
    )
    assert report.complete_series == 2
    found = dd.stream(uids, tmp_path / "b", limit=1, endpoint_url=bucket.endpoint_url)
    assert len([series.paths for series in found]) == 1
    *_, last = dd.download_events(
        "qin_pet_phantom", tmp_path / "a", where=where, endpoint_url="http://127.0.0.1:9"
    )
    assert last.report.ok  # type: ignore[union-attr]


async def _downloaded(bucket: LocalBucket, target: Path) -> dd.Report:
    return await dd.adownload(uuids(bucket, 1), target, endpoint_url=bucket.endpoint_url)


def test_so_does_adownload(bucket: LocalBucket, tmp_path: Path) -> None:
    import asyncio

    assert asyncio.run(_downloaded(bucket, tmp_path)).ok


def test_a_plan_has_a_length_and_is_true() -> None:
    plan = dd.plan("qin_pet_phantom")
    assert len(plan) == 44
    assert plan


def test_notebooks_show_tables_without_markup_of_strangers(tmp_path: Path) -> None:
    evil = row(1)._replace(collection_id="<script>alert(1)</script>")
    failure = SeriesFailure(evil, "unknown", "<b>free</b>", 0, 0)
    report = Report(tmp_path, 1, 2, 20, 0, 0, 0, 0, 0, (failure,) * 30, 1.0)
    for shown in (plan_of([evil])._repr_html_(), report._repr_html_()):
        assert "<table>" in shown
        assert "<script>" not in shown
        assert "<b>free" not in shown
    assert "and 10 more" in report._repr_html_()
    assert "44 series, 2,816 files, 246.3 MB, IDC v25" in dd.plan("qin_pet_phantom")._repr_html_()
    (tmp_path / "qin").mkdir()
    outcome = dd.Verification(tmp_path, 3, 3, 30, ())
    assert "3 of 3 series are complete, 30 B" in outcome._repr_html_()


@pytest.mark.parametrize(
    ("place", "words"),
    [("s3://bucket/x", "is an address (s3)"), ("gs://b", "is an address (gs)"), ("C:\\data\\x", "is a directory of Windows"),
     ("d:/x", "is a directory of Windows"), ("https://x.org/y", "is an address (https)")],
)  # fmt: skip
def test_a_destination_that_is_elsewhere_is_refused_with_what_was_meant(
    cli: Cli, place: str, words: str
) -> None:
    done = cli("idc", "download", "rider_pilot", "--to", place)
    assert done.code == 2
    assert words in done.err.replace("s3:/b", "s3:/b")
    with pytest.raises(PlanError):
        dd.plan("rider_pilot", into=place)
    assert list(cli.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("layout", "words"),
    [("{PatientID}", "Write %PatientID"), ("%Modality/${patientid}", "Write %PatientID"), ("$PatientID/x", "Write %PatientID"),
     ("<Modality>", "Write %Modality"), ("PatientID", "here %PatientID"), ("data", "names no column"),
     ("%collection_id/[Modality]", "Write %Modality")],
)  # fmt: skip
def test_a_layout_in_another_spelling_is_refused_with_the_right_one(layout: str, words: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(words)):
        dd.plan("rider_pilot", layout=layout, limit=1)


SERIES = next(iter(dd.plan("qin_pet_phantom")))
STUDY, UID, UUID = str(SERIES.StudyInstanceUID), str(SERIES.SeriesInstanceUID), SERIES.crdc_series_uuid
VIEWER = "https://viewer.imaging.datacommons.cancer.gov"


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("10.7937/tcia.hmq8-j677", None),
        ("https://doi.org/10.7937/K9/TCIA.2015.ZPUKHCKB", None),
        ("doi:10.7937/K9/TCIA.2015.zpukhckb", None),
        ("https://portal.imaging.datacommons.cancer.gov/explore/filters/?collection_id=rider_pilot", ("rider_pilot",)),
        ("https://portal.imaging.datacommons.cancer.gov/explore/filters/?collection_id_op=OR&collection_id=a&collection_id=b", ("a", "b")),
        (f"{VIEWER}/v3/viewer/?StudyInstanceUIDs={STUDY}", (STUDY,)),
        (f"{VIEWER}/v3/viewer/?StudyInstanceUIDs={STUDY},1.2.3", (STUDY, "1.2.3")),
        (f"{VIEWER}/v3/viewer/?StudyInstanceUIDs={STUDY}&initialSeriesInstanceUID={UID}", (UID,)),
        (f"{VIEWER}/viewer/{STUDY}?SeriesInstanceUID={UID}", (UID,)),
        (f"{VIEWER}/viewer/{STUDY}?seriesInstanceUID={UID}", (UID,)),
        (f"{VIEWER}/v3/viewer/?studyInstanceUIDs={STUDY}", (STUDY,)),
        (f"{VIEWER}/viewer/{STUDY}", (STUDY,)),
        (f"{VIEWER}/slim/studies/{STUDY}", (STUDY,)),
        (f"{VIEWER}/slim/studies/{STUDY}/series/{UID}", (UID,)),
        (f"{VIEWER}/volview/?urls=[s3://idc-open-data/{UUID}]", (f"s3://idc-open-data/{UUID}",)),
        ("https://www.cancerimagingarchive.net/collection/rider-pilot/", ("rider-pilot",)),
    ],
)  # fmt: skip
def test_what_people_paste_is_a_source(address: str, named: tuple[str, ...] | None) -> None:
    if named is not None:
        assert addresses.named(address) == named
    try:
        assert dd.plan(address).series_count > 0
    except dd.SelectionError as error:
        assert "1.2.3" in error.message or "“a”" in error.message


def test_what_a_listing_leaves_out_is_a_line_and_no_warning_of_python(cli: Cli) -> None:
    (cli.directory / "m.s5cmd").write_text(f"the column\ncp {SERIES.series_aws_url} .\n")
    done = cli("idc", "cite", "m.s5cmd", "--offline")
    assert done.code == 0
    assert done.err == "Left out of m.s5cmd: line 1 has no address (“the column”).\n"


def test_a_doi_has_a_page() -> None:
    doi = str(SERIES.source_DOI)
    assert dd.page_url(f"doi:{doi}") == f"https://doi.org/{doi}"


def test_browse_and_back() -> None:
    for identifier, count in (("rider_pilot", dd.plan("rider_pilot").series_count), (UID, 1)):
        assert dd.plan(dd.page_url(identifier)).series_count == count


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/",
        "https://portal.imaging.datacommons.cancer.gov/explore/",
        "https://x.org/?collection_id=a&Modality=CT",
    ],
)
def test_an_address_that_says_too_little_or_too_much_is_refused(address: str) -> None:
    with pytest.raises(ManifestError, match=r"names no collection|chooses by Modality"):
        dd.plan(address)


def test_hundreds_of_alike_failures_are_one_line(cli: Cli, bucket: LocalBucket) -> None:
    done = cli("idc", "download", "qin_pet_phantom", "--to", "d", "--endpoint-url", bucket.endpoint_url)
    assert done.code == 3
    (line,) = [line for line in done.out.splitlines() if "series failed" in line]
    assert line.startswith("40 series failed (not_found: no object found): for example 1.")
    assert line.count(", ") == 2
    assert str(Path("d") / ".dataset-dl" / "failed.csv") in done.out
    assert done.err.count("failed: ") == 3
    assert "more series fail for the same reason (not_found)" in done.err


def test_notices_tell_the_first_of_each_kind() -> None:
    notices = Notices()
    lines = [
        notices.line(
            SeriesFailed(SeriesFailure(row(number), "truncated", f"holds {number} of 99 bytes", 0, 0))
        )
        for number in range(10)
    ]
    assert [line is not None for line in lines] == [True] * 4 + [False] * 6
    other = notices.line(SeriesFailed(SeriesFailure(row(1), "network", "refused", 0, 0)))
    assert other == "failed: 1.2.1.1 (network: refused)"


def in_terminal(cli: Cli, *words: str, columns: int = 80, env: dict[str, str] | None = None) -> str:
    """What a command writes to a terminal of some width."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = (
        {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        | {"TERM": "xterm"}
        | (env or {})
    )
    process = subprocess.Popen(
        [PROGRAM, *words], cwd=cli.directory, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    said = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    process.wait()
    os.close(master)
    return said.decode()


def test_a_narrow_terminal_keeps_its_bar(cli: Cli, bucket: LocalBucket) -> None:
    words = (
        "idc",
        "download",
        uuids(bucket),
        "--to",
        "d",
        "--endpoint-url",
        bucket.endpoint_url,
        "--max-rate",
        "20",
    )
    said = in_terminal(cli, *words, columns=60)
    bars = re.findall(r"[━╸╺]+", said)
    assert bars
    assert max(map(len, bars)) >= 10
    amounts = {float(each) for each in re.findall(r"([0-9.]+) MB", said)}
    assert len(amounts) > 3  # it moves with the bytes


def test_a_dumb_terminal_gets_lines(cli: Cli, bucket: LocalBucket) -> None:
    words = ("idc", "download", uuids(bucket), "--to", "d", "--endpoint-url", bucket.endpoint_url)
    said = in_terminal(cli, *words, env={"TERM": "dumb"})
    assert "\x1b" not in said
    assert "fetching 4 series" in said


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_listings_fit_the_terminal_and_keep_uids_whole(cli: Cli, columns: int) -> None:
    sql = "SELECT SeriesInstanceUID, StudyInstanceUID, Modality, SeriesDescription FROM idc_index WHERE collection_id = 'nlst' LIMIT 3"
    for words in (("idc", "collections"), ("idc", "query", sql), ("idc", "indices")):
        said = in_terminal(cli, *words, columns=columns).replace("\r\n", "\n")
        wide = [
            line
            for line in said.splitlines()
            if len(line) > max(columns, 64) and not line.startswith("(not shown")
        ]
        assert not wide, wide[:3]
    said = in_terminal(cli, "idc", "query", sql, columns=columns)
    assert len(set(re.findall(r"1\.[0-9.]{50,}", said)) & set(dd.query(sql).SeriesInstanceUID)) == 3
    if columns < 120:
        assert "(not shown for lack of room: StudyInstanceUID" in said


def test_rules_are_drawn_with_what_the_encoding_has() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"

    stream = Ascii()
    write(("a",), [("b",)], "table", stream)
    assert stream.getvalue() == "a\n-\nb\n"


def test_collections_have_a_description() -> None:
    frame = dd.collections("rider_pilot")
    (text,) = frame.description
    assert len(text) > 50
    assert not re.search(r"<[a-z/]|&[a-z]+;", text)


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["download", "x"], "dataset-dl idc download"), (["idc", "dowload"], "dataset-dl idc download"),
     (["idc", "collection"], "dataset-dl idc collections"), (["doktor"], "dataset-dl doctor"), (["verify"], "dataset-dl idc verify")],
)  # fmt: skip
def test_a_misspelt_command_is_answered_with_the_nearest(cli: Cli, words: list[str], meant: str) -> None:
    done = cli(*words)
    assert done.code == 2
    assert f"`{meant}`" in done.err
    assert done.err.count("\n") == 1


def test_help_shows_examples_and_groups(cli: Cli) -> None:
    said = cli("idc", "download", "--help").out
    assert [each for each in ("Examples:", "What:", "Where to:", "How:", "Network:", "Options:") if each in said] == [
        "Examples:", "What:", "Where to:", "How:", "Network:", "Options:",
    ]  # fmt: skip
    for group in (
        (),
        ("idc",),
        ("idc", "collections"),
        ("idc", "query"),
        ("doctor",),
        ("idc", "indices", "fetch"),
    ):
        assert "Examples:" in cli(*group, "--help").out, group


@pytest.mark.parametrize("words", [["--workers", "0"], ["--nope"], ["--limit", "x"], []])
def test_usage_errors_are_json_for_programs(cli: Cli, words: list[str]) -> None:
    done = cli("idc", "download", "rider_pilo", "--to", "d", "--json", *words)
    assert done.code == 2
    told = json.loads(done.out)
    assert (told["event"], told["exit_code"]) == ("error", 2)
    assert told["message"] in done.err


def test_sql_errors_name_near_columns() -> None:
    with pytest.raises(QueryError, match="Did you mean Modality"):
        dd.query("SELECT Modalty FROM idc_index")
    with pytest.raises(QueryError, match="Did you mean idc_index"):
        dd.query("SELECT 1 FROM idc_indx")


def test_numbers_as_people_say_them() -> None:
    assert size(26_675_350_000_000) == "26.7 TB"
    assert size(999_960) == "1.0 MB"
    assert [counted(each, "directory") for each in (0, 1, 2000)] == [
        "0 directories",
        "1 directory",
        "2,000 directories",
    ]


def test_authors_are_named_one_by_one() -> None:
    work = rights.Work(
        "10.1/x",
        "T",
        "Clunie, D. A., O’Neil, J.-P., & van der Berg, Q. (2020). T. Place. https://doi.org/10.1/x",
        "",
    )
    assert "author = {Clunie, D. A. and O’Neil, J.-P. and van der Berg, Q.}" in rights.bibtex([work])
    assert json.loads(rights.cited(work, "json"))["author"][1] == {"family": "O’Neil", "given": "J.-P."}
    group = rights.Work(
        "10.1/y", "T", "National Cancer Institute. (2020). T. Place. https://doi.org/10.1/y", ""
    )
    assert "author = {{National Cancer Institute.}}" in rights.bibtex([group])


def test_a_manifest_is_not_overwritten_unless_told(cli: Cli) -> None:
    assert cli("idc", "manifest", "rider_pilot", "-o", "p.csv").code == 0
    before = (cli.directory / "p.csv").read_bytes()
    refused = cli("idc", "manifest", "qin_pet_phantom", "-o", "p.csv")
    assert refused.code == 2
    assert (cli.directory / "p.csv").read_bytes() == before
    assert cli("idc", "manifest", "qin_pet_phantom", "-o", "p.csv", "--force").code == 0
    assert (cli.directory / "p.csv").read_bytes() != before
