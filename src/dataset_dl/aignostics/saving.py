"""The unfinished file of an object: continued by any later run, checked, then renamed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType

from google_crc32c import extend

# No row of a plan names a file with a dot at its beginning, so an unfinished file hides no finished one.
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.(?P<generation>\d+)\.part")
_READ_BYTES = 1 << 20
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Partial:
    """The bytes of an object that have come so far, from its beginning.

    The name holds the generation, so bytes of different contents of an object are never joined; those of
    another generation are removed.

    Parameters
    ----------
    path
        The final path.
    generation
        The content of the object that is fetched.
    size_bytes
        Its size.

    Attributes
    ----------
    position
        How many bytes are there.
    crc32c
        Their checksum.
    """

    def __init__(self, path: Path, generation: int, size_bytes: int) -> None:
        self._target = path
        self._path = path.with_name(f".{path.name}.{generation}.part")
        _remove_others(self._path, path.name)
        self._descriptor = os.open(self._path, _FLAGS, 0o666)
        self.position = self.crc32c = 0
        try:
            self._take_up(size_bytes)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self.position += len(data)
        self.crc32c = extend(self.crc32c, data)

    def restart(self) -> None:
        """Forget what has come."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.position = self.crc32c = 0

    def finish(self) -> None:
        """Give the file its name; a link in that place is replaced, not followed."""
        self.close()
        self._path.replace(self._target)

    def close(self) -> None:
        """Close the file; it stays for another run."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take_up(self, size_bytes: int) -> None:
        """Go on with what an earlier run has written, whose checksum is computed anew."""
        if os.fstat(self._descriptor).st_size > size_bytes:
            self.restart()
        while chunk := os.read(self._descriptor, _READ_BYTES):
            self.crc32c = extend(self.crc32c, chunk)
            self.position += len(chunk)


def _remove_others(unfinished: Path, name: str) -> None:
    """Remove what is unfinished of other generations, and a link in place of the unfinished file."""
    for each in unfinished.parent.iterdir():
        match = _UNFINISHED.fullmatch(each.name)
        if match and match["name"] == name and each != unfinished:
            each.unlink(missing_ok=True)
    if unfinished.is_symlink():
        unfinished.unlink()
