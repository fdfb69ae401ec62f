"""The series to fetch, in a file that several workers take them from, one by one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

_DIGITS = 20
# The last line.
_END = b"\n"
_AGAIN_SECONDS = 0.01


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


class TaskFile:
    """Writes the file of tasks.

    Parameters
    ----------
    path
        Where to write it.
    """

    def __init__(self, path: Path) -> None:
        from dataset_dl.scratch import writing_scratch  # late, because workers do not need it

        self._writing = writing_scratch
        self._encode = msgspec.json.Encoder().encode
        self.path = path
        with writing_scratch():
            path.touch()
            _mark_of(path).write_bytes(b"0" * _DIGITS)

    def add(self, tasks: Iterable[Task]) -> int:
        """Add tasks; return how many.

        Errors raised by the iterator are not taken for errors of the file.
        """
        file, count = None, 0
        try:
            for task in tasks:
                count += 1
                line = self._encode(task) + b"\n"
                with self._writing():
                    file = file or self.path.open("ab")
                    file.write(line)
        finally:
            if file is not None:
                with self._writing():
                    file.close()
        return count

    def end(self) -> None:
        """Say that there will be no more tasks."""
        with self._writing(), self.path.open("ab") as file:
            file.write(_END)


def take_tasks(path: Path) -> Iterator[Task | None]:
    """Yield tasks that no other process has taken, until there will be no more; None if there is none now."""
    decode = msgspec.json.Decoder(Task).decode
    with path.open("rb") as file, _mark_of(path).open("r+b", buffering=0) as mark:
        while True:
            with _Locked(mark.fileno()):
                mark.seek(0)
                file.seek(int(mark.read(_DIGITS) or b"0"))
                line = file.readline()
                if line == _END:
                    return
                is_whole = line.endswith(b"\n")  # the rest may just be written
                if is_whole:
                    mark.seek(0)
                    mark.write(b"%0*d" % (_DIGITS, file.tell()))
            if is_whole:
                yield decode(line)
                continue
            asked = time.monotonic()
            while time.monotonic() - asked < _AGAIN_SECONDS:
                yield None


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
