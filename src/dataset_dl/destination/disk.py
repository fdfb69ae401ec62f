"""The disk of a destination: whether it is usable, its free space, and symbolic links on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_dl.errors import InsufficientDiskSpace, PlanError, StorageError
from dataset_dl.wording import size

# Room for directories, file system overhead and writes of other processes.
_MARGIN_SHARE = 0.01
_MARGIN_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 4096
# The longest name that nearly every file system accepts.
_USUAL_NAME_BYTES = 255


def check(destination: Path) -> None:
    """Make sure that a directory exists or can be created, without creating it.

    Raises
    ------
    StorageError
        If it is a file, lies below one, or is not writable.
    """
    existing = nearest_existing(destination)
    if not existing.is_dir():
        what = "is a file" if existing == destination else f"lies below {existing}, which is a file"
        raise StorageError(
            str(destination), f"{destination} {what}, so nothing can be written there.", "Choose a directory."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(
            str(destination),
            f"{existing} is not writable, so nothing was started.",
            "Choose another directory, or ask for permission to write there.",
        )


def _refuse_other_places(text: str) -> None:
    """Refuse addresses and Windows paths, which pathlib would turn into odd local directories."""
    if match := re.match(r"([a-z][a-z0-9+.-]+):/", text, re.IGNORECASE):
        raise PlanError(
            text,
            f"{text} is an address ({match[1]}), but a download needs a directory on this machine;"
            " nothing was started.",
            "Mount it and give that directory, or download first and then copy.",
        )
    if os.name != "nt" and re.match(r"[a-z]:[\\/]", text, re.IGNORECASE):
        raise PlanError(
            text,
            f"{text} is a directory of Windows, but this is {platform.system()}; nothing was started.",
            f"In WSL it is /mnt/{text[0].lower()}/…; elsewhere give a path with / as separator.",
        )


def _check_names(path: Path) -> None:
    """Refuse a name that is too long now, not only when the directory is created."""
    longest = max(map(os.fsencode, path.parts), key=len)
    if len(longest) <= _USUAL_NAME_BYTES:
        return
    most = _longest_name(nearest_existing(path))
    if len(longest) > most:
        raise StorageError(
            str(path),
            f"“{os.fsdecode(longest[:40])}…” has {len(longest):,} bytes, and a name there has {most} at most;"
            " nothing was started.",
            "Choose a shorter one.",
        )


def check_space(destination: Path, missing_bytes: int, missing_instances: int) -> None:
    """Make sure that the missing data fits, with a margin.

    Raises
    ------
    InsufficientDiskSpace
        If it does not.
    """
    free = free_bytes(destination)
    needed = needed_bytes(missing_bytes, missing_instances)
    if needed > free:
        raise InsufficientDiskSpace(
            str(destination),
            f"{destination} has {size(free)} free, and {size(needed)} are needed; nothing was started.",
            "Make space, choose another destination, or narrow the selection.",
            needed_bytes=needed,
            free_bytes=free,
        )


def needed_bytes(missing_bytes: int, missing_instances: int) -> int:
    """Return the space that the missing data needs, with half a block lost per file and a margin."""
    if missing_instances == 0 and missing_bytes == 0:
        return 0
    return int(missing_bytes * (1 + _MARGIN_SHARE)) + missing_instances * _BLOCK_BYTES // 2 + _MARGIN_BYTES


def free_bytes(destination: Path) -> int:
    """Return the free bytes at a destination, which need not exist yet."""
    return shutil.disk_usage(nearest_existing(destination)).free


def clock(path: str | Path) -> float:
    """Touch a file, and return the time in seconds since 1970 by the clock of its file system."""
    os.utime(path)
    return os.stat(path).st_mtime


def nearest_existing(path: Path) -> Path:
    """Return the path itself, or its nearest parent that exists."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def absolute(directory: str | Path) -> Path:
    """Return the absolute path of a directory that the user names; keep links, they may be intended."""
    _refuse_other_places(str(directory))
    text = os.path.expanduser(directory)
    if text.startswith("~") and not os.path.lexists(text):
        user = text.split(os.sep, maxsplit=1)[0]
        raise StorageError(
            text,
            f"There is no user “{user[1:]}”, so {text} names no directory.",
            "Write ./~… if the name itself begins with ~.",
        )
    try:
        path = Path(os.path.abspath(text))
        _check_names(path)
        return path
    except FileNotFoundError:
        raise StorageError(
            text, f"The working directory is gone, so {text} cannot be found.", "Change to another one."
        ) from None


class Cage:
    """Refuses directories that a symbolic link would lead out of the destination.

    The destination itself may be a link; nothing below it may be.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = str(destination)
        self._real = {""}

    def check(self, directory: str) -> None:
        """Check each level of a directory once.

        Raises
        ------
        StorageError
            If one is a link.
        """
        if directory in self._real:
            return
        level = ""
        for component in directory.split("/"):
            level = f"{level}/{component}" if level else component
            if level not in self._real:
                path = f"{self._destination}/{level}"
                if os.path.islink(path):
                    raise is_link(path)
                self._real.add(level)


def is_link(path: str | Path) -> StorageError:
    """Return the error for a symbolic link on a path to write to."""
    return StorageError(
        str(path),
        f"{path} is a symbolic link, and nothing is written through one; nothing was started.",
        "Remove the link, or download to the directory that it points to.",
    )


@contextmanager
def guard(destination: Path) -> Iterator[None]:
    """Translate errors of the system and of SQLite while a destination is in use.

    Raises
    ------
    StorageError
        Instead of an `OSError`, or of a `sqlite3.Error` of the journal.
    """
    import sqlite3

    try:
        yield
    except OSError as error:
        where = error.filename or destination
        raise storage_error(destination, f"{where}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise storage_error(destination, f"the journal: {error}") from error


def storage_error(destination: Path, reason: str) -> StorageError:
    """Return the error for a destination that cannot be read or written, with its free space."""
    try:
        space = f"; {size(free_bytes(destination))} are free there"
    except OSError:
        space = ""
    return StorageError(
        str(destination),
        f"Reading or writing in {destination} failed ({reason}){space}. Finished files are kept.",
        "Make space or check the disk, then run the same command again to continue.",
    )


def _longest_name(directory: Path) -> int:
    """Return how many bytes a name below a directory may have."""
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, and systems that do not report it
        return _USUAL_NAME_BYTES
