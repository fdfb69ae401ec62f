"""A stand-in for XNAT on this machine.

No XNAT can be had for tests. This one answers as the server's public source (NrgXnat/xnat of 2024-06) and its
official tests (NrgXnat/xnat-rest-tests of 2026-08) say; each method names what it follows. It also has what
the public clients `xnat` and `xnatctl` ask for.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dataset_dl.testing.served import StandIn
from dataset_dl.testing.xnat_lists import Lists, files_of, prearchived, table
from dataset_dl.testing.xnat_schema import SCHEMA
from dataset_dl.testing.xnat_store import Refused, Store

Answer = Callable[[Mapping[str, str], re.Match[str], bytes], Response]
_LOST = "lost"


class LocalXnat(StandIn):
    """Serves projects, prearchive and archive as XNAT does.

    Use it as a context manager.

    Parameters
    ----------
    projects
        The projects that there are.
    user, password
        The account; tests that log in wrongly get 401.
    delay_seconds
        How long each answer takes to begin, like the way to a distant server.

    Attributes
    ----------
    store
        What it holds; tests may look and change it.
    faults
        ``import``, ``commit``, ``files`` or ``login`` → a fault: a status; ``lost`` (the work is done, and
        the answer is lost); ``html`` (a page with status 200); ``empty`` (200 without a word); ``expired``
        (the session has ended). With ``once`` behind it, only the first time.
    requests
        Method and path of each request, in order.
    """

    def __init__(
        self, *projects: str, user: str = "ward", password: str = "key", delay_seconds: float = 0.0
    ) -> None:
        self.store = Store({name: {} for name in projects})
        self.user, self.password = user, password
        self.busy: dict[str, int] = {}
        self.most_at_once_of_a_session = self.most_at_once = 0
        self.delay_seconds = delay_seconds
        self._sessions: set[str] = set()
        self._lock = threading.RLock()
        lists = self._lists = Lists(self.store)
        methods = ["GET", "POST", "PUT", "DELETE"]
        super().__init__(Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)]))
        self._routes: list[tuple[str, re.Pattern[str], Answer]] = [
            (method, re.compile(pattern), answer)
            for method, pattern, answer in (
                ("GET", r"/data/auth", lambda *_: PlainTextResponse(f"User '{self.user}' is logged in")),
                ("DELETE", r"/data/JSESSION", self._log_out),
                ("GET", r"/xapi/siteConfig/buildInfo", lambda *_: JSONResponse({"version": "1.9.2"})),
                ("GET", r"/xapi/schemas", lambda *_: JSONResponse(["xnat"])),
                ("GET", r"/xapi/schemas/xnat", lambda *_: Response(SCHEMA, media_type="application/xml")),
                ("GET", r"/data/search/elements", lambda *_: table([])),
                ("GET", r"/data(?:/archive)?/projects", lists.list_projects),
                ("GET", r"/data/projects/([^/]+)", lists.project),
                ("PUT", r"/data/projects/([^/]+)", self._make_project),
                ("GET", r"/data/projects/([^/]+)/resources/([^/]+)/files", lists.list_files),
                ("GET", r"/data/projects/([^/]+)/resources/([^/]+)/files/([^/]+)", lists.file),
                ("PUT", r"/data/projects/([^/]+)/resources/([^/]+)/files/([^/]+)", self._put_file),
                ("GET", r"/data/prearchive(?:/projects/?([^/]*))?", lists.list_prearchive),
                ("GET", r"/data/prearchive/projects/([^/]+)/([^/]+)/([^/]+)", lists.prearchived),
                ("GET", r"/data/prearchive/projects/([^/]+)/([^/]+)/([^/]+)/scans", lists.scans),
                (
                    "GET",
                    r"/data/prearchive/projects/([^/]+)/([^/]+)/([^/]+)/scans/([^/]+)/resources/DICOM/files",
                    self._scan_files,
                ),
                ("POST", r"/data/prearchive/projects/([^/]+)/([^/]+)/([^/]+)", self._commit),
                ("DELETE", r"/data/prearchive/projects/([^/]+)/([^/]+)/([^/]+)", self._delete),
                ("POST", r"/data/services/archive", self._archive),
                ("GET", r"/data(?:/archive)?(?:/projects/([^/]+))?/subjects(?:/([^/]+))?", lists.subjects),
                ("GET", r"/data(?:/archive)?(?:/projects/([^/]+))?(?:/subjects/([^/]+))?/experiments"
                 r"(?:/([^/]+))?(/scans)?(?:/([^/]+))?(/resources/DICOM)?", lists.experiments),
            )
        ]  # fmt: skip

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path}?{request.url.query}")
        await asyncio.sleep(self.delay_seconds)
        with tempfile.TemporaryDirectory() as scratch:
            received = Path(scratch) / "body"
            with received.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            return await run_in_threadpool(self._answered, request, path, received)

    def _answered(self, request: Request, path: str, body: Path) -> Response:
        if path == "/":
            return PlainTextResponse("XNAT")
        if request.method == "PUT" and path == "/data/services/auth":
            return self._logged_in(dict(parse_qsl(body.read_text())))
        if (refused := self._refused(request)) is not None:
            return refused
        token = getattr(request.state, "token", "")
        if path == "/data/JSESSION" and request.method != "DELETE":
            return _with(token, PlainTextResponse(token or request.cookies["JSESSIONID"]))
        given = dict(request.query_params)
        if request.headers.get("Content-Type", "").startswith("application/x-www-form"):
            given |= dict(parse_qsl(body.read_text()))
        try:
            if request.method == "POST" and path == "/data/services/import":
                answer = self._import(given, body, request.headers.get("Content-Type", ""))
            else:
                answer = self._routed(request.method, path, given, body)
        except Refused as error:
            answer = Response(f"<html><h3>{error.words}</h3></html>", error.status, media_type="text/html")
        return _with(token, answer)

    def _routed(self, method: str, path: str, given: Mapping[str, str], body: Path) -> Response:
        for wanted, pattern, answer in self._routes:
            if method == wanted and (match := pattern.fullmatch(path)):
                with self._lock:
                    return answer(given, match, body.read_bytes())
        raise Refused(404, "Not Found")

    def _refused(self, request: Request) -> Response | None:
        """Programs get 401 (XnatAuthenticationEntryPoint); each login makes a session, 1,000 at most."""
        if self._fault("login") == "expired":
            self._sessions.clear()
        if request.cookies.get("JSESSIONID") in self._sessions:
            return None
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        pair = base64.b64decode(text).decode() if kind == "Basic" else ""
        if pair != f"{self.user}:{self.password}" or len(self._sessions) >= 1000:
            return PlainTextResponse(
                "Your login attempt failed because the username and password combination is wrong.", 401
            )
        request.state.token = secrets.token_hex(16)
        self._sessions.add(request.state.token)
        return None

    def _logged_in(self, given: Mapping[str, str]) -> Response:
        if (given.get("username"), given.get("password")) != (self.user, self.password):
            return PlainTextResponse("Bad credentials", 401)
        token = secrets.token_hex(16)
        self._sessions.add(token)
        return _with(token, PlainTextResponse(token))

    def _failing(self, fault: str) -> Response | None:
        if fault.isdigit():
            raise Refused(int(fault), "the fault that was asked for")
        if fault == "html":
            return Response("<html>BEGIN xnat-templates/screens/Login.vm</html>", media_type="text/html")
        return Response(b"") if fault == "empty" else None

    def _import(self, given: Mapping[str, str], body: Path, kind: str) -> Response:
        """Importer, DicomZipImporter; with inbody, the format is known by the type of the content."""
        fault = self._fault("import")
        if (answer := self._failing(fault)) is not None:
            return answer
        if body.stat().st_size == 0 or (given.get("inbody") and "zip" not in kind):
            raise Refused(400, "Unable to identify upload format.")
        wanted = dict(given)
        # /prearchive/projects/P or /prearchive/projects/P/TS/FOLDER
        to = given.get("dest", "").strip("/").split("/")
        if len(to) > 2:
            wanted.setdefault("project", to[2])
        if len(to) > 4:
            wanted["timestamp"], wanted["session"] = to[3], to[4]
        label = wanted.get("session", "")
        with self._lock:
            self.busy[label] = self.busy.get(label, 0) + 1
            self.most_at_once_of_a_session = max(self.most_at_once_of_a_session, self.busy[label])
            self.most_at_once = max(self.most_at_once, sum(self.busy.values()))
        try:
            with self._lock:
                sessions = self.store.receive(body, wanted)
        finally:
            self.busy[label] -= 1
        if fault == _LOST:
            return _Cut()
        prefix = "" if given.get("import-handler") == "DICOM-zip" else "/data"
        return PlainTextResponse("".join(f"{prefix}{each.prearchive_uri}\r\n" for each in sessions))

    def _commit(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """PrearcSessionResource.postActionCommit: 200 stays in the prearchive, 301 is in the archive."""
        fault = self._fault("commit")
        if (answer := self._failing(fault)) is not None:
            return answer
        session = prearchived(self.store, match)
        if given.get("action") != "commit":
            raise Refused(400, "Unknown action")
        if given.get("AA", "").lower() != "true":
            return PlainTextResponse(f"/data{session.prearchive_uri}\r\n")
        kept = self.store.commit(session, overwrites=given.get("overwrite_files") == "true")
        return _Cut() if fault == _LOST else PlainTextResponse(f"/data{kept.archive_uri}\r\n", 301)

    def _archive(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """Archiver: a single src is done in the request; append and delete are alike for it."""
        fault = self._fault("commit")
        if (answer := self._failing(fault)) is not None:
            return answer
        *_, project, timestamp, label = given.get("src", "").removeprefix("/data").split("/")
        session = self.store.find(project, timestamp, label)
        if session is None:
            raise Refused(404, "unknown session")
        overwrites = given.get("overwrite") in ("append", "delete") or given.get("overwrite_files") == "true"
        if self.store.find_archived(project, label) and not overwrites:
            raise Refused(500, "FAILED: Session already exists, retry with overwrite enabled")
        session.subject = given.get("subject", session.subject)
        kept = self.store.commit(session, overwrites=overwrites)
        return _Cut() if fault == _LOST else PlainTextResponse(f"/data{kept.archive_uri}\r\n")

    def _scan_files(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        return self._failing(self._fault("files")) or self._lists.scan_files(given, match, body)

    def _delete(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        self.store.prearchive.remove(prearchived(self.store, match))
        return Response(b"")

    def _log_out(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        self._sessions.clear()
        return Response(b"")

    def _make_project(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """ProjectResource.handlePut."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", match[1]):
            raise Refused(417, "Invalid character in project ID.")
        if any(each.lower() == match[1].lower() != each for each in self.store.projects):
            raise Refused(409, "Requested new project conflicts with existing projects")
        self.store.projects.setdefault(match[1], {})
        return Response(b"")

    def _put_file(self, given: Mapping[str, str], match: re.Match[str], body: bytes) -> Response:
        """FileList.handlePut: a file that exists stays as it is, and the answer is 200 nevertheless."""
        files = files_of(self.store, match)
        if not body:
            raise Refused(400, "No data")
        if match[3] in files and given.get("overwrite") != "true":
            return JSONResponse({"duplicates": [match[3]]})
        files[match[3]] = body
        return Response(b"")


def _with(token: str, answer: Response) -> Response:
    """Set the cookie of a new session."""
    if token:
        answer.set_cookie("JSESSIONID", token, httponly=True)
    return answer


class _Cut(Response):
    """A connection that ends without an answer, though the work is done."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        raise ConnectionResetError("the fault that was asked for")
