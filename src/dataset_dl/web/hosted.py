"""A server for several people: each signs in, and nothing but the sign-in page is shown before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from dataset_dl.web.accounts import Accounts
from dataset_dl.web.guard import (
    TOO_LARGE,
    App,
    Bounded,
    Receive,
    Scope,
    Send,
    answer,
    headers_of,
    refuse,
    with_headers,
)
from dataset_dl.web.sessions import Sessions

_WHO = "Sign in first; a token that was sent is not known, or has ended."
_MOST_SIGN_IN_BYTES = 4096


class Hosted:
    """Lets through who has signed in, or sends a token; and sets the headers that keep a browser safe.

    Parameters
    ----------
    app
        What it guards.
    names
        What requests may call this server, with its port and without.
    accounts
        Who may sign in.
    bound_of
        How large a body at a path may be, and of which media types besides JSON.
    log
        A file for sign-ins and refusals.
    """

    def __init__(
        self,
        app: App,
        names: frozenset[str],
        accounts: Accounts,
        bound_of: Callable[[str], tuple[int, tuple[str, ...]]],
        log: Path,
    ) -> None:
        self._app = app
        self._names = names
        self._sessions = Sessions(accounts)
        self._bound_of = bound_of
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = headers_of(scope)
        accepted, path = headers.get("accept", ""), scope["path"]
        bound, takes = self._bound_of(path)
        if refused := self._refused(scope, headers, bound, takes):
            await refuse(send, *refused, accepted)
            return
        if path == "/api/session":
            await self._session(scope, headers, receive, send)
            return
        if path.startswith("/api/"):
            person = await anyio.to_thread.run_sync(self._sessions.person, _key(headers))
            if person is None:
                await _told(send, 401, {"error": _WHO, "hint": "", "sign_in": True})
                return
            scope["person"] = person
        elif scope["method"] not in ("GET", "HEAD"):
            await refuse(send, 405, "There is nothing to do like that.", accepted)
            return
        if scope["method"] not in ("GET", "HEAD"):
            receive = Bounded(receive, bound)
        await self._app(scope, receive, with_headers(send))

    def _refused(
        self, scope: Scope, headers: dict[str, str], bound: int, takes: tuple[str, ...]
    ) -> tuple[int, str] | None:
        """Return status and reason if a request is refused whoever sent it."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or headers.get("host", "").lower() not in self._names:
            return 421, "This server has another name; `dataset-dl web --name` says which."
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() not in self._names:
            return 403, "Only its own page may ask this server."
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
        if site not in ("none", "same-origin") and mode != "navigate":
            return 403, "Only its own page may ask this server."
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] not in ("POST", "DELETE"):
            return 405, "There is nothing to do like that."
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", *takes) and scope["method"] == "POST":
            return 415, f"The body must be {' or '.join(takes) or 'JSON'}."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > bound:
            return 413, TOO_LARGE
        return None

    async def _session(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        """Begin or end a session."""
        if scope["method"] == "DELETE":
            self._sessions.sign_out(_key(headers))
            await _told(send, 200, {"signed_out": True})
            return
        given = await _json(Bounded(receive, _MOST_SIGN_IN_BYTES))
        name, password = given.get("name"), given.get("password")
        key = None
        if isinstance(name, str) and isinstance(password, str):
            key = await anyio.to_thread.run_sync(self._sessions.sign_in, name, password)
        client = (scope.get("client") or ("?",))[0]
        self._write("signed in" if key else "refused", ascii(name)[:64], client)
        if key is None:
            said = "Name or password are wrong, or were so too often; then wait a minute."
            await _told(send, 401, {"error": said, "hint": ""})
            return
        await _told(send, 200, {"key": key, "name": name})

    def _write(self, what: str, name: str, client: str) -> None:
        line = json.dumps({"at": round(time.time(), 3), "what": what, "name": name, "from": client})
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _key(headers: dict[str, str]) -> str:
    """Return what a request sends; the clients of ADIT call it a token."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() in ("bearer", "token") else ""


async def _json(receive: Receive) -> MutableMapping[str, Any]:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def _told(send: Send, status: int, said: dict[str, Any]) -> None:
    fields = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    await answer(send, status, json.dumps(said).encode(), fields)
