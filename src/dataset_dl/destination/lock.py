"""The directory that a download goes to: whether it can be used, and what the download keeps there."""

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

from dataset_dl.destination.disk import _is_link
from dataset_dl.destination.paths import _identity, state
from dataset_dl.errors import StorageError


class Hold:
    """Being the only writer of a destination."""

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self._records = state(destination)
        self._identity = self._look()

    def check(self) -> None:
        """Make sure that the destination is still the one that is held.

        Raises
        ------
        StorageError
            If it has gone, like a mount that was lost, or another one stands in its place.
        """
        if self._look() != self._identity:
            raise StorageError(
                str(self._destination),
                f"{self._destination} is no longer there: was it moved, or its disk unmounted?"
                " What was finished is kept where it went.",
                "Bring it back, then run the same command again to go on.",
            )

    def _look(self) -> list[int]:
        try:
            return [*_identity(self._destination), *_identity(self._records)]
        except OSError:
            return []


@contextmanager
def hold(destination: Path) -> Iterator[Hold]:
    """Be the only writer in a destination that `prepare` has made; the hold ends with the process.

    Raises
    ------
    StorageError
        If another download holds it; it is named.
    """
    from filelock import FileLock, Timeout

    _refuse_links(state(destination))
    holder = state(destination) / "holder.json"
    lock = FileLock(state(destination) / "lock", timeout=0, thread_local=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file system without locks
            lock.acquire()
    except Timeout:
        raise StorageError(
            str(destination),
            f"Another download writes to {destination}{_holder(holder)}; nothing was started.",
            "Wait for it to end, or choose another destination.",
        ) from None
    except OSError as error:
        # Some network file systems have no locks; two writers there are the user's to avoid.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    owner = os.getpid()
    try:
        own = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        holder.write_text(json.dumps(own), encoding="utf-8")
        yield Hold(destination)
    finally:
        if os.getpid() == owner:  # a fork has the lock too, but it is its parent's
            holder.unlink(missing_ok=True)
            lock.release()


def _refuse_links(records: Path) -> None:
    """The records of a destination must be its own files, not what a link or a pipe leads to."""
    for path in [records, *records.iterdir()]:
        if path.is_symlink():
            raise _is_link(path)
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
