"""The stand-in for XNAT: it behaves as the sources that are named, and public clients work with it.

Each behaviour names where it was read: a class of NrgXnat/xnat (2024-06), or a test of NrgXnat/xnat-rest-tests
(2026-08). No live server was asked.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests

from dataset_dl.testing.xnat import LocalXnat
from support.dicoms import encoded, slice_of


def instance(study: str, series: str, number: int, **more: object) -> bytes:
    return encoded(
        slice_of(
            (0, 0, float(number)), values=np.full((8, 8), number, np.int16), SOPInstanceUID=f"{series}.{number}",
            SeriesInstanceUID=series, StudyInstanceUID=study, PatientID="P-1", Modality="CT", SeriesNumber=1, **more,
        )
    )  # fmt: skip


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class Client:
    """A session with the stand-in."""

    def __init__(self, xnat: LocalXnat) -> None:
        self.url = xnat.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (xnat.user, xnat.password)

    def ask(self, how: str, path: str, **given: object) -> requests.Response:
        return self.session.request(how, f"{self.url}{path}", allow_redirects=False, **given)  # type: ignore[arg-type]

    def send(self, files: dict[str, bytes], **more: str) -> requests.Response:
        given = {
            "import-handler": "DICOM-zip", "inbody": "true", "dest": "/prearchive/projects/WARD",
            "Ignore-Unparsable": "true", "project": "WARD", "subject": "S", "session": "E", **more,
        }  # fmt: skip
        given = {name: value for name, value in given.items() if value}
        kind = {"Content-Type": "application/zip"}
        return self.ask("POST", "/data/services/import", params=given, data=zipped(files), headers=kind)

    def rows(self, path: str) -> list[dict[str, str]]:
        return self.ask("GET", path, params={"format": "json"}).json()["ResultSet"]["Result"]  # type: ignore[no-any-return]


@pytest.fixture
def client(xnat: LocalXnat) -> Client:
    return Client(xnat)


FILES = {f"1.2.3.{n}.dcm": instance("1.2", "1.2.3", n) for n in range(3)}


def test_an_import_answers_with_the_session(client: Client) -> None:
    """Importer.represent, DicomZipImporter: a URI a line, ended by CRLF, without /data for DICOM-zip."""
    answer = client.send(FILES)
    assert answer.status_code == 200
    assert answer.text.startswith("/prearchive/projects/WARD/") and answer.text.endswith("/E\r\n")
    other = client.send(FILES, **{"import-handler": "SI"})
    assert other.text.startswith("/data/prearchive/projects/WARD/")


def test_several_imports_of_a_study_are_one_session(client: Client) -> None:
    """PrearcDatabase.eitherGetOrCreateSession: project, study and label; names are kept and overwrite."""
    first = client.send(FILES).text
    more = {"9.dcm": instance("1.2", "1.2.9", 1)}
    assert client.send(more).text == first == client.send(FILES).text
    uri = f"/data{first.strip()}"
    scans = client.rows(f"{uri}/scans")
    assert [each["ID"] for each in scans] == ["1", "1-MR1"]
    names = [each["Name"] for each in client.rows(f"{uri}/scans/1/resources/DICOM/files")]
    assert names == list(FILES)
    assert client.send({"x.dcm": instance("1.7", "1.7.1", 1)}).text != first


def test_another_study_aimed_at_a_session_is_refused(client: Client) -> None:
    """TestPrearchiveMgmt.testPrearcMergeDiffUidDicomZip: 400."""
    uri = client.send(FILES).text.strip()
    assert client.send({"x.dcm": instance("1.7", "1.7.1", 1)}, dest=uri).status_code == 400


def test_what_is_no_dicom(client: Client) -> None:
    """TestImport.runUnparsableTest: 400, but with Ignore-Unparsable the rest is stored."""
    files = {"LICENSE": b"CC BY", **FILES}
    refused = client.send(files, **{"Ignore-Unparsable": ""})
    assert (refused.status_code, "unable to read DICOM object" in refused.text) == (400, True)
    assert client.send(files).status_code == 200
    assert client.send({"LICENSE": b"CC BY"}).status_code == 400


def test_zips_that_java_cannot_read_from_the_front(client: Client) -> None:
    """java.util.zip.ZipInputStream: stored entries must have their size before them."""

    class Pipe(io.RawIOBase):
        data = b""

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

        def writable(self) -> bool:
            return True

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for name, data in FILES.items():
            archive.writestr(name, data)
    kind = {"Content-Type": "application/zip"}
    given = {"import-handler": "DICOM-zip", "inbody": "true", "dest": "/prearchive/projects/WARD"}
    answer = client.ask("POST", "/data/services/import", params=given, data=pipe.data, headers=kind)
    assert (answer.status_code, "EXT descriptor" in answer.text) == (400, True)


def test_an_unknown_project_is_unassigned(client: Client) -> None:
    """GradualDicomImporter.getProject logs it only, and goes by the header."""
    answer = client.send(FILES, dest="/prearchive/projects/NONE", project="NONE")
    assert (answer.status_code, "/projects/Unassigned/" in answer.text) == (200, True)


def test_a_commit_archives_or_not(client: Client, xnat: LocalXnat) -> None:
    """PrearcSessionResource.postActionCommit: 200 stays, 301 is archived with the address in the body."""
    uri = f"/data{client.send(FILES).text.strip()}"
    stays = client.ask("POST", uri, params={"action": "commit"})
    assert (stays.status_code, stays.text.strip()) == (200, uri)
    gone = client.ask("POST", uri, params={"action": "commit", "AA": "true"})
    assert (gone.status_code, gone.text.strip()) == (
        301,
        "/data/archive/projects/WARD/subjects/S/experiments/E",
    )
    assert client.rows(uri) == [] and client.ask("GET", f"{uri}/scans").status_code == 404
    assert client.ask("POST", uri, params={"action": "commit", "AA": "true"}).status_code == 404
    catalog = client.ask("GET", f"{gone.text.strip()}/scans/1/resources/DICOM", params={"format": "xml"}).text
    assert all(f'UID="1.2.3.{n}"' in catalog for n in range(3))


@pytest.mark.parametrize(("more", "status"), [({}, 500), ({"overwrite_files": "true"}, 301)])
def test_the_same_files_again(client: Client, more: dict[str, str], status: int) -> None:
    """MergeSessionsA.HAS_FILES, which the queue turns into 500; other files of a session are merged."""
    for files in (FILES, {"8.dcm": instance("1.2", "1.2.8", 1)}):
        uri = f"/data{client.send(files).text.strip()}"
        assert client.ask("POST", uri, params={"action": "commit", "AA": "true"}).status_code == 301
    uri = f"/data{client.send(FILES).text.strip()}"
    again = client.ask("POST", uri, params={"action": "commit", "AA": "true", **more})
    assert again.status_code == status
    assert status == 301 or "matching files" in again.text


def test_archive_service(client: Client) -> None:
    """Archiver: one src is synchronous; an existing session needs overwrite, append and delete are alike."""
    uri = client.send(FILES).text.strip()
    assert client.ask("POST", "/data/services/archive", params={"src": uri}).status_code == 200
    uri = client.send(FILES).text.strip()
    refused = client.ask("POST", "/data/services/archive", data={"src": uri})
    assert (refused.status_code, "retry with overwrite" in refused.text) == (500, True)
    assert (
        client.ask("POST", "/data/services/archive", data={"src": uri, "overwrite": "delete"}).status_code
        == 200
    )


def test_labels_are_cleaned_and_subjects_compared_without_case(client: Client, xnat: LocalXnat) -> None:
    """BaseXnatExperimentdata.cleanValue; PrearcSessionArchiver.retrieveMatchingSubject (XNAT-2865)."""
    for subject, session, study in (("A.1", "x", "1.2"), ("a_1", "y", "1.3")):
        uri = f"/data{client.send({'1.dcm': instance(study, study + '.1', 1)}, subject=subject, session=session).text.strip()}"
        assert client.ask("POST", uri, params={"action": "commit", "AA": "true"}).status_code == 301
    assert {each.subject for each in xnat.store.archive} == {"A_1"}


def test_without_a_word_the_header_decides(client: Client, xnat: LocalXnat) -> None:
    """XnatDefaultDicomObjectIdentifier: the session is the PatientID, the subject the PatientName."""
    client.send({"1.dcm": instance("1.2", "1.2.1", 1, PatientName="Doe^J.")}, subject="", session="")
    (session,) = xnat.store.prearchive
    assert (session.label, session.subject) == ("P-1", "Doe_J_")


def test_projects_and_their_files(client: Client) -> None:
    """ProjectResource.handlePut; FileList.handlePut: an existing file stays, and the answer is 200."""
    assert client.ask("GET", "/data/projects/NONE").status_code == 404
    assert [client.ask("PUT", f"/data/projects/{name}").status_code for name in ("N-1", "a.b", "ward")] == [
        200,
        417,
        409,
    ]
    path = "/data/projects/WARD/resources/TCIA/files/m.tcia"
    assert client.ask("PUT", path, data=b"one").text == ""
    assert client.ask("PUT", path, data=b"two").json() == {"duplicates": ["m.tcia"]}
    assert client.ask("GET", path).content == b"one"
    client.ask("PUT", path, data=b"two", params={"overwrite": "true"})
    assert client.ask("GET", path).content == b"two"


def test_the_prearchive_is_listed(client: Client) -> None:
    """PrearcSessionListResource, DatabaseSession; a query by tag is for administrators: 403."""
    client.send(FILES)
    (row,) = client.rows("/data/prearchive/projects/WARD")
    assert (row["tag"], row["status"], row["folderName"], row["subject"]) == ("1.2", "READY", "E", "S")
    assert row["url"].startswith("/prearchive/projects/WARD/")
    assert client.ask("GET", "/data/prearchive", params={"tag": "1.2"}).status_code == 403


def test_logins(xnat: LocalXnat, client: Client) -> None:
    """XnatBasicAuthenticationFilter, UserSession, SecurityConfig: cookies, 401, and an end of sessions."""
    anonymous = requests.get(f"{xnat.url}/data/projects", timeout=10)
    assert anonymous.status_code == 401
    assert client.ask("GET", "/data/JSESSION").status_code == 200
    client.session.auth = None
    assert client.ask("GET", "/data/projects").status_code == 200
    client.ask("DELETE", "/data/JSESSION")
    assert client.ask("GET", "/data/projects").status_code == 401


XNATPY = """
import sys, xnat
url, password, path = sys.argv[1:]
with xnat.connect(url, user="ward", password=password, loglevel="ERROR") as session:
    made = session.services.import_(path, project="WARD", subject="S-1", experiment="E-1", destination="/prearchive")
    print(made.status, made.label, [each.uri for each in session.prearchive.sessions(project="WARD")] == [made.uri])
    made.archive(project="WARD", subject="S-1", experiment="E-1")
    session.clearcache()
    kept = session.projects["WARD"].subjects["S-1"].experiments["E-1"]
    print(kept.label, [each.id for each in kept.scans.values()])
"""


def test_the_client_xnat_works_with_it(xnat: LocalXnat, tmp_path: Path) -> None:
    path = tmp_path / "series.zip"
    path.write_bytes(zipped(FILES))
    words = [sys.executable, "-W", "ignore", "-c", XNATPY, xnat.url, xnat.password, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=clean(tmp_path))
    assert done.stdout.split("\n")[:2] == ["READY E-1 True", "E-1 ['1']"], done.stderr
    sums = {each.md5 for session in xnat.store.archive for each in session.instances()}
    assert sums == {hashlib.md5(data).hexdigest() for data in FILES.values()}


def test_the_client_xnatctl_works_with_it(xnat: LocalXnat, tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    for name, data in FILES.items():
        (tmp_path / "series" / name).write_bytes(data)
    environment = {
        **clean(tmp_path), "XNAT_URL": xnat.url, "XNAT_USER": xnat.user, "XNAT_PASS": xnat.password,
        "XNAT_NO_UPDATE_CHECK": "1", "XNAT_VERIFY_SSL": "false",
    }  # fmt: skip
    program = Path(sys.executable).with_name("xnatctl")
    for words in (
        ["project", "list"],
        ["session", "upload", tmp_path / "series", "-P", "WARD", "-S", "S-1", "-E", "E-1", "--mode", "zip", "--prearchive"],
        ["prearchive", "list", "--project", "WARD"],
    ):  # fmt: skip
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {each.SOPInstanceUID for each in xnat.store.prearchive[0].instances()} == {
        f"1.2.3.{n}" for n in range(3)
    }


def clean(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"]}
