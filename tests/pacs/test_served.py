"""The server for several people: who may do what, DICOMweb for every node, jobs, and public clients."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
import trustme

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.pacs import Client
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.served import uploading
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.web.accounts import Accounts, rights_of
from dataset_dl.web.sessions import Sessions
from support.hosted import Hosted, hosted
from support.orthanc import Orthanc
from support.patients import write_series
from support.peers import scp
from support.waiting import until

STUDY, SERIES, EACH = "1.8.1", "1.8.1.1", 4
PASSWORD = "a long password"


@pytest.fixture(scope="module")
def filled(ward: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """WARD with two studies, and a report in the second."""
    place = tmp_path_factory.mktemp("few")
    paths = write_series(place / "1", "P1", STUDY, SERIES, EACH)
    paths += write_series(place / "2", "P2", "1.8.2", "1.8.2.1", 2)
    paths += write_series(place / "3", "P2", "1.8.2", "1.8.2.9", 1, Modality="SR")
    for path in paths:
        requests.post(f"{ward.url}/instances", data=path.read_bytes(), timeout=30).raise_for_status()
    return ward


@pytest.fixture(scope="module")
def place(
    filled: Orthanc, research: Orthanc, receiver_port: int, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    """A directory and the environment of a server with both archives, each by one of its services."""
    root = tmp_path_factory.mktemp("server")
    nodes = [
        {"name": "WARD", "dimse": filled.dimse},
        {"name": "WARDWEB", "dicomweb": filled.web},
        {"name": "RESEARCH", "dimse": research.dimse},
    ]
    (root / "nodes.json").write_text(json.dumps(nodes))
    (root / "data").mkdir()
    return root, {
        "DATASET_DL_NODES": str(root / "nodes.json"),
        "DATASET_DL_ACCOUNTS": str(root / "accounts.json"),
        "DATASET_DL_STATE": str(root / "state"),
        "DATASET_DL_RECEIVER_PORT": str(receiver_port),
        "DATASET_DL_RECEIVER_HOST": "127.0.0.1",
        "DATASET_DL_PSEUDONYM_KEY": "a key for the server of tests",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


@pytest.fixture(scope="module")
def accounts(place: tuple[Path, dict[str, str]]) -> Accounts:
    made = Accounts(place[0] / "accounts.json")
    made.add("head", PASSWORD, is_owner=True)
    for name in ("ada", "bob", "eve"):
        made.add(name, PASSWORD)
    made.grant(
        "ada", rights_of(("query:WARD", "retrieve:WARD", "query:WARDWEB", "retrieve:WARDWEB", "*:RESEARCH"))
    )
    made.grant("bob", rights_of(("query:WARD", "retrieve-pseudonymised:WARD", "send:RESEARCH")))
    return made


@pytest.fixture(scope="module")
def server(place: tuple[Path, dict[str, str]], accounts: Accounts) -> Iterator[Hosted]:
    with hosted(place[0] / "data", place[1]) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(accounts: Accounts) -> dict[str, str]:
    return {name: accounts.new_token(name, "tests") for name in ("head", "ada", "bob", "eve")}


@pytest.fixture
def ada(server: Hosted, tokens: dict[str, str]) -> Iterator[Client]:
    with Client(server.address, tokens["ada"]) as client:
        yield client


def operations(server: Hosted, tokens: dict[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
    document = server.session(tokens["head"]).get(f"{server.address}/api/openapi.json", timeout=30).json()
    return [
        (path, method, operation)
        for path, several in document["paths"].items()
        for method, operation in several.items()
    ]


def asked(
    server: Hosted, token: str, path: str, method: str, operation: dict[str, Any], **fill: str
) -> requests.Response:
    """Ask a route of the document, with its parameters filled in."""
    words = {
        "level": "studies",
        "action": "start",
        "job": "1",
        "task": "1",
        "study": STUDY,
        "series": SERIES,
        "image": f"{SERIES}.1",
        **fill,
    }
    address = path
    for name, value in words.items():
        address = address.replace(f"{{{name}}}", value)
    body = operation.get("requestBody", {}).get("content", {})
    options: dict[str, Any] = {
        "json": {
            "studies": [{"StudyInstanceUID": STUDY}],
            "study": STUDY,
            "series": SERIES,
            "start": True,
            "file": "a.csv",
            "data": base64.b64encode(b"StudyInstanceUID\n1.8.1\n").decode(),
            **fill,
        }
    }
    if method == "get":
        options = {"params": {"PatientID": "*"} if "qidors" not in address else {}}
    elif body and "application/json" not in body:
        options = {"data": b"nothing", "headers": {"Content-Type": f'{next(iter(body))}; boundary="x"'}}
    return server.session(token).request(method, f"{server.address}{address}", timeout=60, **options)


def test_every_route_of_the_document_refuses_who_has_no_right(
    server: Hosted, tokens: dict[str, str], research: Orthanc, place: tuple[Path, dict[str, str]]
) -> None:
    """Generated from the OpenAPI document: a new route without a check fails here."""
    store = Store(f"sqlite:///{place[0] / 'state' / 'transfers.sqlite'}")
    before, jobs = research.count, len(store.jobs())
    for path, method, operation in operations(server, tokens):
        rights = operation.get("x-rights")
        answer = asked(
            server, tokens["eve"], path, method, operation, node="WARD", source="WARD", target="RESEARCH"
        )
        if rights == []:
            # Whoever has signed in may ask; nothing of a node or a job is in the answer.
            assert "WARD" not in answer.text and "RESEARCH" not in answer.text, path
            continue
        assert answer.status_code == 404, (path, method, answer.status_code, answer.text[:200])
        without = requests.request(method, f"{server.address}{path}", json={}, timeout=30)
        assert without.status_code in (401, 415), path
        for right in rights or ():
            if not right["on"]:
                continue
            # Every right, but on other nodes.
            other = asked(
                server, tokens["bob"], path, method, operation,
                **dict.fromkeys(("node", "source", "target"), "WARDWEB"),
            )  # fmt: skip
            assert other.status_code == 404, (path, method, other.text[:200])
    assert (research.count, len(store.jobs())) == (before, jobs)
    assert [each for each in store.logged() if each.person == "eve"] == []
    store.close()


def test_the_document_says_of_each_route_who_may(server: Hosted, tokens: dict[str, str]) -> None:
    found = {path: operation.get("x-rights") for path, _, operation in operations(server, tokens)}
    assert found["/api/dicom-web/{node}/qidors/studies"] == [{"verb": "query", "on": "node"}]
    assert found["/api/transfers/log"] is None
    # Those of the page of one person are the owner's alone.
    assert found["/api/jobs"] is None and found["/api/disk"] is None


def test_who_signs_in_and_who_does_not(
    server: Hosted, accounts: Accounts, place: tuple[Path, dict[str, str]]
) -> None:
    def sign_in(name: str, password: str, **headers: str) -> requests.Response:
        return requests.post(
            f"{server.address}/api/session",
            json={"name": name, "password": password},
            headers=headers,
            timeout=30,
        )

    good = sign_in("ada", PASSWORD)
    key = good.json()["key"]
    about = requests.get(
        f"{server.address}/api/about", headers={"Authorization": f"Bearer {key}"}, timeout=30
    ).json()
    assert about["person"] == "ada" and about["roots"] == [] and "token" not in about
    assert [each["title"] for each in about["pages"] if each["is_listed"]] == [
        "Archives",
        "Batch",
        "Transfers",
        "Upload",
    ]
    requests.delete(f"{server.address}/api/session", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    after = requests.get(
        f"{server.address}/api/about", headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    assert (after.status_code, after.json()["sign_in"]) == (401, True)
    assert sign_in("nobody", PASSWORD).status_code == 401
    for _ in range(5):
        assert sign_in("eve", "wrong password").status_code == 401
    assert sign_in("eve", PASSWORD).status_code == 401
    assert sign_in("ada", PASSWORD, Host="evil.test").status_code == 421
    assert sign_in("ada", PASSWORD, Origin="https://evil.test").status_code == 403
    assert requests.post(f"{server.address}/api/session", data="x", timeout=30).status_code == 415
    assert requests.get(f"{server.address}/static/app.js", timeout=30).status_code == 200
    log = (place[0] / "state" / "accounts.log").read_text()
    assert '"refused"' in log and PASSWORD not in log
    kept = accounts.path.read_text()
    assert PASSWORD not in kept and accounts.path.stat().st_mode & 0o77 == 0


def test_a_token_never_allows_more_than_its_person(accounts: Accounts, server: Hosted) -> None:
    for more in ("*:*", "retrieve:WARD"):
        with pytest.raises(SelectionError, match="may not"):
            accounts.new_token("bob", "large", rights_of((more,)))
    token = accounts.new_token("bob", "small", rights_of(("query:WARD",)))
    with Client(server.address, token) as client:
        assert client.nodes() == [{"name": "WARD", "kinds": ["dimse"], "hours": "", "may": ["query"]}]
        with pytest.raises(SelectionError, match=r"no right"):
            client.retrieve_study("WARD", STUDY)
    accounts.remove_token("bob", "small")
    with Client(server.address, token) as client, pytest.raises(SelectionError, match="Sign in"):
        client.nodes()
    ended = accounts.new_token("bob", "old", days=-1)
    assert accounts.person(ended) is None


@pytest.mark.parametrize("node", ["WARD", "WARDWEB"])
def test_our_client(ada: Client, node: str) -> None:
    assert [each["name"] for each in ada.nodes()] == ["RESEARCH", "WARD", "WARDWEB"]
    rows = ada.query_studies(node, PatientID="P1")
    assert [row["StudyInstanceUID"] for row in rows] == [STUDY]
    assert [row["PatientID"] for row in ada.query_patients(node, PatientID="P*")] == ["P1", "P2"]
    assert ada.query_series(node, StudyInstanceUID=STUDY)[0]["SeriesInstanceUID"] == SERIES
    studies = ada.search_for_studies(node, {"PatientID": "P1"})
    assert [each.StudyInstanceUID for each in studies] == [STUDY]
    assert len(ada.search_for_studies(node, {"limit": "1"})) == 1
    assert [each.SeriesInstanceUID for each in ada.search_for_series(node, STUDY)] == [SERIES]
    images = ada.search_for_images(node, STUDY, SERIES)
    assert len(images) == EACH
    whole = ada.retrieve_study(node, STUDY)
    assert {each.SOPInstanceUID for each in whole} == {each.SOPInstanceUID for each in images}
    one = ada.retrieve_image(node, STUDY, SERIES, f"{SERIES}.2")
    assert (one.SOPInstanceUID, one.PatientName) == (f"{SERIES}.2", "DOE^P1")
    told = ada.retrieve_series_metadata(node, STUDY, SERIES)
    assert len(told) == EACH and told[0]["00100020"]["Value"] == ["P1"] and "7FE00010" not in told[0]
    with pytest.raises(SelectionError, match="has nothing"):
        ada.retrieve_study(node, "1.8.99")


def test_pseudonyms_on_the_way_out(ada: Client, server: Hosted, tokens: dict[str, str]) -> None:
    several = ada.retrieve_series("WARD", STUDY, SERIES, pseudonym="CASE-1")
    assert {each.PatientID for each in several} == {"CASE-1"} and len(several) == EACH
    assert all("DOE" not in str(each) for each in several)
    # Who may not see originals gets pseudonyms, whether asked for or not; a report is held back.
    with Client(server.address, tokens["bob"]) as bob:
        plain = bob.retrieve_study("WARD", "1.8.2")
        assert len(plain) == 2 and all("DOE" not in str(each) and each.PatientID != "P2" for each in plain)
        assert "DOE" not in json.dumps(bob.retrieve_study_metadata("WARD", "1.8.2"))
    answer = server.session(tokens["bob"]).get(
        f"{server.address}/api/dicom-web/WARD/wadors/studies/1.8.2", timeout=60
    )
    assert "1 file held back for review" in answer.headers["Warning"]


def test_store_says_what_became_of_each(
    ada: Client, research: Orthanc, tmp_path: Path, server: Hosted, tokens: dict[str, str]
) -> None:
    paths = write_series(tmp_path / "new", "P7", "1.8.7", "1.8.7.1", 3)
    result = ada.store_images("RESEARCH", [pydicom.dcmread(path) for path in paths])
    assert len(result.ReferencedSOPSequence) == 3 and "FailedSOPSequence" not in result
    assert {f"1.8.7.1.{number}" for number in (1, 2, 3)} <= research.instances
    damaged = paths[0].read_bytes()[:-5]
    body = bodied(damaged, paths[1].read_bytes())
    answer = posted(server, tokens["ada"], "RESEARCH/stowrs/studies", body)
    assert answer.status_code == 202 and len(answer.json()["00081198"]["Value"]) == 1
    other = posted(server, tokens["ada"], "RESEARCH/stowrs/studies/1.8.8", body)
    assert other.status_code == 409


def bodied(*several: bytes) -> bytes:
    head = b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + each for each in several) + b"\r\n--B--\r\n"


def posted(server: Hosted, token: str, path: str, body: bytes) -> requests.Response:
    kind = 'multipart/related; type="application/dicom"; boundary=B'
    return server.session(token).post(
        f"{server.address}/api/dicom-web/{path}", data=body, timeout=60, headers={"Content-Type": kind}
    )


def test_store_names_every_part_that_is_not_stored(
    place: tuple[Path, dict[str, str]], server: Hosted, tokens: dict[str, str], tmp_path: Path
) -> None:
    (first,) = write_series(tmp_path / "1", "P7", "1.8.6", "1.8.6.1", 1)
    (other,) = write_series(tmp_path / "2", "P7", "1.8.6", "1.8.6.1", 1, PatientName="SOMEBODY^ELSE")
    one, two = first.read_bytes(), other.read_bytes()
    nodes = place[0] / "nodes.json"
    before = nodes.read_text()
    with scp(lambda number, _: 0xB007) as archive:
        nodes.write_text(json.dumps([*json.loads(before), {"name": "WARNS", "dimse": archive.address}]))
        try:
            body = bodied(one, two, one, one[:-5], two[:-5])
            answer = posted(server, tokens["head"], "WARNS/stowrs/studies", body)
        finally:
            nodes.write_text(before)
        assert len(archive.stored) == 1 and archive.counts.total() == 1
    assert answer.status_code == 202
    (stored,) = answer.json()["00081199"]["Value"]
    assert stored["00081155"]["Value"] == ["1.8.6.1.1"] and stored["00081196"]["Value"] == [0xB007]
    failed = answer.json()["00081198"]["Value"]
    assert [each["00081155"].get("Value") for each in failed] == [["1.8.6.1.1"], None, None]


def test_jobs_of_two_people(ada: Client, server: Hosted, tokens: dict[str, str], research: Orthanc) -> None:
    job = ada.create_transfer_job(
        "WARD", "RESEARCH", [{"StudyInstanceUID": STUDY, "PatientID": "P1"}], name="one"
    )
    until(lambda: ada.transfer_job(job["id"])["state"] == "SUCCESS")
    assert {f"{SERIES}.{number}" for number in range(1, EACH + 1)} <= research.instances
    (task,) = ada.transfer_tasks(job["id"])
    assert (task["done"], task["state"]) == (EACH, "SUCCESS")
    with Client(server.address, tokens["bob"]) as bob:
        assert bob.transfer_jobs() == []
        with pytest.raises(SelectionError, match="no transfer job"):
            bob.transfer_job(job["id"])
        with pytest.raises(SelectionError, match="nothing to transfer like that"):
            bob.create_transfer_job("WARD", "RESEARCH", [{"StudyInstanceUID": STUDY}])
        mine = bob.create_transfer_job("WARD", "RESEARCH", [{"StudyInstanceUID": STUDY}], pseudonymise=True)
        until(lambda: bob.transfer_job(mine["id"])["state"] == "SUCCESS")
        assert mine["owner"] == "bob"
    with Client(server.address, tokens["head"]) as head:
        assert {each["owner"] for each in head.transfer_jobs()} == {"ada", "bob"}
        assert head.act(job["id"], "delete") == {"id": job["id"], "is_deleted": True}
    log = server.session(tokens["head"]).get(f"{server.address}/api/transfers/log", timeout=30).json()
    said = [(each["person"], each["verb"]) for each in log]
    assert ("head", "delete") in said and ("bob", "create") in said and ("ada", "start") in said


def test_options_need_the_right_to_the_originals_whenever_a_job_begins(
    server: Hosted, accounts: Accounts
) -> None:
    more = {"options": "retain-uids", "dates": "keep", "allowed": "burned-in,documents,SR"}
    body = {
        "source": "WARD", "target": "RESEARCH", "studies": [{"StudyInstanceUID": STUDY}], "pseudonymise": True
    }  # fmt: skip
    rights = rights_of(("retrieve-pseudonymised:WARD", "send:RESEARCH"))
    accounts.add("dora", PASSWORD)
    accounts.grant("dora", [*rights_of(("retrieve:WARD",)), *rights])
    narrow, full = accounts.new_token("dora", "narrow", rights), accounts.new_token("dora", "full")

    def post(token: str, path: str, given: dict[str, Any]) -> requests.Response:
        return server.session(token).post(f"{server.address}/api/{path}", json=given, timeout=30)

    def state(job: int) -> str:
        with Client(server.address, full) as client:
            return str(client.transfer_job(job)["state"])

    wide = post(full, "transfers", {**body, "pseudonym_options": more}).json()["id"]
    assert post(narrow, f"transfers/{wide}/start", {}).status_code == 404
    assert post(full, f"transfers/{wide}/start", {}).status_code == 200
    until(lambda: state(wide) == "SUCCESS")
    for action in ("retry", "restart"):
        assert post(narrow, f"transfers/{wide}/{action}", {}).status_code == 404
    assert post(narrow, f"transfers/{wide}/delete", {}).status_code == 200
    plain = post(full, "transfers", {**body, "trial_protocol_id": "T1"}).json()["id"]
    assert post(narrow, f"transfers/{plain}/start", {}).status_code == 200
    until(lambda: state(plain) == "SUCCESS")
    accounts.remove("dora")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (("P2", "1.8.2", "A"), "entry 2: entry 1 has the same Pseudonym for another PatientID"),
        (("P1", "1.8.2", "B"), "entry 2: entry 1 has the same PatientID with another Pseudonym"),
        (("", "1.8.2", "A"), "entry 2: entry 1 has the same Pseudonym for another study"),
        (("P1", STUDY, "A"), "entry 2: entry 1 has the same study"),
    ],
)
def test_studies_that_contradict_make_no_job(ada: Client, second: tuple[str, str, str], reason: str) -> None:
    before = len(ada.transfer_jobs())
    studies = [
        {"PatientID": patient, "StudyInstanceUID": study, "pseudonym": pseudonym}
        for patient, study, pseudonym in (("P1", STUDY, "A"), second)
    ]
    with pytest.raises(SelectionError, match=reason):
        ada.create_transfer_job("WARD", "RESEARCH", studies, pseudonymise=True)
    assert len(ada.transfer_jobs()) == before


def test_a_spreadsheet_is_looked_at_before_anything_is_made(ada: Client, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "PatientID,StudyInstanceUID,SeriesInstanceUID,Pseudonym\nP1,1.8.1,,A\nP1,x,,A\nP2,1.8.2,,\n"
    )
    before = len(ada.transfer_jobs())
    told = ada.create_batch_job("WARD", "RESEARCH", path)
    assert (
        told["job"] is None and [each["row"] for each in told["wrong"]] == [3] and told["needs_pseudonymise"]
    )
    assert len(ada.transfer_jobs()) == before
    path.write_text("StudyInstanceUID\n1.8.1\n1.8.2\n")
    assert ada.create_batch_job("WARD", "RESEARCH", path)["job"]["state"] == "PAUSED"


_ADIT_SUITE = """
import io, json, sys
from adit_client import AditClient
from pydicom import dcmread
url, token, file = sys.argv[1:]
client = AditClient(server_url=url, auth_token=token)
found = {}
for node in ("WARD", "WARDWEB"):
    studies = client.search_for_studies(node, {"PatientID": "P1"})
    series = client.search_for_series(node, "1.8.1")
    images = client.search_for_images(node, "1.8.1", "1.8.1.1")
    one = client.retrieve_image(node, "1.8.1", "1.8.1.1", "1.8.1.1.2")
    found[node] = {
        "studies": [each.StudyInstanceUID for each in studies],
        "all_studies": len(client.search_for_studies(node)),
        "series": [each.SeriesInstanceUID for each in series],
        "images": len(images),
        "study": len(client.retrieve_study(node, "1.8.1")),
        "series_of": len(client.retrieve_series(node, "1.8.1", "1.8.1.1")),
        "iterated": [len(list(client.iter_study(node, "1.8.1"))), len(list(client.iter_series(node, "1.8.1", "1.8.1.1")))],
        "image": one.SOPInstanceUID,
        "pseudonyms": sorted({str(each.PatientID) for each in client.retrieve_study(node, "1.8.1", pseudonym="ADIT-1")}),
        "metadata": [len(client.retrieve_study_metadata(node, "1.8.1")), len(client.retrieve_series_metadata(node, "1.8.1", "1.8.1.1"))],
        "image_metadata": client.retrieve_image_metadata(node, "1.8.1", "1.8.1.1", "1.8.1.1.2")["00080018"]["Value"],
    }
trial = AditClient(server_url=url, auth_token=token, trial_protocol_id="T7", trial_protocol_name="Trial")
named = trial.retrieve_image("WARD", "1.8.1", "1.8.1.1", "1.8.1.1.2", pseudonym="ADIT-2")
found["trial"] = [named.ClinicalTrialProtocolID, named.ClinicalTrialProtocolName]
stored = client.store_images("RESEARCH", [dcmread(file)])
found["stored"] = len(stored.ReferencedSOPSequence)
try:
    client.retrieve_study("NOWHERE", "1.8.1")
except Exception as error:
    found["unknown"] = error.response.status_code
print(json.dumps(found))
"""


def test_adits_own_client_works(server: Hosted, tokens: dict[str, str], tmp_path: Path, adit: Path) -> None:
    (path,) = write_series(tmp_path / "new", "P9", "1.8.9", "1.8.9.1", 1)
    script = tmp_path / "suite.py"
    script.write_text(_ADIT_SUITE)
    done = subprocess.run(
        [sys.executable, script, server.address, tokens["ada"], path], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(adit), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    for node in ("WARD", "WARDWEB"):
        assert found[node] == {
            "studies": [STUDY], "all_studies": 2, "series": [SERIES], "images": EACH, "study": EACH, "series_of": EACH,
            "iterated": [EACH, EACH], "image": f"{SERIES}.2", "pseudonyms": ["ADIT-1"], "metadata": [EACH, EACH],
            "image_metadata": [f"{SERIES}.2"],
        }  # fmt: skip
    assert (found["trial"], found["stored"], found["unknown"]) == (["T7", "Trial"], 1, 404)


def test_one_instance_is_uploaded(
    server: Hosted, tokens: dict[str, str], tmp_path: Path, research: Orthanc
) -> None:
    (path,) = write_series(tmp_path / "up", "P6", "1.8.6", "1.8.6.1", 1)
    session = server.session(tokens["bob"])
    session.headers["Content-Type"] = "application/dicom"
    address = f"{server.address}/api/pacs/nodes/RESEARCH/instances"
    told = session.post(address, data=path.read_bytes(), timeout=60).json()
    assert told == {"SOPInstanceUID": "1.8.6.1.1", "is_stored": True, "problem": ""}
    assert "1.8.6.1.1" in research.instances
    wrong = session.post(address, data=b"no DICOM", timeout=60)
    assert wrong.status_code == 400 and "no file that could be sent" in wrong.text
    other = session.post(f"{server.address}/api/pacs/nodes/WARD/instances", data=io.BytesIO(b"x"), timeout=60)
    assert other.status_code == 404


def test_the_server_is_killed_and_jobs_go_on(
    place: tuple[Path, dict[str, str]], accounts: Accounts, tmp_path: Path
) -> None:
    environment = {**place[1], "DATASET_DL_STATE": str(tmp_path / "state")}
    token = accounts.new_token("ada", "killed")
    with hosted(place[0] / "data", environment) as first:
        with Client(first.address, token) as client:
            studies = [{"StudyInstanceUID": STUDY}, {"StudyInstanceUID": "1.8.2"}]
            job = client.create_transfer_job("WARD", "RESEARCH", studies, start=False)
            client.act(job["id"], "start")
        first.child.kill()
        first.child.wait()
    store = Store(f"sqlite:///{tmp_path / 'state' / 'transfers.sqlite'}")
    with store.writing() as connection:  # its lease would end in half a minute
        from dataset_dl.pacs.transfers.tables import tasks

        connection.execute(tasks.update().where(tasks.c.state == "IN_PROGRESS").values(lease=time.time() - 1))
    with hosted(place[0] / "data", environment):
        until(lambda: store.job(job["id"]).state == "SUCCESS")
    store.close()


def test_passwords_do_not_go_through_a_network_in_plain(
    place: tuple[Path, dict[str, str]], accounts: Accounts
) -> None:
    with (
        pytest.raises(AssertionError, match="in plain"),
        hosted(place[0] / "data", place[1], "--host", "0.0.0.0"),
    ):
        pass


def test_through_tls(place: tuple[Path, dict[str, str]], accounts: Accounts, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = authority.issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    token = accounts.new_token("ada", "tls")
    files = ("--certificate", str(tmp_path / "server.pem"), "--certificate-key", str(tmp_path / "server.pem"))
    with hosted(place[0] / "data", place[1], *files) as running:
        assert running.address.startswith("https://localhost:")
        with Client(running.address, token, verify=tmp_path / "ca.pem") as client:
            assert [each["name"] for each in client.nodes()] == ["RESEARCH", "WARD", "WARDWEB"]
        with Client(running.address, token) as client, pytest.raises(NetworkError):
            client.nodes()


def test_many_tries_at_once_are_many(place: tuple[Path, dict[str, str]]) -> None:
    made = Accounts(place[0] / "few.json")
    made.add("tom", PASSWORD)
    sessions = Sessions(made)
    threads = [threading.Thread(target=sessions.sign_in, args=("tom", "a wrong password")) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sessions.sign_in("tom", PASSWORD) is None


def test_another_password_ends_sessions(place: tuple[Path, dict[str, str]]) -> None:
    made = Accounts(place[0] / "few.json")
    made.add("eve", PASSWORD)
    sessions = Sessions(made)
    key = sessions.sign_in("eve", PASSWORD)
    assert key is not None and sessions.person(key) is not None
    made.add("eve", f"another {PASSWORD}")
    assert sessions.person(key) is None
    assert (key := sessions.sign_in("eve", f"another {PASSWORD}")) is not None
    assert sessions.person(key) is not None


def test_what_was_looked_at_goes_with_the_right(
    server: Hosted, accounts: Accounts, tokens: dict[str, str]
) -> None:
    accounts.add("zoe", PASSWORD)
    accounts.grant("zoe", rights_of(("retrieve:WARD",)))
    session = server.session(accounts.new_token("zoe", "look"))
    body = {"study": STUDY, "series": SERIES}
    assert (
        session.post(f"{server.address}/api/pacs/nodes/WARD/look", json=body, timeout=60).status_code == 200
    )
    assert session.get(f"{server.address}/api/series/{SERIES}", timeout=60).json()["frames"] == EACH
    accounts.revoke("zoe", rights_of(("retrieve:WARD",)))
    assert session.get(f"{server.address}/api/series/{SERIES}", timeout=60).status_code == 400
    accounts.remove("zoe")


def test_what_somebody_uses_stays_open() -> None:
    """Several people upload to more nodes than stay connected."""
    several = [Node(name=f"N{number}", dimse=f"dimse://A@127.0.0.1:{number}") for number in range(1, 8)]
    held = uploading._Open()
    with held.delivering(several[0]) as first:
        for node in several[1:]:
            with held.delivering(node):
                pass
        with held.delivering(several[0]) as again:
            assert again is first
    with ExitStack() as stack:
        for node in several:
            stack.enter_context(held.delivering(node))
        assert len(held._known) == 7
    assert len(held._known) == 4
    for each in held._known.values():
        each.close()
