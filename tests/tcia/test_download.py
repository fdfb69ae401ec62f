"""Series from IDC and from NBIA in one download; and what NBIA's zips may be like."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

import dataset_dl as dd
from dataset_dl.tcia.service import Nbia, NbiaAddress
from dataset_dl.tcia.source import _licence
from dataset_dl.testing import LocalBucket
from dataset_dl.testing.nbia import LocalNbia
from dataset_dl.verbs.options import settings_of
from support.cli import PROGRAM, Cli
from tcia.conftest import COUNT, made


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    def write(*uids: str) -> Path:
        path = tmp_path / "manifest.tcia"
        lines = [
            "downloadServerUrl=https://nbia.cancerimagingarchive.net/x",
            "noOfrRetry=4",
            "ListOfSeriesToDownload=",
        ]
        path.write_text("\r\n".join([*lines, *uids, "", ""]))
        return path

    return write


def same(root: Path, nbia: LocalNbia, uid: str) -> bool:
    """Whether the files of a series are those of the server, byte by byte, and no others."""
    found = {
        str(dcmread(path).SOPInstanceUID): path.read_bytes()
        for path in root.rglob("*.dcm")
        if uid in str(path)
    }
    return found == nbia.series[uid].files


def strays(root: Path) -> list[Path]:
    return [path for path in root.rglob(".*") if path.is_file() and ".dataset-dl" not in path.parts]


def test_each_series_comes_from_where_it_is(
    cli: Cli, nbia: LocalNbia, bucket: LocalBucket, manifest: Callable[..., Path], tmp_path: Path
) -> None:
    of_idc = [str(each.SeriesInstanceUID) for each in bucket.series[:2]]
    path = manifest(*of_idc, *nbia.series, "1.2.3.4")
    to = tmp_path / "data"
    options = ["--to", to, "--endpoint-url", bucket.endpoint_url]
    done = cli("tcia", "download", path, *options)
    assert done.code == 3, done.err
    assert "2 series that IDC lacks come from nbia (CC BY 4.0)" in done.err
    assert "2 come from IDC (" in done.err
    assert "Neither IDC nor nbia has 1 of the 5 series" in done.err
    assert "TCIA may have it" not in done.err
    assert "1.2.3.4" in done.err
    assert all(same(to, nbia, uid) for uid in nbia.series)
    assert len(list(to.rglob("*.dcm"))) == 2 * 81 + 2 * COUNT
    assert "From The Cancer Imaging Archive" in (to / ".dataset-dl" / "LICENSES.md").read_text()
    verified = dd.verify(to)
    assert (verified.deviations, verified.series_count) == ((), 4)
    # One plan, one journal: a second run asks for no zip, and accepts what neither has.
    before = len([each for each in nbia.requests if each.startswith("getImage")])
    done = cli("idc", "download", path, *options, "--rest-from-nbia", "--skip-missing")
    assert done.code == 0, done.err
    assert len([each for each in nbia.requests if each.startswith("getImage")]) == before == 2
    assert cli("idc", "download", path, *options).code == 3


def test_a_table_of_series_works_and_a_plan_pins_it(cli: Cli, nbia: LocalNbia, tmp_path: Path) -> None:
    table = tmp_path / "series.csv"
    rows = [f"{each.facts['StudyInstanceUID']},{uid}" for uid, each in nbia.series.items()]
    table.write_text("\n".join(["study_instance_uid,series_instance_uid", *rows]))
    plan = tmp_path / "plan.parquet"
    done = cli("idc", "manifest", table, "-o", plan, "--rest-from-nbia")
    assert done.code == 0, done.err
    done = cli("idc", "download", plan, "--to", tmp_path / "data")
    assert done.code == 0, done.err
    assert all(same(tmp_path / "data", nbia, uid) for uid in nbia.series)


@pytest.mark.parametrize(
    "fault", ["short", "short once", "no md5", "wrong md5", "cut once", "503 once", "429 once", "500 once"]
)
def test_what_a_zip_lacks_is_mended(cli: Cli, nbia: LocalNbia, tmp_path: Path, fault: str) -> None:
    uid, other = nbia.series
    nbia.faults[uid] = fault
    done = cli("tcia", "download", uid, other, "--to", tmp_path / "data")
    assert done.code == 0, done.err
    assert same(tmp_path / "data", nbia, uid) and same(tmp_path / "data", nbia, other)
    assert strays(tmp_path / "data") == []
    mended = [each for each in nbia.requests if each.startswith("getSingleImage")]
    assert len(mended) == {"short": COUNT // 2, "short once": COUNT // 2, "wrong md5": 1}.get(fault, 0)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("html", "a page came in place"),
        ("cut", "the connection broke off"),
        ("evil", "../../evil.dcm"),
        ("twice", "1-001.dcm"),
        ("bomb", "far more bytes"),
        ("404", "does not have it"),
        ("403", "refuses it"),
    ],
)
def test_what_is_no_whole_series_is_never_one(
    cli: Cli, nbia: LocalNbia, tmp_path: Path, fault: str, words: str
) -> None:
    uid, other = nbia.series
    nbia.faults[uid] = fault
    done = cli("tcia", "download", uid, other, "--to", tmp_path / "data", "--retries", "0")
    assert done.code == 3, done.err
    assert words in done.out + done.err
    assert not [path for path in (tmp_path / "data").rglob("*.dcm") if uid in str(path)]
    assert same(tmp_path / "data", nbia, other)
    assert not (tmp_path.parent / "evil.dcm").exists()
    nbia.faults.clear()
    done = cli("tcia", "download", uid, other, "--to", tmp_path / "data")
    assert done.code == 0, done.err
    assert same(tmp_path / "data", nbia, uid)
    assert strays(tmp_path / "data") == []


def test_killed_anywhere_it_goes_on(nbia: LocalNbia, tmp_path: Path) -> None:
    large = {nbia.add(data) for data in made(20, pixels=512).values()}.pop()
    to = tmp_path / "data"
    words = [PROGRAM, "tcia", "download", large, *nbia.series, "--to", to, "--max-rate", "3"]
    for wait in (1.5, 2.5, 3.5):
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        below = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not [each for each in below if each.is_running() and each.status() != "zombie"]
        for path in to.rglob("*.dcm"):
            dcmread(path)
    done = subprocess.run(words[:-2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(same(to, nbia, uid) for uid in nbia.series)
    assert strays(to) == []


def test_listings(cli: Cli, nbia: LocalNbia) -> None:
    assert cli("tcia", "collections", "--format", "json").json == [{"Collection": "LOCAL"}]
    listed = cli("tcia", "series", "--collection", "LOCAL", "--format", "json").json
    assert {each["SeriesInstanceUID"] for each in listed} == set(nbia.series)
    assert {each["ImageCount"] for each in listed} == {COUNT}
    assert cli("tcia", "series").code == 2
    nbia.faults["getSeries"] = "html"
    failed = cli("tcia", "series", "--collection", "LOCAL")
    assert (failed.code, "A sign-in page of your network may have answered" in failed.err) == (4, True)


def test_pairs_of_pet_and_ct(cli: Cli, nbia: LocalNbia, tmp_path: Path) -> None:
    listed = cli("tcia", "pairs", "RIDER Lung PET-CT", "--format", "csv")
    assert listed.code == 0, listed.err
    rows = [line.split(",") for line in listed.out.splitlines()[1:]]
    by_study: dict[str, set[str]] = {}
    for _, _, study, _, modality in rows:
        by_study.setdefault(study, set()).add(modality)
    assert rows and all(each == {"PT", "CT"} for each in by_study.values())
    first, second = nbia.series.values()
    second.facts |= {"StudyInstanceUID": first.facts["StudyInstanceUID"], "Modality": "PT"}
    table = tmp_path / "pairs.csv"
    table.write_text(cli("tcia", "pairs", "local", "--format", "csv").out)
    assert len(table.read_text().splitlines()) == 3
    done = cli("tcia", "download", table, "--to", tmp_path / "data")
    assert done.code == 0, done.err
    assert cli("tcia", "pairs", "no such thing").code == 2


@pytest.mark.parametrize("layout", [".", "%PatientID"])
def test_series_may_share_a_directory(cli: Cli, nbia: LocalNbia, tmp_path: Path, layout: str) -> None:
    for _ in range(4):
        for data in made(8).values():
            nbia.add(data)
    done = cli("tcia", "download", *nbia.series, "--to", tmp_path / "data", "--layout", layout)
    assert done.code == 0, done.err
    found = {path.stem: path.read_bytes() for path in (tmp_path / "data").rglob("*.dcm")}
    assert found == {uid: data for each in nbia.series.values() for uid, data in each.files.items()}


def test_the_server_of_the_manifest_is_asked_first(
    nbia: LocalNbia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = Nbia.metadata

    def metadata(self: Nbia, uids: Sequence[str]) -> dict[str, Mapping[str, object]]:
        asked.append(self.host)
        return original(self, uids)

    monkeypatch.setattr(Nbia, "metadata", metadata)
    path = tmp_path / "nlst.tcia"
    uid = next(iter(nbia.series))
    for server, first in (
        ("https://nlst.cancerimagingarchive.net/nbia-download/x", "nlst.cancerimagingarchive.net"),
        ("https://evil.test/x", "services.cancerimagingarchive.net"),
        ("http://[", "services.cancerimagingarchive.net"),
    ):
        asked.clear()
        path.write_text(f"downloadServerUrl={server}\r\nListOfSeriesToDownload=\r\n{uid}\r\n")
        with pytest.warns(dd.SelectionWarning):
            (row,) = dd.plan(path, rest_from="nbia")
        assert asked == [first] and row.address == f"nbia://{first}/{uid}"


def test_the_manifest_says_how_often_to_retry(nbia: LocalNbia, manifest: Callable[..., Path]) -> None:
    with pytest.warns(dd.SelectionWarning, match="2 series that IDC lacks come from nbia"):
        made = dd.plan(manifest(*nbia.series), rest_from="nbia")
    assert made.origin.retries == 4
    assert settings_of({}, retries=made.origin.retries).retries == 4
    assert settings_of({"retries": 1}, retries=made.origin.retries).retries == 1


def test_nbia_is_named_by_address(cli: Cli, nbia: LocalNbia, tmp_path: Path) -> None:
    uid = next(iter(nbia.series))
    done = cli(
        "idc", "download", f"nbia://services.cancerimagingarchive.net/{uid}", "--to", tmp_path / "data"
    )
    assert done.code == 0, done.err
    assert same(tmp_path / "data", nbia, uid)
    for wrong, words in (
        ("nbia://evil.test/1.2.3", "is not a server of TCIA"),
        ("nbia://services.cancerimagingarchive.net/../x", "is not the address of a series"),
        ("nbia://services.cancerimagingarchive.net/1.2.3", "NBIA does not have"),
    ):
        done = cli("idc", "download", wrong, "--to", tmp_path / "data")
        assert (done.code, words in done.err) == (2, True), done.err


@given(st.text(max_size=80))
def test_an_address_is_one_or_is_refused(text: str) -> None:
    try:
        found = NbiaAddress.of(f"nbia://{text}")
    except (dd.SelectionError, ValueError):
        return
    assert NbiaAddress.of(str(found)) == found


@pytest.mark.parametrize(
    ("name", "uri", "short"),
    [
        ("Creative Commons Attribution 4.0 International License", "", "CC BY 4.0"),
        ("Creative Commons Attribution 3.0 Unported License", "", "CC BY 3.0"),
        ("Creative Commons Attribution-NonCommercial 4.0 International License", "", "CC BY-NC 4.0"),
        ("whatever", "https://creativecommons.org/licenses/by-nc/3.0/", "CC BY-NC 3.0"),
        ("Creative Commons Attribution-NoDerivs 4.0", "", "Creative Commons Attribution-NoDerivs 4.0"),
        ("TCIA Restricted", "https://www.cancerimagingarchive.net/x", "TCIA Restricted"),
        (None, None, None),
    ],
)
def test_licences_have_the_names_of_idc(name: str | None, uri: str | None, short: str | None) -> None:
    assert _licence({"LicenseName": name, "LicenseURI": uri}) == short
