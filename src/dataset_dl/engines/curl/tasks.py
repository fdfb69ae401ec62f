"""The series to fetch, in a file that several workers take them from, one by one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

_DIGITS = 20


class Task(msgspec.Struct, array_like=True):
    """A series to fetch.

    Attributes
    ----------
    key, directory
        As in its row.
    bucket_url, prefix
        Where its objects are.
    most_objects
        A list that is longer has no end.
    names, sizes
        The files to fetch and their bytes, None if unknown; no names for all files that the store lists.
    """

    key: str
    directory: str
    bucket_url: str
    prefix: str
    most_objects: int
    names: list[str] = []
    sizes: list[int | None] = []


def write_tasks(tasks: Iterable[Task], path: Path) -> int:
    """Write tasks to a file; return how many.

    Errors raised by the iterator are not taken for errors of the file.
    """
    from dataset_dl.scratch import writing_scratch  # late, because workers do not need it

    encode = msgspec.json.Encoder().encode
    with writing_scratch():
        file = path.open("wb")
    count = 0
    try:
        for task in tasks:
            count += 1
            line = encode(task) + b"\n"
            with writing_scratch():
                file.write(line)
    finally:
        with writing_scratch():
            file.close()
    with writing_scratch():
        _mark_of(path).write_bytes(b"0" * _DIGITS)
    return count


def take_tasks(path: Path) -> Iterator[Task]:
    """Yield tasks that no other process has taken, until none is left."""
    decode = msgspec.json.Decoder(Task).decode
    with path.open("rb") as file, _mark_of(path).open("r+b", buffering=0) as mark:
        while True:
            with _Locked(mark.fileno()):
                mark.seek(0)
                file.seek(int(mark.read(_DIGITS) or b"0"))
                line = file.readline()
                if not line:
                    return
                mark.seek(0)
                mark.write(b"%0*d" % (_DIGITS, file.tell()))
            yield decode(line)


def _mark_of(path: Path) -> Path:
    """Return the file with the position of the next task."""
    return path.with_name(f"{path.name}.next")


class _Locked:
    """A lock on an open file, which ends with its process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        self._set(True)

    def __exit__(self, *error: object) -> None:
        self._set(False)

    def _set(self, locked: bool) -> None:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(self._descriptor, 0, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_LOCK if locked else msvcrt.LK_UNLCK, 1)
            return
        import fcntl

        fcntl.lockf(self._descriptor, fcntl.LOCK_EX if locked else fcntl.LOCK_UN)
