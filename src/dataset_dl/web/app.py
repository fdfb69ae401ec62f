"""The server: calls in threads, files of the page, and changes of jobs as they happen."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dataset_dl import __version__
from dataset_dl.doors import PAGES
from dataset_dl.errors import DatasetDlError, MissingExtra
from dataset_dl.model.page import EVERYBODY, OWNER, Answer, Call, Forbidden, Given, Page, Person, Rights
from dataset_dl.scratch import Scratch
from dataset_dl.web import cohort, disk, downloads, explore, viewer
from dataset_dl.web.changes import Changes, TooMany
from dataset_dl.web.guard import MOST_BODY_BYTES, TOO_LARGE, TooLarge
from dataset_dl.web.openapi import document
from dataset_dl.web.site import Site

_STATIC = Path(__file__).parent / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The pages that this wing has itself; the names of others may not be these.
OWN_PAGES = {"explore": "Explore", "cohort": "Cohort", "downloads": "Downloads", "disk": "Disk"}
# An error of the program itself; what a person did wrong is 400, the network 502, the disk 507.
_STATUS = {1: 500, 2: 400, 3: 422, 4: 502, 5: 507}


def make_app(site: Site, changes: Changes, token: str) -> Starlette:
    """Return the application, not yet guarded.

    Parameters
    ----------
    site
        What it works with.
    changes
        Tells when a job has changed.
    token
        What programs send; the page shows it.
    """
    pages = {name: page for name in PAGES.names() if name not in OWN_PAGES and (page := PAGES.find(name))}
    calls: list[Call] = [*explore.CALLS, *cohort.CALLS, *downloads.CALLS, *disk.CALLS]
    calls += [call for page in pages.values() for call in page.calls]

    def about(place: Any, given: Given) -> dict[str, Any]:
        person = given.person
        own = [{"name": name, "title": title, "is_listed": True} for name, title in OWN_PAGES.items()]
        others = [
            {
                "name": name,
                "title": page.title,
                "is_listed": page.is_listed,
                "script": f"/pages/{name}/{page.script.name}",
                "missing": _missing(page),
            }
            for name, page in pages.items()
            if _allows(page.rights, person)
        ]
        told = {"version": __version__, "person": person.name, "is_hosted": site.is_hosted}
        if not person.is_owner:
            return {**told, "roots": [], "pages": others}
        roots = [{"path": str(root), "free_bytes": _free(root)} for root in site.roots]
        return {**told, **_index(), "roots": roots, "token": token, "pages": own + others}

    calls.append(Call("viewer", _has_viewer, "Whether the viewer of volumes is on this machine."))
    calls.append(
        Call("about", about, "Versions, directories, pages, and the token for programs.", rights=EVERYBODY)
    )
    routes = [_route(site, call) for call in calls]
    routes.append(Route("/api/openapi.json", lambda request: JSONResponse(document(calls))))
    routes.append(Route("/api/events", partial(_events, changes)))
    for name, page in pages.items():
        routes.append(Route(f"/pages/{name}/{{file}}", partial(_file, page.script.parent)))
    routes.append(Route("/viewer/niivue.js", _viewer))
    routes.append(Route("/static/{file}", partial(_file, _STATIC)))
    routes += [Route(f"/{name}", _shell) for name in ("", *OWN_PAGES, *pages)]
    routes += [Route(f"/{name}/{{rest:path}}", _shell) for name in pages]
    app = Starlette(routes=routes)
    app.state.pages = tuple(pages.values())
    app.state.calls = tuple(calls)
    return app


def bound_of(app: Starlette, path: str) -> tuple[int, tuple[str, ...]]:
    """Return how large a body at a path may be, and of which media types besides JSON."""
    words = path.removeprefix("/api/").split("/")
    for call in app.state.calls:
        pattern = call.path.split("/")
        if call.takes and len(pattern) == len(words):
            pairs = zip(pattern, words, strict=True)
            if all(each.startswith("{") or each == word for each, word in pairs):
                return call.most_bytes, call.takes
    return MOST_BODY_BYTES, ()


def _allows(rights: Rights | None, person: Person) -> bool:
    """Whether a person has rights anywhere."""
    return person.is_owner or (rights is not None and all(person.may(each.verb, "") for each in rights))


def _free(root: Path) -> int:
    try:
        return shutil.disk_usage(root).free
    except OSError:  # it is gone; the page must come up nevertheless
        return 0


def _index() -> dict[str, Any]:
    from dataset_dl.sources.idc import releases

    version = releases.chosen()
    return {"index_version": version, "idc_version": int(version.partition(".")[0])}


def _missing(page: Page) -> str | None:
    try:
        page.check()
        return None
    except MissingExtra as error:
        return str(error)


def _check(call: Call, given: Given) -> None:
    """Refuse what a person may not; as if it were not there.

    Raises
    ------
    Forbidden
        If they may not.
    """
    person = given.person
    if not _allows(call.rights, person):
        raise Forbidden("", "Your account has no right to do this.", "Ask whoever runs this server.")
    if person.is_owner:
        return
    for right in call.rights or ():
        if not right.on:
            continue
        subjects = given.all(right.on)
        for subject in subjects:
            if not subject or not person.may(right.verb, subject):
                raise Forbidden(subject, f"There is no {right.on} “{subject}” for you.")
        if not subjects:
            raise Forbidden(right.on, f"{right.on} is missing.")


def _route(site: Site, call: Call) -> Route:
    async def answer(request: Request) -> Response:
        scratch = Scratch("body") if call.takes else None
        try:
            given = await _given(request, call, scratch)
            _check(call, given)
            place = site.seen_by(given.person)
            return _response(await anyio.to_thread.run_sync(call.answer, place, given))
        except Forbidden as error:
            return JSONResponse({"error": error.message, "hint": error.hint}, 404)
        except TooLarge:
            return JSONResponse({"error": TOO_LARGE, "hint": ""}, 413, headers={"Connection": "close"})
        except DatasetDlError as error:
            body = {"error": error.message, "hint": error.hint}
            return JSONResponse(body, _STATUS.get(error.exit_code, 500))
        except Exception as error:  # one call must not end the server
            said = f"This is a bug in dataset-dl ({type(error).__name__}: {error})."
            return JSONResponse({"error": said, "hint": ""}, 500)
        finally:
            if scratch is not None:
                scratch.close()

    return Route(f"/api/{call.path}", answer, methods=[call.method])


async def _given(request: Request, call: Call, scratch: Scratch | None) -> Given:
    from dataset_dl.errors import SelectionError

    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        values.setdefault(name, []).append(value)
    person = request.scope.get("person", OWNER)
    if scratch is not None:
        # Before anything of it is kept.
        _check(call, Given(values | request.path_params, person))
        kept = scratch.path / "body"
        async with await anyio.open_file(kept, "wb") as file:
            async for part in request.stream():
                await file.write(part)
        media_type = request.headers.get("content-type", "")
        return Given(values | request.path_params, person, body=kept, media_type=media_type)
    if request.method == "POST":
        body = await request.body()
        try:
            sent = msgspec.json.decode(body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise SelectionError("", "The body is not JSON; nothing was changed.") from None
        if not isinstance(sent, Mapping):
            raise SelectionError("", "The body is not a JSON object; nothing was changed.")
        values |= sent
    return Given(values | request.path_params, person)


def _response(value: Any) -> Response:
    if not isinstance(value, Answer):
        return Response(msgspec.json.encode(value, enc_hook=str), media_type="application/json")
    headers = {}
    if value.fresh_seconds:
        # Who signs in later in the same browser asks with another key, and gets nothing of the one before.
        headers = {"Cache-Control": f"private, max-age={value.fresh_seconds}", "Vary": "Authorization"}
    media_type, _, encoding = value.media_type.partition("+")
    if encoding == "gzip":
        headers["Content-Encoding"] = "gzip"
    else:
        media_type = value.media_type
    headers |= value.headers
    if isinstance(value.body, Iterator):
        return StreamingResponse(value.body, value.status, headers, media_type)
    if isinstance(value.body, Path):
        gone = BackgroundTask(value.body.unlink, missing_ok=True)
        return FileResponse(
            value.body, headers=headers, media_type=media_type, filename=value.filename, background=gone
        )
    if value.filename:
        headers["Content-Disposition"] = f'attachment; filename="{value.filename}"'
    return Response(value.body, value.status, headers, media_type)


async def _events(changes: Changes, request: Request) -> Response:
    """Send each job that changes, from the change that the reader has seen last."""
    if not request.scope.get("person", OWNER).is_owner:
        return JSONResponse({"error": "There is nothing to hear for you.", "hint": ""}, 404)
    seen = request.headers.get("last-event-id", request.query_params.get("since", "0"))
    last = int(seen) if seen.isdigit() and len(seen) < 18 else 0
    try:
        stream = changes.stream(last)
    except TooMany:
        return JSONResponse({"error": "Too many windows are open.", "hint": "Close some."}, 503)
    return StreamingResponse(_lines(stream), media_type="text/event-stream")


async def _lines(stream: AsyncIterator[tuple[int, Iterable[Mapping[str, Any]]] | None]) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    async for told in stream:
        if told is None:
            yield ": still here\n\n"
            continue
        last, several = told
        yield f"id: {last}\ndata: {json.dumps(list(several))}\n\n"


async def _file(directory: Path, request: Request) -> Response:
    name = request.path_params["file"]
    path = directory / name
    if Path(name).name != name or path.suffix not in _KINDS or not path.is_file():
        return JSONResponse({"error": "There is no such file.", "hint": ""}, 404)
    return Response(path.read_bytes(), media_type=_KINDS[path.suffix], headers={"Cache-Control": "no-cache"})


def _has_viewer(place: Any, given: Given) -> dict[str, Any]:
    return {"viewer": viewer.VERSION if viewer.path().is_file() else None}


async def _viewer(request: Request) -> Response:
    if not viewer.path().is_file():
        return JSONResponse({"error": "The viewer is not on this machine.", "hint": ""}, 404)
    return FileResponse(viewer.path(), media_type=_KINDS[".js"], headers={"Cache-Control": "no-cache"})


async def _shell(request: Request) -> Response:
    return Response((_STATIC / "index.html").read_bytes(), media_type=_KINDS[".html"])
