"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset_dl.duck import DuckError
from dataset_dl.errors import StorageError

_NAME_CHARACTERS = 40


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name to write to; the file gets its own name if nothing goes wrong, else it is removed.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    unfinished = path.with_name(f".{path.stem[:_NAME_CHARACTERS]}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except (OSError, DuckError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise StorageError(str(path), f"{path} cannot be written: {reason}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
