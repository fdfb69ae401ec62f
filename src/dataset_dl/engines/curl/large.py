"""Write a large object in pieces, each at its place in one file.

Beside it stands a list of the pieces that are complete, so another run takes both over and goes on with the
others. The name of that file contains the ETag, so a piece of another version of the object never joins it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from dataset_dl.engines.curl.saving import FLAGS, compare, md5, remove, write
from dataset_dl.engines.leftovers import LARGE

PIECE_BYTES = 32 << 20
# From here on an object is fetched in pieces.
LARGE_BYTES = 2 * PIECE_BYTES
_READ_BYTES = 1 << 20


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
        Identifies the time since this machine has started. What is from an earlier time, or of another
        machine, is fetched again: it may have been lost although the list of pieces names it.
    token
        The token of the run.
    """

    def __init__(
        self, path: str, size_bytes: int, etag: str, *, hashed: bool, boot: str, token: str = "0"
    ) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.etag = etag
        stem = f"{path}.{re.sub(r'[^0-9A-Za-z-]', '', etag)}.{token}"
        self._data, self._list = f"{stem}.large", f"{stem}.pieces"
        self._head = f"{boot} {size_bytes} {PIECE_BYTES}\n".encode()
        self._take_over()
        self._done = self._read_list()
        self._descriptor = os.open(self._data, (FLAGS & ~os.O_WRONLY) | os.O_RDWR, 0o666)
        if not self._done:
            os.ftruncate(self._descriptor, size_bytes)
        self._record = os.open(self._list, FLAGS | os.O_APPEND, 0o666)
        if not self._done:
            os.ftruncate(self._record, 0)
            write(self._record, [self._head])
        self._digest = md5() if hashed else None
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
        write(self._descriptor, chunks)
        if self._digest is not None and offset == self._hashed_bytes:
            for chunk in chunks:
                self._digest.update(chunk)
                self._hashed_bytes += len(chunk)

    def finish(self, piece: tuple[int, int]) -> bool:
        """Record that a piece is complete; return whether all are."""
        write(self._record, [b"%d %d\n" % piece])
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
        is_proven = compare(self._digest, self.etag)
        self.close()
        os.replace(self._data, self.path)
        remove(self._list)
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
        remove(self._data)
        remove(self._list)

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

    def _take_over(self) -> None:
        """Take over what another run has of this version of the object; remove what is of other versions.

        A run that still writes goes on writing the same bytes to the same file, but can no longer name it.
        """
        directory, name = os.path.split(self.path)
        own = LARGE.fullmatch(os.path.basename(self._data))
        assert own is not None, "the name is made as the pattern says"
        for each in sorted(os.listdir(directory)):
            match = LARGE.fullmatch(each)
            target = self._data if match is not None and match["kind"] == "large" else self._list
            whole = os.path.join(directory, each)
            if match is None or match["name"] != name or whole == target:
                continue
            if match["etag"] == own["etag"] and not os.path.lexists(target):
                with suppress(OSError):
                    os.rename(whole, target)
            else:
                remove(whole)
