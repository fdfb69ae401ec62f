"""An instance that is coming, in memory or on its way to the disk."""

from __future__ import annotations

import filecmp
import os
import struct
from pathlib import Path
from typing import IO

from dataset_dl.pixels.identity import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    Identity,
    identify,
    identity_of,
    is_uid,
)

# Larger ones go to the disk while they come.
_SMALL_BYTES = 4 << 20


class Arriving:
    """An instance that is coming; takes bytes like a file.

    Parameters
    ----------
    path
        Where it goes before it has its name.
    before
        What precedes the data set.
    """

    def __init__(self, path: Path, before: bytes = b"") -> None:
        self._path = path
        self._parts: list[bytes] = [before] if before else []
        self._file: IO[bytes] | None = None
        self.problem: OSError | None = None
        self.size_bytes = len(before)

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; a disk that is full is told in the end, when the sender awaits an answer."""
        if self.problem is not None:
            return
        self.size_bytes += len(data)
        if self._file is None:
            self._parts.append(bytes(data))
            if self.size_bytes <= _SMALL_BYTES:
                return
        try:
            if self._file is None:
                self._file = self._path.open("wb")
                data = b"".join(self._parts)
                self._parts = []
            self._file.write(data)
        except OSError as error:
            self.problem = error

    def identity(self) -> Identity:
        """Return which instance it is.

        Raises
        ------
        Unreadable
            If it is no DICOM, or cut off.
        OSError
            If it could not be written.
        """
        if self.problem is not None:
            raise self.problem
        if self._file is not None:
            return identify(self._path)
        self._parts = [b"".join(self._parts)]
        return identity_of(self._parts[0])

    def keep(self, target: Path, *, is_synced: bool) -> None:
        """Give it its name; `is_synced`: only when the disk has it.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with self._file or self._path.open("wb") as file:
            for part in self._parts:
                file.write(part)
            if is_synced:
                os.fsync(file.fileno())
        self._path.replace(target)
        if is_synced:
            _sync_directory(target.parent)

    def is_same(self, other: Path) -> bool:
        """Whether a file has the same bytes."""
        if self._file is not None:
            return filecmp.cmp(self._path, other, shallow=False)
        return other.read_bytes() == b"".join(self._parts)

    def drop(self) -> None:
        """Forget it."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


def meta(sop_class: str, uid: str, syntax: str, ae_title: str) -> bytes:
    """Return what precedes a data set in a file: the preamble and the file meta information (PS3.10, 7.1)."""
    parts = [_element(0x0001, b"OB", b"\0\1")]
    uid = uid if is_uid(uid) else ""  # the data set has it, too, and is checked
    for tag, text in (
        (0x0002, sop_class),
        (0x0003, uid),
        (0x0010, syntax),
        (0x0012, IMPLEMENTATION_CLASS_UID),
    ):
        parts.append(_element(tag, b"UI", text.encode("ascii", "replace"), b"\0"))
    parts.append(_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode(), b" "))
    parts.append(_element(0x0016, b"AE", ae_title.encode("ascii", "replace"), b" "))
    body = b"".join(parts)
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(body))) + body


def _element(tag: int, vr: bytes, value: bytes, padding: bytes = b"\0") -> bytes:
    value += padding * (len(value) % 2)
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, tag, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, tag, vr, len(value)) + value


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # which has no such call, and needs none
        return
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
