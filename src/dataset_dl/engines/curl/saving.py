"""Write objects to files: under a name of their own until they are complete, then renamed.

The name of an unfinished file contains the token of its run. So a run that another one has replaced, and that
was only frozen, cannot give a file its final name that the other one is writing.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress

# Objects up to this size are written in one go, which takes half as many calls.
SMALL_BYTES = 128 << 10
# Larger objects are written in portions: each call has its price, but what waits for long has to be brought
# back into the caches of the processor, and that costs a fifth of the time.
GATHERED_BYTES = 64 << 10
# What `writev` takes on every system.
_MOST_AT_ONCE = 1024

_PLAIN_ETAG = re.compile(r"[0-9a-f]{32}")
FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Excess(Exception):
    """More bytes came than the store had listed."""


class Differs(Exception):
    """What came has another MD5 sum than the store lists."""


class Small:
    """A small object, kept in memory until it is complete."""

    def __init__(self, path: str, size_bytes: int | None, *, hashed: bool, token: str = "0") -> None:
        self.path = path
        self._token = token
        self._expected = size_bytes
        self._hashed = hashed
        self._chunks: list[bytes] = []
        self.received = 0
        self._file: Whole | None = None

    def take(self, chunk: bytes) -> None:
        """Add bytes."""
        if self._file is not None:
            self._file.take(chunk)
            return
        self.received += len(chunk)
        if self._expected is not None and self.received > self._expected:
            raise Excess
        self._chunks.append(chunk)
        if self.received > SMALL_BYTES:  # only if its size is unknown
            self._file = Whole(self.path, self._expected, hashed=self._hashed, token=self._token)
            for each in self._chunks:
                self._file.take(each)
            self._chunks.clear()

    def save(self, etag: str = "") -> bool:
        """Write the file; return whether its MD5 sum was compared with an ETag.

        Raises
        ------
        Differs
            If they differ; nothing is written then.
        """
        if self._file is not None:
            return self._file.save(etag)
        digest = md5() if self._hashed else None
        if digest is not None:
            for chunk in self._chunks:
                digest.update(chunk)
        is_proven = compare(digest, etag)
        unfinished = f"{self.path}.{self._token}.part"
        descriptor = os.open(unfinished, FLAGS | os.O_TRUNC, 0o666)
        try:
            try:
                write(descriptor, self._chunks)
            finally:
                os.close(descriptor)
            os.replace(unfinished, self.path)
        except BaseException:
            remove(unfinished)
            raise
        return is_proven

    def drop(self) -> None:
        """Forget what has come."""
        if self._file is not None:
            self._file.drop()
        self._file = None
        self._chunks.clear()
        self.received = 0


class Whole:
    """An object that is written as it comes."""

    def __init__(self, path: str, size_bytes: int | None, *, hashed: bool, token: str = "0") -> None:
        self.path = path
        self._unfinished = f"{path}.{token}.part"
        self._expected = size_bytes
        self._hashed = hashed
        self._descriptor: int | None = None
        self._is_begun = False
        self.drop()

    def take(self, chunk: bytes) -> None:
        """Write bytes."""
        self.received += len(chunk)
        if self._expected is not None and self.received > self._expected:
            raise Excess
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting >= GATHERED_BYTES:
            self._flush()
        if self._digest is not None:
            self._digest.update(chunk)

    def save(self, etag: str = "") -> bool:
        """Give the file its name; return whether its MD5 sum was compared with an ETag.

        Raises
        ------
        Differs
            If they differ; the file keeps its unfinished name then.
        """
        is_proven = compare(self._digest, etag)
        self._flush()
        self._close()
        os.replace(self._unfinished, self.path)
        return is_proven

    def drop(self) -> None:
        """Remove what has come."""
        self._close()
        if self._is_begun:
            remove(self._unfinished)
        self._is_begun = False
        self.received = self._waiting = 0
        self._chunks: list[bytes] = []
        self._digest = md5() if self._hashed else None

    def _flush(self) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self._unfinished, FLAGS | os.O_TRUNC, 0o666)
            self._is_begun = True
        write(self._descriptor, self._chunks)
        self._chunks.clear()
        self._waiting = 0

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def compare(digest: hashlib._Hash | None, etag: str) -> bool:
    """Compare an MD5 sum with an ETag, if both are there."""
    if digest is None or not _PLAIN_ETAG.fullmatch(etag):
        return False
    if digest.hexdigest() != etag:
        raise Differs
    return True


def write(descriptor: int, chunks: list[bytes]) -> None:
    """Write all bytes at the current place; the system may take fewer at a time."""
    if 1 < len(chunks) <= _MOST_AT_ONCE and hasattr(os, "writev"):
        written = os.writev(descriptor, chunks)
        if written == sum(map(len, chunks)):
            return
        chunks = [b"".join(chunks)[written:]]
    for chunk in chunks:
        left = memoryview(chunk)
        while left:
            left = left[os.write(descriptor, left) :]


def md5() -> hashlib._Hash:
    """Begin an MD5 sum."""
    return hashlib.md5(usedforsecurity=False)


def remove(path: str) -> None:
    """Remove a file, if that can be done."""
    with suppress(OSError):
        os.unlink(path)
