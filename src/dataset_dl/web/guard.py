"""Who may ask: the person who was given the link, from this machine, from this page.

A server on the loopback address is reached by every page that a browser shows and by every program of the
machine. So a request must name this host exactly, because other names can be made to lead here. The cookie
only shows the page: a browser sends cookies to every port of a host, so another program can get it. What asks
or changes anything needs a key, which the browser keeps for this port alone.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A list of a hundred thousand UIDs fits.
MOST_BODY_BYTES = 8_000_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
TOO_LARGE = "This is too large; nothing was changed."
_UNKNOWN = "This page is for the person who started it. Open the link that `dataset-dl web` printed."
_USED = "This link has been used. Press Enter where `dataset-dl web` runs, and it prints a new one."


class Guard:
    """Lets through what may ask, and sets the headers that keep a browser safe.

    Parameters
    ----------
    app
        What it guards.
    host
        The only host, with its port, that requests may name.
    token
        What programs send as ``Authorization: Bearer``; the page has a key of its own.
    bound_of
        How large a body at a path may be, and of which media types besides JSON.
    """

    def __init__(
        self,
        app: App,
        host: str,
        token: str,
        bound_of: Callable[[str], tuple[int, tuple[str, ...]]] = lambda path: (MOST_BODY_BYTES, ()),
    ) -> None:
        self._app = app
        self._bound_of = bound_of
        self._host = host
        self._token = token
        self._cookie_name = f"dataset-dl-{host.rpartition(':')[2]}"
        self._cookie = secrets.token_urlsafe(32)
        self._key = secrets.token_urlsafe(32)
        self._links: set[str] = set()

    def new_link(self) -> str:
        """Return an address that opens the page, once."""
        self._links.add(link := secrets.token_urlsafe(32))
        return f"http://{self._host}/?token={link}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = headers_of(scope)
        accepted = headers.get("accept", "")
        if refused := self._refused(scope, headers):
            await refuse(send, *refused, accepted)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if scope["path"] == "/" and given is not None and scope["method"] == "GET":
            await self._enter(given[0], headers, send)
            return
        is_asking = scope["path"].startswith("/api/")
        if not (self._has_key(headers) if is_asking else self._is_known(headers)):
            await refuse(send, 401, _UNKNOWN, accepted)
            return
        if scope["method"] not in ("GET", "HEAD"):
            receive = Bounded(receive, self._bound_of(scope["path"])[0])
        await self._app(scope, receive, with_headers(send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason if a request is refused whoever sent it."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or headers.get("host") != self._host:
            return 421, f"This server is http://{self._host} and nothing else."
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{self._host}":
            return 403, "Only its own page may ask this server."
        # What another page embeds or fetches; to follow a link is harmless, because it changes nothing.
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
        if site not in ("none", "same-origin") and mode != "navigate":
            return 403, "Only its own page may ask this server."
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return 405, "There is nothing to do like that."
        bound, takes = self._bound_of(scope["path"])
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", *takes):
            return 415, "A change must be JSON."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > bound:
            return 413, TOO_LARGE
        return None

    async def _enter(self, link: str, headers: dict[str, str], send: Send) -> None:
        if link not in self._links:
            # Whoever is in already comes back to a link of the past, but gets no key for it.
            if not self._is_known(headers):
                await refuse(send, 403, _USED, headers.get("accept", ""))
                return
            await answer(send, 303, b"", {**_HEADERS, "Location": "/", "Cache-Control": "no-store"})
            return
        self._links.discard(link)
        cookie = f"{self._cookie_name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
        # What is behind “#” stays in the browser.
        fields = {
            **_HEADERS,
            "Location": f"/#key={self._key}",
            "Set-Cookie": cookie,
            "Cache-Control": "no-store",
        }
        await answer(send, 303, b"", fields)

    def _has_key(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_one = [hmac.compare_digest(given.encode(), each.encode()) for each in (self._key, self._token)]
        return scheme.lower() in ("bearer", "token") and any(is_one)

    def _is_known(self, headers: dict[str, str]) -> bool:
        """Whether the cookie is there; other programs of this host may have set others, of any form."""
        pairs = (each.strip().partition("=") for each in headers.get("cookie", "").split(";"))
        given = [value for name, _, value in pairs if name == self._cookie_name]
        return any(hmac.compare_digest(each.encode(), self._cookie.encode()) for each in given)


class TooLarge(Exception):
    """A body is longer than it said, or than is read."""


class Bounded:
    """Receives a body up to a bound."""

    def __init__(self, receive: Receive, most_bytes: int = MOST_BODY_BYTES) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._received = 0

    async def __call__(self) -> MutableMapping[str, Any]:
        """Receive a part."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._most_bytes:
            raise TooLarge
        return message


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the first header of each name."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def with_headers(send: Send) -> Send:
    """Return what sends an answer with the headers that keep a browser safe."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {**_HEADERS, "Content-Security-Policy": _POLICY}
            known = {name.lower() for name, _ in message["headers"]}
            if b"cache-control" not in known:
                own["Cache-Control"] = "no-store"
            message["headers"] = [*message["headers"], *_encoded(own)]
        await send(message)

    return sending


def _encoded(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]


async def refuse(send: Send, status: int, reason: str, accepted: str = "") -> None:
    """Answer that a request is refused."""
    fields = {**_HEADERS, "Cache-Control": "no-store", "Connection": "close"}
    if "text/html" in accepted:
        fields["Content-Type"] = "text/plain; charset=utf-8"
        body = reason
    else:
        fields["Content-Type"] = "application/json"
        body = json.dumps({"error": reason, "hint": ""})
    await answer(send, status, body.encode(), fields)


async def answer(send: Send, status: int, body: bytes, fields: dict[str, str]) -> None:
    """Answer with a whole body."""
    fields["Content-Length"] = str(len(body))
    await send({"type": "http.response.start", "status": status, "headers": _encoded(fields)})
    await send({"type": "http.response.body", "body": body})
