"""Temporary directories: each goes with its owner, and those of a killed process go with the next run."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from dataset_dl.errors import StorageError

_PREFIX = "dataset-dl-"
_ALIVE = ".alive"
# A mark is there within a millisecond; a directory that has none after so long never will.
_UNFINISHED_SECONDS = 60
_swept: set[str] = set()


class Scratch:
    """A temporary directory, removed when it is closed, with the object, or when Python exits.

    Parameters
    ----------
    kind
        A word for its name, so that a person who finds it knows what it is.

    Raises
    ------
    StorageError
        If the temporary directory of this system has no room or is not writable.
    """

    def __init__(self, kind: str) -> None:
        with writing_scratch():
            _sweep(tempfile.gettempdir())
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
            mark = _hold(self.path)
        self._end = weakref.finalize(self, _remove, self.path, mark, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove it now."""
        self._end()


@contextmanager
def writing_scratch() -> Iterator[None]:
    """Name the temporary directory as the reason when writing to it fails, not the destination.

    Raises
    ------
    StorageError
        In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise scratch_error(error.strerror or str(error)) from None


def scratch_error(reason: str) -> StorageError:
    """The error of a temporary directory that cannot be written to."""
    # Python itself gives up on it where it cannot write anywhere.
    directory = tempfile.tempdir or os.environ.get("TMPDIR") or "of this system"
    return StorageError(
        directory,
        f"The temporary directory {directory} cannot be written to: {reason}; nothing else is touched.",
        "Make space there, or set TMPDIR to another directory.",
    )


def _hold(directory: Path) -> IO[bytes]:
    """A file that stays locked while this process, or a fork of it, lives; locked before it has its name."""
    unnamed = directory / f"{_ALIVE}.new"
    mark = unnamed.open("wb")
    if sys.platform == "win32":
        # An open file cannot be removed or renamed there, which serves as the lock.
        mark.close()
        return (directory / _ALIVE).open("wb")
    import fcntl

    with suppress(OSError):  # a file system without locks: nothing there is ever swept
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(directory / _ALIVE)
    return mark


def _is_dead(directory: Path) -> bool:
    """Whether the process that made a directory is gone: its mark can be locked, or was never finished."""
    mark = directory / _ALIVE
    if not mark.exists():
        with suppress(OSError):
            is_old = time.time() - directory.stat().st_mtime > _UNFINISHED_SECONDS
            return is_old and {each.name for each in directory.iterdir()} <= {f"{_ALIVE}.new"}
        return False
    try:
        if sys.platform == "win32":
            mark.unlink()
            return True
        import fcntl

        with mark.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:  # it lives, or is not ours
        return False


def _sweep(parent: str) -> None:
    """Remove what processes left here that were killed; looked for once in the life of a process."""
    if parent in _swept:
        return
    _swept.add(parent)
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            is_ours = entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False)
            if is_ours and _is_dead(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _remove(directory: Path, mark: IO[bytes], owner: int) -> None:
    mark.close()
    if os.getpid() == owner:  # a fork has the object, but the directory is its parent's
        shutil.rmtree(directory, ignore_errors=True)
