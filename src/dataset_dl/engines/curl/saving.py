"""Write objects to files: under a name of their own until they are complete, then renamed.

A large object is fetched in pieces, each written at its place in one file. Beside it stands a list of the
pieces that are complete, so another run goes on with the others. The name of that file contains the ETag, so
a piece of another version of the object never joins it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress

from dataset_dl.engines.leftovers import LARGE

PIECE_BYTES = 32 << 20
# From here on an object is fetched in pieces.
LARGE_BYTES = 2 * PIECE_BYTES
# Objects up to this size are written in one go, which takes half as many calls.
SMALL_BYTES = 128 << 10
# Larger objects are written in portions: each call has its price, but what waits for long has to be brought
# back into the caches of the processor, and that costs a fifth of the time.
GATHERED_BYTES = 64 << 10
_READ_BYTES = 1 << 20
# What `writev` takes on every system.
_MOST_AT_ONCE = 1024

_PLAIN_ETAG = re.compile(r"[0-9a-f]{32}")
_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Excess(Exception):
    """More bytes came than the store had listed."""


class Differs(Exception):
    """What came has another MD5 sum than the store lists."""


class Small:
    """A small object, kept in memory until it is complete."""

    def __init__(self, path: str, size_bytes: int | None, *, hashed: bool) -> None:
        self.path = path
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
            self._file = Whole(self.path, self._expected, hashed=self._hashed)
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
        digest = _md5() if self._hashed else None
        if digest is not None:
            for chunk in self._chunks:
                digest.update(chunk)
        is_proven = _compare(digest, etag)
        unfinished = f"{self.path}.part"
        descriptor = os.open(unfinished, _FLAGS | os.O_TRUNC, 0o666)
        try:
            try:
                _write(descriptor, self._chunks)
            finally:
                os.close(descriptor)
            os.replace(unfinished, self.path)
        except BaseException:
            _remove(unfinished)
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

    def __init__(self, path: str, size_bytes: int | None, *, hashed: bool) -> None:
        self.path = path
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
        is_proven = _compare(self._digest, etag)
        self._flush()
        self._close()
        os.replace(f"{self.path}.part", self.path)
        return is_proven

    def drop(self) -> None:
        """Remove what has come."""
        self._close()
        if self._is_begun:
            _remove(f"{self.path}.part")
        self._is_begun = False
        self.received = self._waiting = 0
        self._chunks: list[bytes] = []
        self._digest = _md5() if self._hashed else None

    def _flush(self) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(f"{self.path}.part", _FLAGS | os.O_TRUNC, 0o666)
            self._is_begun = True
        _write(self._descriptor, self._chunks)
        self._chunks.clear()
        self._waiting = 0

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Large:
    """An object that is fetched in pieces, across runs if need be.

    Parameters
    ----------
    path
        Its final path.
    size_bytes, etag
        As the store lists them. The ETag must not be empty.
    hashed
        Whether to compute the MD5 sum.
    boot
        Identifies the time since this machine has started. What is from an earlier time is fetched again: it
        may have been lost with the power although the list of pieces names it.
    """

    def __init__(self, path: str, size_bytes: int, etag: str, *, hashed: bool, boot: str) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.etag = etag
        stem = f"{path}.{re.sub(r'[^0-9A-Za-z-]', '', etag)}"
        self._data, self._list = f"{stem}.large", f"{stem}.pieces"
        self._head = f"{boot} {size_bytes} {PIECE_BYTES}\n".encode()
        self._remove_others()
        self._done = self._read_list()
        self._descriptor = os.open(self._data, (_FLAGS & ~os.O_WRONLY) | os.O_RDWR, 0o666)
        if not self._done:
            os.ftruncate(self._descriptor, size_bytes)
        self._record = os.open(self._list, _FLAGS | os.O_APPEND, 0o666)
        if not self._done:
            os.ftruncate(self._record, 0)
            _write(self._record, [self._head])
        self._digest = _md5() if hashed else None
        self._hashed_bytes = 0

    @property
    def present_bytes(self) -> int:
        """Bytes of the pieces that are complete."""
        return sum(end - begin for begin, end in self._done)

    def missing(self) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each piece that is not complete."""
        for begin in range(0, self.size_bytes, PIECE_BYTES):
            piece = begin, min(begin + PIECE_BYTES, self.size_bytes)
            if piece not in self._done:
                yield piece

    def write(self, offset: int, chunks: list[bytes]) -> None:
        """Write bytes at their place."""
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        _write(self._descriptor, chunks)
        if self._digest is not None and offset == self._hashed_bytes:
            for chunk in chunks:
                self._digest.update(chunk)
                self._hashed_bytes += len(chunk)

    def finish(self, piece: tuple[int, int]) -> bool:
        """Record that a piece is complete; return whether all are."""
        _write(self._record, [b"%d %d\n" % piece])
        self._done.add(piece)
        return next(self.missing(), None) is None

    def save(self) -> bool:
        """Give the file its name; return whether its MD5 sum was compared with the ETag.

        Raises
        ------
        Differs
            If they differ; the file keeps its unfinished name then.
        """
        if self._digest is not None:
            self._hash_the_rest()
        is_proven = _compare(self._digest, self.etag)
        self.close()
        os.replace(self._data, self.path)
        _remove(self._list)
        return is_proven

    def close(self) -> None:
        """Close the files; they stay for another run."""
        for descriptor in (self._descriptor, self._record):
            with suppress(OSError):
                os.close(descriptor)
        # Pieces that still arrive must fail, not write to what has these numbers next.
        self._descriptor = self._record = -1

    def drop(self) -> None:
        """Remove what has come."""
        self.close()
        _remove(self._data)
        _remove(self._list)

    def _hash_the_rest(self) -> None:
        """Hash what did not come in order; it is read again, mostly from memory."""
        assert self._digest is not None
        os.lseek(self._descriptor, self._hashed_bytes, os.SEEK_SET)
        while chunk := os.read(self._descriptor, _READ_BYTES):
            self._digest.update(chunk)

    def _read_list(self) -> set[tuple[int, int]]:
        try:
            with open(self._list, "rb") as file:
                if file.readline() != self._head or os.path.getsize(self._data) != self.size_bytes:
                    return set()
                lines = [line.split() for line in file if line.endswith(b"\n")]
        except OSError:
            return set()
        pieces = {(int(begin), int(end)) for begin, end in lines}
        return pieces & {
            (begin, min(begin + PIECE_BYTES, self.size_bytes))
            for begin in range(0, self.size_bytes, PIECE_BYTES)
        }

    def _remove_others(self) -> None:
        """Remove what an earlier run has of another version of the object."""
        directory, name = os.path.split(self.path)
        for each in os.listdir(directory):
            match = LARGE.fullmatch(each)
            whole = os.path.join(directory, each)
            if match and match["name"] == name and whole not in (self._data, self._list):
                _remove(whole)


def _compare(digest: hashlib._Hash | None, etag: str) -> bool:
    """Compare an MD5 sum with an ETag, if both are there."""
    if digest is None or not _PLAIN_ETAG.fullmatch(etag):
        return False
    if digest.hexdigest() != etag:
        raise Differs
    return True


def _write(descriptor: int, chunks: list[bytes]) -> None:
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


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
