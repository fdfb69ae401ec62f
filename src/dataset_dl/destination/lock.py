"""Locks of a destination: one writer of the whole, or several with a part each."""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from dataset_dl.destination.disk import is_link
from dataset_dl.destination.paths import attempt_name, attempt_of, files_of, identity, parts
from dataset_dl.errors import DestinationBusy, StorageError, Superseded
from dataset_dl.model.part import Part
from dataset_dl.process.kernel import kernel_id

# A writer of a part takes the lock of the whole only to see that it is free, and waits for others doing that.
HOLDER = "holder.json"
_GLANCE_SECONDS, _SHORT_SECONDS = 5.0, 0.2


class Hold:
    """The right to write to a destination, or to a part of it."""

    def __init__(self, destination: Path, part: str = "") -> None:
        self._destination = destination
        self._records = files_of(destination, part).folder
        self._attempt = attempt_of(part)
        self._identity = self._look()

    def check(self) -> None:
        """Make sure that the destination is still the one that is held.

        Raises
        ------
        StorageError
            If it is gone, like a lost mount, or another directory has taken its place.
        Superseded
            If another process has begun a newer attempt at this part.
        """
        if (newer := self._newer()) is not None:
            raise Superseded(
                str(self._destination),
                f"Part {newer[0]} of {self._destination} was begun again by another"
                f" process{newer[1]}, so this one has ended. What it had finished is kept, and the other one"
                " checks it.",
            )
        if self._look() == self._identity:
            return
        if self._attempt is not None and os.path.isdir(self._records.parents[1]):
            raise Superseded(
                str(self._destination),
                f"Part {self._attempt[0]} of {self._destination} was gathered or begun again by another"
                " process, so this one has ended. What it had finished is kept.",
            )
        raise StorageError(
            str(self._destination),
            f"{self._destination} is no longer there: was it moved, or its disk unmounted?"
            " Finished files stay where they are.",
            "Bring it back, then run the same command again to continue.",
        )

    @property
    def is_superseded(self) -> bool:
        """Whether another process has begun a newer attempt at this part, or gathered it."""
        return self._attempt is not None and (self._newer() is not None or self._look() != self._identity)

    def _newer(self) -> tuple[Part, str] | None:
        """Return the part and who has begun it again; None if nobody has."""
        if self._attempt is None:
            return None
        part, number = self._attempt
        folder = self._records.with_name(attempt_name(part, number + 1))
        return (part, _holder(folder / HOLDER)) if os.path.lexists(folder) else None

    def _look(self) -> list[object]:
        try:
            found: list[object] = [*identity(self._destination), *identity(self._records)]
            # A later attempt may have the same number once the parts were gathered, and even the same inode.
            return [*found, (self._records / HOLDER).read_bytes()] if self._attempt is not None else found
        except OSError:
            return []


@contextmanager
def hold(destination: Path, part: str = "") -> Iterator[Hold]:
    """Lock a destination that `prepare` has created, or a part of it; the lock ends with the process.

    A writer of the whole and one of a part exclude each other: each takes its own lock first and then checks
    the other's, so the second one sees the first.

    Raises
    ------
    DestinationBusy
        If another download holds it; the message names its process.
    """
    folder = files_of(destination, part).folder
    _refuse_links(folder)
    holder = folder / HOLDER
    lock = _lock(folder)
    # The records of an attempt are new, so whoever has their lock only looks whether it is held.
    _acquire(lock, destination, folder, _GLANCE_SECONDS if attempt_of(part) else 0)
    owner, text = os.getpid(), ""
    try:
        if part:
            _glance(destination, files_of(destination).folder, _GLANCE_SECONDS)
        else:
            for name in parts(destination):
                _glance(destination, files_of(destination, name).folder, _SHORT_SECONDS)
        own = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S"),
               "kernel": kernel_id(), "token": secrets.token_hex(8)}  # fmt: skip
        text = json.dumps(own)
        holder.write_text(text, encoding="utf-8")
        yield Hold(destination, part)
    finally:
        if os.getpid() == owner:  # after a fork, the lock belongs to the parent
            # A later attempt may have the same name, once the parts were gathered.
            with suppress(OSError):
                if holder.read_text(encoding="utf-8") == text:
                    holder.unlink()
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
        raise DestinationBusy(
            str(destination),
            f"Another download writes to {destination}{_holder(folder / 'holder.json')};"
            " nothing was started.",
            "Wait for it to end, or choose another destination.",
        ) from None
    except OSError as error:
        # Some network file systems have no locks; there, the user has to avoid two writers.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise


class Holder(NamedTuple):
    """What is known of the writer of some records.

    Attributes
    ----------
    is_locked
        Whether a process holds their lock, as far as this machine can tell.
    is_left
        Whether the last writer did not end in order, or is still there.
    is_of_this_kernel
        Whether it ran, or runs, on this machine since this was started.
    words
        Who it is, to be put behind a noun; empty if unknown.
    """

    is_locked: bool
    is_left: bool
    is_of_this_kernel: bool
    words: str


def refuse_writer_of_the_whole(destination: Path) -> None:
    """Make sure that nobody writes the whole of a destination.

    Raises
    ------
    DestinationBusy
        If somebody does.
    """
    _glance(destination, files_of(destination).folder, _GLANCE_SECONDS)


def holder_of(destination: Path, part: str) -> Holder:
    """Look who writes, or has written, the records of a part."""
    folder = files_of(destination, part).folder
    path = folder / HOLDER
    try:
        _glance(destination, folder, 0)
        is_locked = False
    except DestinationBusy:
        is_locked = True
    except OSError:  # on a disk that may only be read, no lock can be tried
        is_locked = False
    try:
        kernel = json.loads(path.read_text(encoding="utf-8")).get("kernel")
    except (OSError, ValueError, AttributeError):
        kernel = None
    return Holder(is_locked, os.path.lexists(path), kernel == kernel_id(), _holder(path))


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
    except (OSError, ValueError, LookupError, TypeError):
        return ""
