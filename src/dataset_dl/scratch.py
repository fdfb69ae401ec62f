"""Temporary directories, removed with their owner or by the next run; files that are whole or not there."""

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
# The mark appears within a millisecond; a directory without one after this long was abandoned.
_UNFINISHED_SECONDS = 60
# Of a name in that of its unfinished file, which may not be too long for a file system.
_NAME_CHARACTERS = 40
_swept: set[str] = set()


class Scratch:
    """A temporary directory, removed on `close`, with the object, or when Python exits.

    Parameters
    ----------
    kind
        A word in the directory's name that says what it is for.

    Raises
    ------
    StorageError
        If the system's temporary directory is full or not writable.
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
        """Remove the directory now."""
        self._end()


@contextmanager
def writing_scratch() -> Iterator[None]:
    """Blame the temporary directory, not the destination, when writing to it fails.

    Raises
    ------
    StorageError
        Instead of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise scratch_error(error.strerror or str(error)) from None


def scratch_error(reason: str) -> StorageError:
    """Create the error for a temporary directory that is not writable."""
    # `tempfile.tempdir` is None if Python found no writable directory.
    directory = tempfile.tempdir or os.environ.get("TMPDIR") or "of this system"
    return StorageError(
        directory,
        f"The temporary directory {directory} cannot be written to: {reason}; nothing else is affected.",
        "Make space there, or set TMPDIR to another directory.",
    )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a name to write to; the file gets its own name if nothing goes wrong, else it is removed.

    Raises
    ------
    StorageError
        Instead of an `OSError`.
    """
    unfinished = path.with_name(f".{path.stem[:_NAME_CHARACTERS]}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise StorageError(str(path), f"{path} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def temporary_file(kind: str, suffix: str) -> Iterator[Path]:
    """Yield the name of a new temporary file, which stays for the caller unless something goes wrong."""
    number, name = tempfile.mkstemp(prefix=f"{_PREFIX}{kind}-", suffix=suffix)
    os.close(number)
    path = Path(name)
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _hold(directory: Path) -> IO[bytes]:
    """Create a file that stays locked while this process or a fork lives; lock it before it gets its name."""
    unnamed = directory / f"{_ALIVE}.new"
    mark = unnamed.open("wb")
    if sys.platform == "win32":
        # On Windows an open file cannot be removed or renamed, which serves as the lock.
        mark.close()
        return (directory / _ALIVE).open("wb")
    import fcntl

    with suppress(OSError):  # a file system without locks: its directories are never swept
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(directory / _ALIVE)
    return mark


def _is_dead(directory: Path) -> bool:
    """Whether the process that created a directory is gone: its mark is unlocked or was never finished."""
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
    except OSError:  # the process lives, or the directory is not ours
        return False


def _sweep(parent: str) -> None:
    """Remove the directories of killed processes; done once per process."""
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
    if os.getpid() == owner:  # a fork inherits the object, but the directory belongs to the parent
        shutil.rmtree(directory, ignore_errors=True)
