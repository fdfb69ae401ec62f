"""Read parts of many objects at once, from a store, any web server or the disk."""

from __future__ import annotations

import math
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

import urllib3

from dataset_dl.errors import NetworkError, StorageError
from dataset_dl.network.many import ManyRequests
from dataset_dl.network.rules import plain_words
from dataset_dl.network.settings import NetworkSettings, without_secrets
from dataset_dl.wording import size

T = TypeVar("T")
R = TypeVar("R")
# Threads of Python hinder each other, so there are no more than the distance of the server asks for.
AT_ONCE, _AT_ONCE_NEAR = 32, 6
_FAR_SECONDS = 0.015
MOST_BYTES = 64 << 20
_TRIES = 3
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


class Part(NamedTuple):
    """A part of an object.

    Attributes
    ----------
    data
        Its bytes; fewer than requested where the object ends.
    total_bytes
        Bytes of the whole object.
    etag
        What identifies this version of the object; empty if unknown.
    """

    data: bytes
    total_bytes: int
    etag: str


class Ranges:
    """Reads parts of objects.

    Parameters
    ----------
    network
        Network settings.
    at_once
        How many at once.
    most_bytes
        A server that does not send ranges sends the whole object; larger ones are refused.

    Attributes
    ----------
    requests, received_bytes
        What was requested and received so far.
    """

    def __init__(
        self, network: NetworkSettings, *, at_once: int = AT_ONCE, most_bytes: int = MOST_BYTES
    ) -> None:
        self._many = ManyRequests(network, at_once)
        self._threads: ThreadPoolExecutor | None = None
        self._at_once = at_once
        self.most_bytes = most_bytes
        self._fastest_seconds = math.inf
        self.requests = self.received_bytes = 0

    def __enter__(self) -> Ranges:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what has not begun, and close all connections."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)  # a request may take a minute
            self._threads = None
        self._many.close()

    def read(self, place: str, begin: int, end: int, etag: str = "") -> Part:
        """Return the bytes from `begin` to before `end`; any thread may call this.

        Parameters
        ----------
        place
            An HTTP address, or a path on the disk.
        begin, end
            Offsets. An `end` behind that of the object is allowed.
        etag
            The version to read; any if empty.

        Raises
        ------
        NetworkError
            If they cannot be had, or the object was replaced, or is larger than `most_bytes` and the server
            does not send parts.
        StorageError
            If the file cannot be read.
        """
        if not place.startswith(("http://", "https://")):
            return _read_file(place, begin, end)
        for attempt in range(1, _TRIES + 1):
            try:
                return self._request(place, begin, end, etag)
            except urllib3.exceptions.HTTPError:
                if attempt == _TRIES:
                    with plain_words(place):
                        raise
        raise AssertionError

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the results of a work that reads, many at once, in the order of the items."""
        several = list(items)
        if len(several) < 2:
            yield from map(work, several)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._at_once, "ranges")
        futures: deque[Future[R]] = deque(Future() for _ in several)
        queue = deque(zip(several, futures, strict=True))
        runners = min(_AT_ONCE_NEAR, self._at_once, len(several))
        for _ in range(runners):
            self._threads.submit(_run, work, queue)
        try:
            while futures:
                yield futures.popleft().result()  # and forget it
                if runners == _AT_ONCE_NEAR and self._is_far:
                    runners = self._at_once
                    for _ in range(min(self._at_once, len(queue)) - _AT_ONCE_NEAR):
                        self._threads.submit(_run, work, queue)
        finally:
            queue.clear()

    @property
    def _is_far(self) -> bool:
        """Whether waiting for a server takes longer than anything else; then more threads are worth it."""
        return self._fastest_seconds > _FAR_SECONDS

    def _request(self, url: str, begin: int, end: int, etag: str) -> Part:
        headers = {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
        if etag:
            headers["If-Match"] = f'"{etag}"'
        self.requests += 1
        began = time.monotonic()
        response = self._many.get(url, headers)
        self._fastest_seconds = min(self._fastest_seconds, time.monotonic() - began)
        try:
            part = self._part(response, url, begin, end)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        if etag and part.etag and part.etag != etag:
            raise _changed(url)
        return part

    def _part(self, response: urllib3.BaseHTTPResponse, url: str, begin: int, end: int) -> Part:
        etag = response.headers.get("ETag", "").strip('"')
        # Some servers send a part with status 200; what it is, Content-Range says.
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 416 and match and begin >= int(match[3]):
            return Part(b"", int(match[3]), etag)
        if response.status not in (200, 206):
            raise _failed(url, response)
        if match and match[1] is not None:
            first, last, total = int(match[1]), int(match[2]), int(match[3])
            if first != begin or last >= max(end, begin + 1) or last < first:
                raise NetworkError(url, f"{without_secrets(url)} sent other bytes than it was asked for.", "")
            data = self._body(response, last - first + 1)
            return Part(data, total, etag)
        if response.status == 206:
            raise NetworkError(url, f"{without_secrets(url)} does not say which bytes it sent.", "")
        return self._whole(response, url, begin, end, etag)

    def _whole(self, response: urllib3.BaseHTTPResponse, url: str, begin: int, end: int, etag: str) -> Part:
        """Take a part of a whole object, from a server that does not send parts."""
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if total is None or total > self.most_bytes:
            how_large = f"all {size(total)} of it" if total else "all of it, without saying how large it is"
            raise NetworkError(
                url,
                f"{without_secrets(url)} is on a server that sends no parts of files, but {how_large};"
                f" at most {size(self.most_bytes)} are read.",
                "Raise --max-bytes, or download it.",
            )
        return Part(self._body(response, total)[begin:end], total, etag)

    def _body(self, response: urllib3.BaseHTTPResponse, length: int) -> bytes:
        data = response.read(length)
        self.received_bytes += len(data)
        if len(data) < length:
            raise urllib3.exceptions.IncompleteRead(len(data), length - len(data))
        response.drain_conn()
        return data


def _run(work: Callable[[T], R], queue: deque[tuple[T, Future[R]]]) -> None:
    """Work until a queue is empty."""
    while True:
        try:
            item, future = queue.popleft()
        except IndexError:
            return
        try:
            future.set_result(work(item))
        except BaseException as error:
            future.set_exception(error)


def _read_file(path: str, begin: int, end: int) -> Part:
    try:
        with Path(path).open("rb") as file:
            file.seek(begin)
            return Part(file.read(end - begin), os.fstat(file.fileno()).st_size, "")
    except OSError as error:
        raise StorageError(path, f"{path} cannot be read: {error.strerror}.") from None


def _changed(url: str) -> NetworkError:
    return NetworkError(
        url, f"{without_secrets(url)} was replaced while it was read.", "The same command reads it anew."
    )


def _failed(url: str, response: urllib3.BaseHTTPResponse) -> NetworkError:
    if response.status == 412:
        return _changed(url)
    meaning = {403: "may not be read without signing in", 404: "does not exist"}.get(
        response.status,
        f"cannot be read: the server answered {response.status} {response.reason or ''}".rstrip(),
    )
    return NetworkError(url, f"{without_secrets(url)} {meaning}.", "Check the address.")
