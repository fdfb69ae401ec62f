"""The stand-in for NBIA behaves as the public source of its interface.

Each test names the class of CBIIT/NBIA-TCIA (package gov.nih.nci.nbia.restAPI.v4, or what it calls) that it
follows. TCIA's server was not asked.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile

import pytest
import requests

from dataset_dl.testing.nbia import LocalNbia

MD5 = {"NewFileNames": "Yes", "IncludeMD5": "Yes"}


def ask(nbia: LocalNbia, method: str, **given: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.get(f"{nbia.url}/nbia-api/services/v4/{method}", params=given, timeout=30)


def test_a_series_is_a_zip_that_is_made_meanwhile(nbia: LocalNbia) -> None:
    """V4_getImage, ImageDAO: no length, no ranges; LICENSE first, md5hashes.csv last."""
    uid = next(iter(nbia.series))
    answer = ask(nbia, "getImage", SeriesInstanceUID=uid, **MD5)
    assert answer.status_code == 200
    assert "Content-Length" not in answer.headers and "Accept-Ranges" not in answer.headers
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert (names[0], names[-1]) == ("LICENSE", "md5hashes.csv")
        header, *rows = csv.reader(io.StringIO(archive.read("md5hashes.csv").decode()))
        assert header == ["Filename", "MD5Hash"]
        assert [name for name, _ in rows] == names[1:-1]
        for name, md5 in rows:
            assert hashlib.md5(archive.read(name)).hexdigest() == md5


def test_sums_come_only_if_they_are_asked_for(nbia: LocalNbia) -> None:
    """V4_getImage: IncludeMD5 is “No” by default."""
    uid = next(iter(nbia.series))
    answer = ask(nbia, "getImage", SeriesInstanceUID=uid)
    assert "md5hashes.csv" not in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()


def test_an_error_inside_is_swallowed(nbia: LocalNbia) -> None:
    """V4_getImage: the exception is printed and the zip closed, so 200 and a valid zip that is short."""
    uid = next(iter(nbia.series))
    nbia.faults[uid] = "short"
    answer = ask(nbia, "getImage", SeriesInstanceUID=uid, **MD5)
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert "md5hashes.csv" not in archive.namelist()
        assert len(archive.namelist()) - 1 < len(nbia.series[uid].files)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("getImage", {}),
        ("getImage", {"SeriesInstanceUID": "1.2.3"}),
        ("getImage", {"seriesInstanceUID": "1.2.3"}),
        ("getSeries", {"Colour": "red"}),
        ("getSOPInstanceUIDs", {"Colour": "red"}),
    ],
)
def test_what_is_wrong_or_not_allowed_is_400(nbia: LocalNbia, method: str, given: dict[str, str]) -> None:
    """V4 classes check the names of parameters; a series that does not exist is one without access."""
    assert ask(nbia, method, **given).status_code == 400


def test_nothing_found_is_an_empty_answer(nbia: LocalNbia) -> None:
    """getData.formatResponse: 200 and an empty body, not an empty list."""
    answer = ask(nbia, "getSeries", Collection="NONE", format="json")
    assert (answer.status_code, answer.content) == (200, b"")
    assert ask(nbia, "getSOPInstanceUIDs", SeriesInstanceUID="1.2.3", format="json").content == b""


def test_facts_of_many_series_in_one_request(nbia: LocalNbia) -> None:
    """V4_getSeriesMetadata: a form with “list” for each series; those that are unknown are left out."""
    uids = [*nbia.series, "1.2.3"]
    url = f"{nbia.url}/nbia-api/services/v4/getSeriesMetadata"
    body = [("format", "json"), *(("list", uid) for uid in uids)]
    session = requests.Session()
    session.trust_env = False
    rows = session.post(url, data=body, timeout=30).json()
    assert {row["SeriesInstanceUID"] for row in rows} == set(nbia.series)
    for row in rows:
        files = nbia.series[row["SeriesInstanceUID"]].files
        assert (row["ImageCount"], row["FileSize"]) == (len(files), sum(map(len, files.values())))
        assert row["LicenseName"] and row["Collection"] == "LOCAL"


def test_single_instances(nbia: LocalNbia) -> None:
    """V4_getSingleImage sends the file as it is; one that is not there ends in 500 (a length of nothing)."""
    uid, series = next(iter(nbia.series.items()))
    instance, data = next(iter(series.files.items()))
    answer = ask(nbia, "getSingleImage", SeriesInstanceUID=uid, SOPInstanceUID=instance)
    assert answer.content == data
    assert ask(nbia, "getSingleImage", SeriesInstanceUID=uid, SOPInstanceUID="1.2").status_code == 500
    listed = ask(nbia, "getSOPInstanceUIDs", SeriesInstanceUID=uid, format="json").json()
    assert [row["SOPInstanceUID"] for row in listed] == list(series.files)


def test_collections_and_series_are_listed(nbia: LocalNbia) -> None:
    """V4_getCollectionValues, V4_getSeries."""
    assert ask(nbia, "getCollectionValues", format="json").json() == [{"Collection": "LOCAL"}]
    for given in ({"Collection": "LOCAL"}, {"PatientID": "P-1"}, {"Modality": "CT"}):
        listed = ask(nbia, "getSeries", format="json", **given).json()
        assert {row["SeriesInstanceUID"] for row in listed} == set(nbia.series)
