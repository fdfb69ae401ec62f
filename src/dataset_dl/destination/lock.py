"""Locks of a destination: one writer of the whole, or several with a part each."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dataset_dl.destination.disk import is_link
from dataset_dl.destination.paths import files_of, identity, parts
from dataset_dl.errors import StorageError

# A writer of a part takes the lock of the whole only to see that it is free, and waits for others doing that.
_GLANCE_SECONDS = 5.0


class Hold:
    """The right to write to a destination, or to a part of it."""

    def __init__(self, destination: Path, part: str = "") -> None:
        self._destination = destination
        self._records = files_of(destination, part).folder
        self._identity = self._look()

    def check(self) -> None:
        """Make sure that the destination is still the one that is held.

        Raises
        ------
        StorageError
            If it is gone, like a lost mount, or another directory has taken its place.
        """
        if self._look() != self._identity:
            raise StorageError(
                str(self._destination),
                f"{self._destination} is no longer there: was it moved, or its disk unmounted?"
                " Finished files stay where they are.",
                "Bring it back, then run the same command again to continue.",
            )

    def _look(self) -> list[int]:
        try:
            return [*identity(self._destination), *identity(self._records)]
        except OSError:
            return []


@contextmanager
def hold(destination: Path, part: str = "") -> Iterator[Hold]:
    """Lock a destination that `prepare` has created, or a part of it; the lock ends with the process.

    A writer of the whole and one of a part exclude each other: each takes its own lock first and then checks
    the other's, so the second one sees the first.

    Raises
    ------
    StorageError
        If another download holds it; the message names its process.
    """
    folder = files_of(destination, part).folder
    _refuse_links(folder)
    holder = folder / "holder.json"
    lock = _lock(folder)
    _acquire(lock, destination, folder, 0)
    owner = os.getpid()
    try:
        if part:
            _glance(destination, files_of(destination).folder, _GLANCE_SECONDS)
        else:
            for name in parts(destination):
                _glance(destination, files_of(destination, name).folder, 0)
        own = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        holder.write_text(json.dumps(own), encoding="utf-8")
        yield Hold(destination, part)
    finally:
        if os.getpid() == owner:  # after a fork, the lock belongs to the parent
            holder.unlink(missing_ok=True)
            lock.release()


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / "lock", timeout=0, thread_local=False)


def _glance(destination: Path, folder: Path, timeout_seconds: float) -> None:
    """Make sure that nobody holds a folder of records."""
    lock = _lock(folder)
    _acquire(lock, destination, folder, timeout_seconds)
    lock.release()


def _acquire(lock: FileLock, destination: Path, folder: Path, timeout_seconds: float) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file system without locks
            lock.acquire(timeout=timeout_seconds, poll_interval=0.02)
    except Timeout:
        raise StorageError(
            str(destination),
            f"Another download writes to {destination}{_holder(folder / 'holder.json')};"
            " nothing was started.",
            "Wait for it to end, or choose another destination.",
        ) from None
    except OSError as error:
        # Some network file systems have no locks; there, the user has to avoid two writers.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise


def _refuse_links(records: Path) -> None:
    """Refuse records that are links, pipes or other special files."""
    for path in [records, *records.iterdir()]:
        if path.is_symlink():
            raise is_link(path)
        if not (path.is_file() or path.is_dir()):
            raise StorageError(
                str(path),
                f"{path} is neither a file nor a directory, so the records of {records.parent} cannot be"
                " trusted; nothing was started.",
                "Remove it.",
            )


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f" (process {found['pid']} on {found['host']}, since {found['since']})"
    except (OSError, ValueError, LookupError):
        return ""
