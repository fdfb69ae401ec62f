"""Bodies in several parts, ``multipart/related`` (RFC 2387): split as they arrive, and made to be sent."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dataset_dl.pixels.unreadable import Unreadable

_MOST_HEADER_BYTES = 64 << 10
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)

# Of a part: its headers when it begins, bytes of it, and None when it ends.
Piece = Mapping[str, str] | bytes | None


def boundary_of(content_type: str) -> bytes:
    """Return the boundary in a Content-Type.

    Raises
    ------
    Unreadable
        If it is not of several parts.
    """
    match = _BOUNDARY.search(content_type)
    if match is None or not content_type.lower().lstrip().startswith("multipart/"):
        raise Unreadable(f"it sent {content_type or 'something'} in place of several parts")
    return (match[1] or match[2]).encode("latin-1", "replace")


def split(chunks: Iterable[bytes], boundary: bytes) -> Generator[Piece, None, None]:
    """Split a body into its parts while it arrives.

    Raises
    ------
    Unreadable
        If it ends before its last part does.
    """
    delimiter = b"\r\n--" + boundary
    source = iter(chunks)
    # What precedes the first boundary has no meaning; a body may begin with it at once.
    rest = yield from _until(b"\r\n", source, delimiter, is_told=False)
    while True:
        rest, is_last = _after(rest, source)
        if is_last:
            return
        headers, rest = _headers(rest, source)
        yield headers
        rest = yield from _until(rest, source, delimiter, is_told=True)
        yield None


def _until(
    rest: bytes, source: Iterator[bytes], delimiter: bytes, *, is_told: bool
) -> Generator[bytes, None, bytes]:
    """Yield the bytes before the next delimiter; return those behind it."""
    overlap = len(delimiter) - 1
    while True:
        at = rest.find(delimiter)
        if at >= 0:
            if at and is_told:
                yield rest[:at]
            return rest[at + len(delimiter) :]
        keep = len(rest) - overlap
        if keep > 0:
            if is_told:
                yield rest[:keep]
            rest = rest[keep:]
        rest += _next(source)


def _after(rest: bytes, source: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what follows the line of a delimiter, and whether it was the last one."""
    while len(rest) < 2:
        rest += _next(source)
    if rest[:2] == b"--":
        for _ in source:  # the connection can be used again once all is read
            pass
        return b"", True
    while (end := rest.find(b"\r\n")) < 0:
        if len(rest) > _MOST_HEADER_BYTES:
            raise Unreadable("a boundary does not end its line")
        rest += _next(source)
    return rest[end:], False


def _headers(rest: bytes, source: Iterator[bytes]) -> tuple[dict[str, str], bytes]:
    """Return the headers of a part, by their names in lower case, and what follows them."""
    while (end := rest.find(b"\r\n\r\n")) < 0:
        if len(rest) > _MOST_HEADER_BYTES:
            raise Unreadable("the header of a part does not end")
        rest += _next(source)
    lines = rest[:end].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}, rest[end + 4 :]


def _next(source: Iterator[bytes]) -> bytes:
    chunk = next(source, None)
    if chunk is None:
        raise Unreadable("it ended before its last part did")
    return chunk


class Body:
    """A body of several files, which can be sent more than once, and whose length is known.

    Parameters
    ----------
    files
        The bytes of each.
    boundary
        What separates them; it must not occur in them, so it should be random.
    content_type
        That of every part.
    """

    def __init__(self, files: Sequence[Any], boundary: str, content_type: str = "application/dicom") -> None:
        self._files = files
        self._head = f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode()
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self._length = sum(len(each) + len(self._head) for each in files) + len(self._end)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        for each in self._files:
            yield self._head
            yield each
        yield self._end
