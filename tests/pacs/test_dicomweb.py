"""DICOMweb servers that page, hide, refuse and break off, each as real ones do; scripted, because Orthanc does none of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dataset_dl.pacs.multipart import Body
from dataset_dl.pixels.identity import identity_of
from dataset_dl.testing.served import Served
from support.cli import Cli
from support.patients import write_series
from support.peers import node_file

Answer = Callable[[Request], Any]


@contextmanager
def serving(tmp_path: Path, answer: Answer) -> Iterator[list[str]]:
    """A server for the node A; yield the requests, in order."""
    told: list[str] = []

    async def one(request: Request) -> Response:
        request.state.body = await request.body()
        told.append(f"{request.method} {request.url.path}?{request.url.query}".rstrip("?"))
        found = answer(request)
        return found if isinstance(found, Response) else JSONResponse(found)

    server = Served(Starlette(routes=[Route("/{path:path}", one, methods=["GET", "POST"])]))
    server.start()
    node_file(tmp_path / "nodes.json", A=f"{server.url}/dw")
    try:
        yield told
    finally:
        server.stop()


def element(**values: str) -> dict[str, Any]:
    from pydicom.datadict import tag_for_keyword

    return {f"{tag_for_keyword(name):08X}": {"vr": "LO", "Value": [value]} for name, value in values.items()}


def studies(count: int) -> list[dict[str, Any]]:
    return [element(StudyInstanceUID=f"1.2.{number}", PatientID="P1") for number in range(count)]


def test_a_server_with_small_pages_is_asked_to_the_end(tmp_path: Path, cli: Cli) -> None:
    def answer(request: Request) -> Any:
        offset = int(request.query_params["offset"])
        return studies(95)[offset : offset + 20]  # whatever the limit says

    with serving(tmp_path, answer):
        done = cli("pacs", "query", "A", "--patient-id", "P1", "--format", "json")
        assert done.code == 0 and len(done.json) == 95


def test_a_server_that_ignores_the_offset_ends(tmp_path: Path, cli: Cli) -> None:
    with serving(tmp_path, lambda request: studies(30)) as told:
        done = cli("pacs", "query", "A", "--patient-id", "P1", "--format", "json")
        assert done.code == 0 and len(done.json) == 30 and len(told) == 2


def test_tiny_pages_are_asked_to_the_end(tmp_path: Path, cli: Cli) -> None:
    def answer(request: Request) -> Any:
        offset = int(request.query_params["offset"])
        return studies(12)[offset : offset + 5]

    with serving(tmp_path, answer):
        assert len(cli("pacs", "query", "A", "--patient-id", "P1", "--format", "json").json) == 12


def test_a_server_that_says_there_is_more_but_gives_the_same(tmp_path: Path, cli: Cli) -> None:
    more = {"Warning": "299 host: There are 50 additional results"}
    with serving(tmp_path, lambda request: JSONResponse(studies(100), headers=more)):
        done = cli("pacs", "query", "A", "--patient-id", "P1")
        assert done.code == 2 and "more matches than it tells of" in done.err


def test_conditions_that_a_server_ignores_show_nobody_else(tmp_path: Path, cli: Cli) -> None:
    rows = [
        element(StudyInstanceUID=f"1.2.{name}", PatientName=name)
        for name in ("ROE^JANE", "DOE^JOHN", "DOE^JOHN^^")
    ]
    with serving(tmp_path, lambda request: rows if request.query_params["offset"] == "0" else []):
        done = cli("pacs", "query", "A", "--patient-name", "doe^john", "--format", "json")
        assert [row["PatientName"] for row in done.json] == ["DOE^JOHN", "DOE^JOHN^^"]


def test_nothing_found_has_several_forms(tmp_path: Path, cli: Cli) -> None:
    for nothing in (Response(status_code=204), JSONResponse([]), Response(b"")):
        with serving(tmp_path, lambda request, nothing=nothing: nothing):
            done = cli("pacs", "query", "A", "--patient-id", "P1")
            assert done.code == 0 and "0 studies" in done.err


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Response("<html>Sign in</html>", media_type="text/html"), 4, "not in DICOM's JSON"),
        (
            Response(status_code=302, headers={"Location": "https://login.example/"}),
            4,
            "leads elsewhere (302)",
        ),
        (Response(status_code=401), 2, "does not let this user in"),
        (
            JSONResponse({"Message": "No such attribute"}, status_code=400),
            2,
            "refuses it (400): No such attribute",
        ),
        (Response(status_code=404), 2, "refuses it (404)"),
        (JSONResponse({"error": "x"}), 4, "not in DICOM's JSON"),
        (JSONResponse([[1]]), 4, "not in DICOM's JSON"),
    ],
    ids=["sign-in", "redirect", "401", "400", "404", "object", "list of lists"],
)
def test_what_is_no_answer(tmp_path: Path, cli: Cli, answer: Response, code: int, words: str) -> None:
    with serving(tmp_path, lambda request: answer):
        done = cli("pacs", "query", "A", "--patient-id", "P1")
        assert done.code == code and words in done.err, done.err


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path, cli: Cli) -> None:
    count = 0

    def answer(request: Request) -> Any:
        nonlocal count
        count += 1
        return Response(status_code=503, headers={"Retry-After": "0"}) if count < 3 else studies(3)

    with serving(tmp_path, answer):
        assert len(cli("pacs", "query", "A", "--patient-id", "P1", "--format", "json").json) == 3


def test_a_server_without_modalities_of_studies(tmp_path: Path, cli: Cli) -> None:
    """Google's does not match ModalitiesInStudy, and no lists of UIDs."""

    def answer(request: Request) -> Any:
        if "ModalitiesInStudy" in request.query_params or "," in request.query_params.get(
            "StudyInstanceUID", ""
        ):
            return JSONResponse({"Message": "unsupported"}, status_code=400)
        if request.url.path.endswith("/series"):
            return [element(SeriesInstanceUID=f"1.3.{each}", Modality=each) for each in ("CT", "MR")]
        return [element(StudyInstanceUID=request.query_params["StudyInstanceUID"])]

    with serving(tmp_path, answer):
        done = cli("pacs", "query", "A", "--study", "1.2.1", "--study", "1.2.2", "--modality", "CT", "--level", "series", "--format", "json")  # fmt: skip
        assert done.code == 0, done.err
        assert [(row["StudyInstanceUID"], row["Modality"]) for row in done.json] == [
            ("1.2.1", "CT"),
            ("1.2.2", "CT"),
        ]
        assert cli("pacs", "query", "A", "--study", "1.2.1", "--modality", "CT").code == 2


# ---- WADO-RS


def archive(files: dict[str, bytes], wado: Answer) -> Answer:
    """A server with one series; `wado` answers for it."""

    def answer(request: Request) -> Any:
        path = request.url.path.removeprefix("/dw")
        if path == "/studies":
            return [element(StudyInstanceUID="1.2", PatientID="P1")]
        if path == "/studies/1.2/series":
            return [element(SeriesInstanceUID="1.2.1", Modality="CT")]
        if path == "/studies/1.2/series/1.2.1/instances":
            offset = int(request.query_params["offset"])
            return [element(SOPInstanceUID=uid) for uid in files][offset:]
        return wado(request)

    return answer


def parts(files: list[bytes], *, cut: int = 0, kind: str = "multipart/related") -> Response:
    body = b"".join(Body(files, "xyz"))
    return Response(body[: len(body) - cut], media_type=f'{kind}; type="application/dicom"; boundary=xyz')


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    paths = write_series(tmp_path / "made", "P1", "1.2", "1.2.1", 15)
    return {identity_of(path.read_bytes()).SOPInstanceUID: path.read_bytes() for path in paths}


def download(cli: Cli, tmp_path: Path, *more: object) -> Any:
    return cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", *more)


def test_a_body_that_breaks_off_is_continued_by_instance(
    tmp_path: Path, cli: Cli, files: dict[str, bytes]
) -> None:
    several = list(files.values())

    def wado(request: Request) -> Any:
        if "/instances/" in request.url.path:
            return parts([files[request.url.path.rpartition("/")[2]]])
        return parts(several[:7], cut=100)

    with serving(tmp_path, archive(files, wado)) as told:
        done = download(cli, tmp_path)
        assert done.code == 0, done.err
        singles = [each for each in told if "/instances/" in each]
        assert len(singles) == 9, "six have come before it broke off"
    found = {path.stem: path.read_bytes() for path in (tmp_path / "data").rglob("*.dcm")}
    assert found == files


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "refuses it (404)"),
        (406, "refuses it (406)"),
        (500, "says 500"),
        (200, "in place of several parts"),
    ],
)
def test_an_instance_that_an_archive_cannot_give_keeps_no_other_from_coming(
    tmp_path: Path, cli: Cli, files: dict[str, bytes], status: int, words: str
) -> None:
    bad = sorted(files)[1]

    def wado(request: Request) -> Any:
        uid = request.url.path.rpartition("/")[2]
        if "/instances/" not in request.url.path:
            return Response(status_code=404)
        return Response(status_code=status) if uid == bad else parts([files[uid]])

    with serving(tmp_path, archive(files, wado)) as told:
        done = download(cli, tmp_path, "--retries", "0")
        assert done.code == 3 and words in done.out and f"it lacks {bad}" in done.out, done.out
        found = {path.stem: path.read_bytes() for path in (tmp_path / "data").rglob("*.dcm")}
        assert found == {uid: each for uid, each in files.items() if uid != bad}
        told.clear()
        assert download(cli, tmp_path, "--retries", "0").code == 3
        assert {each for each in told if "/instances/" in each} == {
            f"GET /dw/studies/1.2/series/1.2.1/instances/{bad}"
        }


def test_a_server_that_fails_at_everything_is_left(tmp_path: Path, cli: Cli, files: dict[str, bytes]) -> None:
    def wado(request: Request) -> Any:
        return Response("<html>", media_type="text/html") if "/instances/" in request.url.path else refused

    refused = Response(status_code=406)
    with serving(tmp_path, archive(files, wado)) as told:
        done = download(cli, tmp_path, "--retries", "0")
        assert done.code == 3 and "2 more" in done.out, done.out
        assert len([each for each in told if "/instances/" in each]) == 3


@pytest.mark.parametrize(
    ("wado", "words"),
    [
        (lambda files: Response("<html>", media_type="text/html"), "in place of several parts"),
        (lambda files: JSONResponse({}), "in place of several parts"),
        (lambda files: Response(status_code=404), "refuses it (404)"),
        (lambda files: parts(files[:3]), "sent 3 of 15 instances"),
        (lambda files: parts([]), "sent 0 of 15 instances"),
        (lambda files: parts([files[0], b"no DICOM at all", *files[1:14]]), "an instance came damaged"),
        (lambda files: parts([files[0][:-10], *files[1:]]), "an instance came damaged: it is cut off"),
    ],
    ids=["page", "json", "404", "few", "none", "noise", "cut"],
)
def test_what_is_not_the_series(
    tmp_path: Path, cli: Cli, files: dict[str, bytes], wado: Any, words: str
) -> None:
    with serving(tmp_path, archive(files, lambda request: wado(list(files.values())))):
        done = download(cli, tmp_path, "--retries", "0")
        assert done.code == 3 and words in done.out, done.out
    for path in (tmp_path / "data").rglob("*.dcm"):
        assert path.read_bytes() == files[path.stem]
    assert not list((tmp_path / "data").rglob("*.part"))


def test_a_session_that_ends_in_the_midst_is_said(tmp_path: Path, cli: Cli, files: dict[str, bytes]) -> None:
    with serving(tmp_path, archive(files, lambda request: Response(status_code=401))):
        done = download(cli, tmp_path, "--retries", "0")
        assert done.code == 3 and "does not let this user in" in done.out


# ---- STOW-RS


def uids_in(request: Request) -> list[str]:
    head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
    read = BytesParser().parsebytes(head + request.state.body)
    return [identity_of(each.get_payload(decode=True)).SOPInstanceUID for each in read.get_payload()]  # type: ignore[union-attr]


def item(uid: str, **reasons: int) -> dict[str, Any]:
    made: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    tags = {"failure": "00081197", "warning": "00081196"}
    return made | {tags[name]: {"vr": "US", "Value": [value]} for name, value in reasons.items()}


def stored(good: list[dict[str, Any]], bad: list[dict[str, Any]] = [], status: int = 200) -> Response:  # noqa: B006
    told: dict[str, Any] = {"00081199": {"vr": "SQ", "Value": good}}
    if bad:
        told["00081198"] = {"vr": "SQ", "Value": bad}
    return JSONResponse(told, status_code=status, media_type="application/dicom+json")


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 8)
    return tmp_path / "disc"


def upload(cli: Cli, disc: Path, *more: object) -> Any:
    return cli("pacs", "upload", disc, "--to", "A", "--retries", "0", *more)


def posting(stow: Answer) -> Answer:
    return lambda request: stow(request) if request.method == "POST" else []


def test_some_are_refused_and_some_are_warned_of(tmp_path: Path, cli: Cli, disc: Path) -> None:
    def stow(request: Request) -> Response:
        uids = uids_in(request)
        good = [
            item(uid, warning=0xB000) if uid.endswith(".2") else item(uid)
            for uid in uids
            if not uid.endswith(".5")
        ]
        bad = [item(uid, failure=0x0110) for uid in uids if uid.endswith(".5")]
        return stored(good, bad, 202)

    with serving(tmp_path, posting(stow)):
        done = upload(cli, disc)
        assert (
            done.code == 3
            and "1.2.1.5" in done.err
            and "status 0110 (Failure Processing Failure)" in done.err
        )
        assert (
            "7 sent to A, 0 sent before, 1 failed" in done.out and "1 were taken with a warning" in done.out
        )
        rows = {row["SOPInstanceUID"]: row["state"] for row in cli("pacs", "status", "--format", "json").json}
        assert rows == {"1.2.1.2": "warning", "1.2.1.5": "failed"}


@pytest.mark.parametrize("status", [200, 202, 400, 409])
def test_those_that_the_answer_does_not_name_are_sent_alone(
    tmp_path: Path, cli: Cli, disc: Path, status: int
) -> None:
    def stow(request: Request) -> Response:
        uids = uids_in(request)
        bad = [uid for uid in uids if uid.endswith((".3", ".4"))]
        if len(uids) == 1:
            return stored([item(uids[0])]) if uids[0].endswith(".3") else stored([], [], status)
        return stored([item(uid) for uid in uids if uid not in bad], status=status)

    with serving(tmp_path, posting(stow)) as told:
        done = upload(cli, disc)
        assert done.code == 3 and "1.2.1.4" in done.err and "1.2.1.3" not in done.err, done.err
        assert "7 sent to A" in done.out
        assert sum(each.startswith("POST") for each in told) == 3


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            Response("<NativeDicomModel/>", media_type="application/dicom+xml"),
            3,
            "the answer does not name it",
        ),
        (Response(b""), 3, "the answer does not name it"),
        (Response("Too large", status_code=413), 3, "refuses it (413): Too large"),
        (Response(status_code=401), 2, "does not let this user in"),
        (Response(status_code=503), 4, "says 503"),
        (Response("<html>", media_type="text/html"), 3, "the answer does not name it"),
    ],
    ids=["xml", "empty", "413", "401", "503", "page"],
)
def test_an_answer_that_names_nobody_is_no_success(
    tmp_path: Path, cli: Cli, disc: Path, answer: Response, code: int, words: str
) -> None:
    with serving(tmp_path, posting(lambda request: answer)):
        done = upload(cli, disc)
        assert done.code == code and words in done.err, (done.code, done.err)
        assert " 0 sent to A" in done.out or not done.out


@pytest.mark.parametrize("reason", [0, 1, 0x0107, 0xB000, 1e30, float("inf"), None])
def test_a_failure_is_one_whatever_its_reason(tmp_path: Path, cli: Cli, disc: Path, reason: Any) -> None:
    def stow(request: Request) -> Response:
        bad = [item(uid) | {"00081197": {"vr": "US", "Value": [reason]}} for uid in uids_in(request)]
        return Response(
            json.dumps({"00081198": {"vr": "SQ", "Value": bad}}),
            status_code=202,
            media_type="application/dicom+json",
        )

    with serving(tmp_path, posting(stow)):
        done = upload(cli, disc)
        assert done.code == 3 and "0 sent to A" in done.out and "8 failed" in done.out


def test_a_user_who_is_locked_out_in_the_midst(tmp_path: Path, cli: Cli) -> None:
    for number in range(3):
        write_series(tmp_path / "many" / str(number), "P1", "1.2", f"1.2.{number}", 5)
    count = 0

    def stow(request: Request) -> Response:
        nonlocal count
        count += 1
        return Response(status_code=401) if count > 1 else stored([item(uid) for uid in uids_in(request)])

    with serving(tmp_path, posting(stow)):
        done = upload(cli, tmp_path / "many")
        assert (
            done.code == 3 and "does not let this user in" in done.err and "of 15 files are at A" in done.err
        )


def test_a_list_that_is_nested_without_end(tmp_path: Path, cli: Cli) -> None:
    deep = Response("[" * 100_000, media_type="application/json")
    with serving(tmp_path, lambda request: deep):
        assert cli("pacs", "query", "A", "--patient-id", "P1").code == 4


def test_the_rate_of_a_node_holds(
    tmp_path: Path, cli: Cli, disc: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.engines import receiving
    from dataset_dl.pacs import sending

    pauses: list[float] = []
    monkeypatch.setattr(sending.time, "sleep", pauses.append)
    monkeypatch.setattr(receiving.Receiving, "pause", lambda self, seconds: pauses.append(seconds))

    def answer(request: Request) -> Any:
        if request.method == "POST":
            return stored([item(uid) for uid in uids_in(request)])
        return archive(files, lambda request: parts(list(files.values())))(request)

    with serving(tmp_path, answer):
        node = json.loads((tmp_path / "nodes.json").read_text())
        node[0]["max_rate_mbps"] = 0.001
        (tmp_path / "nodes.json").write_text(json.dumps(node))
        assert upload(cli, disc).code == 0
        assert sum(pauses) > 5, "20 kB at 1 kB a second"
        pauses.clear()
        assert download(cli, tmp_path).code == 0
        assert sum(pauses) > 5
