"""Many requests at once on connections that stay open: libcurl's multi interface with a selector."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import pycurl

from dataset_dl import __version__
from dataset_dl.engines.curl.redirects import may_lead_to
from dataset_dl.engines.curl.route import Route
from dataset_dl.engines.curl.saving import Excess
from dataset_dl.engines.pace import Pace

CONNECT_SECONDS = 20
_BUFFER_BYTES = 512 << 10
# libcurl fills its buffer up to ten times before it looks at another connection.
_BUFFER_SECONDS, _LEAST_BUFFER_BYTES = 0.002, 16 << 10
_MOST_REDIRECTS = 3
# So that connections spread over all addresses of a store; pycurl has no name for it.
_DNS_SHUFFLE_ADDRESSES = 275
_REDIRECTS = (301, 302, 307, 308)


class Get:
    """One GET request.

    Parameters
    ----------
    url
        The address.
    take
        Receives the body of a successful response, in chunks. It may raise `Excess` or `OSError`.
    then
        Called when the request has ended, in whatever way.
    headers
        Further request headers.
    byte_range
        As in the header ``Range``, like ``0-99``; then only status 206 is success.

    Attributes
    ----------
    status
        Status of the response; 0 without one.
    code, words
        libcurl's result, 0 for success, and what it says.
    error
        What `take` raised.
    response
        Headers of the response in lower case, if `reads_headers`.
    reads_errors
        Whether `take` also receives the body of other responses.
    is_object
        Whether its bytes count as received.
    proxy_status
        Status of the proxy's response to CONNECT; 0 without one.
    round_trip_seconds
        From the end of the request to the first byte of the response.
    """

    reads_headers = reads_errors = False
    is_object = True

    def __init__(
        self,
        url: str,
        take: Callable[[bytes], object],
        then: Callable[[Get], None],
        *,
        byte_range: str = "",
        headers: list[str] | None = None,
    ) -> None:
        self.url = url
        self.take = take
        self.then = then
        self.byte_range = byte_range
        self.headers = headers or []
        self.redirects = 0
        self.begin()

    def begin(self) -> None:
        """Forget an earlier try."""
        self.status = self.code = self.proxy_status = 0
        self.words = ""
        self.error: BaseException | None = None
        self.response: dict[str, str] = {}
        self.round_trip_seconds = 0.0

    @property
    def is_special(self) -> bool:
        """Whether it needs a handle of its own."""
        return bool(self.byte_range or self.headers or self.reads_headers or self.reads_errors)

    @property
    def ok(self) -> bool:
        """Whether the whole body has come."""
        return self.code == 0 and self.error is None and self.status == (206 if self.byte_range else 200)


class Pool:
    """Runs requests; at most one thread may use it.

    Parameters
    ----------
    route
        The way to the store.
    connections
        How many connections are kept.
    stall_seconds
        A connection that brings next to nothing for this long is ended.
    rate_bytes
        Limit of the bytes a second; no limit if None.
    """

    def __init__(
        self, route: Route, connections: int, stall_seconds: float, rate_bytes: float | None = None
    ) -> None:
        self._route = route
        self._stall_seconds = max(1, round(stall_seconds))
        self._free: list[Any] = []
        self._busy: dict[Any, Get] = {}
        self._due: float | None = None
        self._watched: dict[int, int] = {}
        self._pace = Pace(rate_bytes) if rate_bytes else None
        self._buffer_bytes = _BUFFER_BYTES
        if rate_bytes:
            self._buffer_bytes = min(
                _BUFFER_BYTES, max(_LEAST_BUFFER_BYTES, int(_BUFFER_SECONDS * rate_bytes))
            )
        self.received_bytes = 0
        self._selector = selectors.DefaultSelector()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._busy)

    def start(self, get: Get) -> None:
        """Start a request."""
        get.begin()
        handle = self._free.pop() if self._free else self._new_handle()
        handle.setopt(pycurl.URL, get.url)
        handle.setopt(pycurl.WRITEFUNCTION, self._taker(get))
        if get.is_special:
            self._set_apart(handle, get)
        self._busy[handle] = get
        self._multi.add_handle(handle)

    def wait(self, seconds: float) -> None:
        """Move bytes for at most so long, and call `then` of each request that has ended."""
        if pause := self._pause_seconds():
            time.sleep(min(seconds, pause))  # what comes meanwhile waits in the kernel, and then at the store
            return
        if self._due is not None:
            seconds = min(seconds, self._due - time.monotonic())
        multi = self._multi
        for key, mask in self._selector.select(max(0.0, seconds)):
            multi.socket_action(key.fd, _flags(mask))
            if self._pause_seconds():
                break
        if self._due is not None and time.monotonic() >= self._due:
            self._due = None
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        left = 1
        while left:
            left, finished, failed = multi.info_read()
            for handle in finished:
                self._end(handle, 0, "")
            for handle, code, words in failed:
                self._end(handle, code, words)

    def _pause_seconds(self) -> float:
        return 0.0 if self._pace is None else self._pace.pause(self.received_bytes)

    def set_rate(self, rate_bytes: float) -> None:
        """Change the limit of the rate, if there is one; another thread may do that."""
        if self._pace is not None:
            self._pace.rate = rate_bytes

    def close(self) -> None:
        """End all requests and connections."""
        for handle in self._busy:
            self._multi.remove_handle(handle)
        for handle in (*self._busy, *self._free):
            handle.close()
        self._busy.clear()
        self._free.clear()
        self._multi.close()
        self._selector.close()

    def _end(self, handle: Any, code: int, words: str) -> None:
        get = self._busy.pop(handle)
        get.code, get.words = code, words
        get.status = handle.getinfo(pycurl.RESPONSE_CODE)
        get.proxy_status = handle.getinfo(pycurl.HTTP_CONNECTCODE)
        get.round_trip_seconds = handle.getinfo(pycurl.STARTTRANSFER_TIME) - handle.getinfo(
            pycurl.PRETRANSFER_TIME
        )
        target = handle.getinfo(pycurl.REDIRECT_URL) if get.status in _REDIRECTS else None
        self._multi.remove_handle(handle)
        if get.is_special:
            handle.close()  # its special options do not apply to another request
        else:
            self._free.append(handle)
        if target and get.redirects < _MOST_REDIRECTS and may_lead_to(get.url, target):
            get.url, get.redirects = urljoin(get.url, target), get.redirects + 1
            self.start(get)
            return
        get.then(get)

    def _taker(self, get: Get) -> Callable[[bytes], int | None]:
        take = get.take

        def on_bytes(chunk: bytes) -> int | None:
            if get.is_object:
                self.received_bytes += len(chunk)
            try:
                take(chunk)
            except (Excess, OSError) as error:
                get.error = error
                return 0
            return None

        return on_bytes

    def _set_apart(self, handle: Any, get: Get) -> None:
        if get.reads_errors:
            handle.setopt(pycurl.FAILONERROR, 0)
        if get.byte_range:
            handle.setopt(pycurl.RANGE, get.byte_range)
        if get.headers:
            handle.setopt(pycurl.HTTPHEADER, [*self._usual_headers(), *get.headers])

        def on_header(line: bytes) -> int | None:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                get.response[name.strip().lower()] = value.strip()
            elif name.startswith("HTTP/"):
                get.response = {"": name.strip()}
            elif not name.strip() and get.byte_range and " 200" in get.response.get("", ""):
                # The server ignores ranges: its bytes do not belong where these should go.
                get.error = OSError("the server does not send ranges")
                return 0
            return None

        handle.setopt(pycurl.HEADERFUNCTION, on_header)

    def _usual_headers(self) -> list[str]:
        token = self._route.session_token
        return [f"x-amz-security-token: {token}"] if token else []

    def _new_handle(self) -> Any:
        route, handle = self._route, pycurl.Curl()
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.USERAGENT, f"dataset-dl/{__version__}"),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.BUFFERSIZE, self._buffer_bytes),
            (pycurl.FAILONERROR, 1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.CONNECTTIMEOUT, CONNECT_SECONDS),
            (pycurl.LOW_SPEED_LIMIT, 16),
            (pycurl.LOW_SPEED_TIME, self._stall_seconds),
            (pycurl.TCP_KEEPALIVE, 1),
            (_DNS_SHUFFLE_ADDRESSES, 1),
            # Set even if empty: otherwise libcurl reads the environment.
            (pycurl.PROXY, route.proxy),
            (pycurl.NOPROXY, ""),
        ):
            handle.setopt(option, value)
        if route.proxy_credentials:
            handle.setopt(pycurl.PROXYUSERPWD, route.proxy_credentials)
        if route.authorities:
            handle.setopt(pycurl.CAINFO, route.authorities)
            handle.setopt(pycurl.PROXY_CAINFO, route.authorities)
        else:
            handle.setopt(pycurl.SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)
            handle.setopt(pycurl.PROXY_SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)
        if route.signature:
            handle.setopt(pycurl.AWS_SIGV4, route.signature)
            handle.setopt(pycurl.USERPWD, route.credentials)
        if self._usual_headers():
            handle.setopt(pycurl.HTTPHEADER, self._usual_headers())
        return handle

    def _on_socket(self, what: int, descriptor: int, multi: object, data: object) -> None:
        mask = _MASKS.get(what, 0)
        known = self._watched.pop(descriptor, None)
        if known is not None and (mask == 0 or mask != known):
            with suppress(KeyError, OSError, ValueError):
                if mask:
                    self._selector.modify(descriptor, mask)
                else:
                    self._selector.unregister(descriptor)
        elif mask and known is None:
            self._selector.register(descriptor, mask)
        if mask:
            self._watched[descriptor] = mask

    def _on_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


_MASKS = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}


def _flags(mask: int) -> int:
    reads = pycurl.CSELECT_IN if mask & selectors.EVENT_READ else 0
    return reads | (pycurl.CSELECT_OUT if mask & selectors.EVENT_WRITE else 0)
