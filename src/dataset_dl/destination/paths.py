"""The directory that a download goes to: whether it can be used, and what the download keeps there."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from dataset_dl.destination.disk import _is_link
from dataset_dl.errors import StorageError
from dataset_dl.model.series import STATE_DIRECTORY

# Of records outside: which directory they are of.
_IDENTITY, _ATTRIBUTE = "destination.json", "user.dataset_dl"


def state(destination: Path) -> Path:
    """Where a download keeps its own records: in the destination, or outside where they were put there."""
    inside = destination / STATE_DIRECTORY
    if os.path.lexists(inside) or not os.path.isdir(destination):
        return inside
    outside = _outside(destination)
    return outside if _is_of(outside, destination) else inside


def keep_outside(destination: Path) -> None:
    """Let the records of a destination that has none be outside of it, for code that reads all that is there.

    They are found again by the path of the destination, as long as it is the same directory.

    Raises
    ------
    StorageError
        If the system refuses.
    """
    if os.path.lexists(destination / STATE_DIRECTORY):
        return
    outside = _outside(destination)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if _is_of(outside, destination):
            return
        # Another directory was at this path once.
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir(parents=True)
        token = _mark(destination)
        (outside / _IDENTITY).write_text(json.dumps([*_identity(destination), token]), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            str(destination),
            f"The records of {destination} cannot be kept in {outside}: {error.strerror}.",
            "Set DATASET_DL_STATE to a directory that can be written to.",
        ) from None


def _outside(destination: Path) -> Path:
    if named := os.environ.get("DATASET_DL_STATE"):
        folder = Path(named).expanduser()
    else:
        from platformdirs import user_state_path

        folder = user_state_path("dataset-dl", appauthor=False)
    digest = hashlib.sha256(os.fsencode(os.path.realpath(destination))).hexdigest()
    return folder / "destinations" / digest[:32]


def _is_of(outside: Path, destination: Path) -> bool:
    try:
        kept = json.loads((outside / _IDENTITY).read_text(encoding="utf-8"))
        return bool(kept == [*_identity(destination), _token(destination)])
    except (OSError, ValueError):
        return False


def _mark(destination: Path) -> str:
    """Give a directory an attribute of ours, where that can be: its number may be another's later."""
    token = secrets.token_hex(8)
    with suppress(AttributeError, OSError):
        os.setxattr(destination, _ATTRIBUTE, token.encode())
    return _token(destination)


def _token(destination: Path) -> str:
    with suppress(AttributeError, OSError):
        return os.getxattr(destination, _ATTRIBUTE).decode(errors="replace")
    return ""


def _identity(destination: Path) -> list[int]:
    found = os.stat(destination)
    return [found.st_dev, found.st_ino]


def journal_path(destination: Path) -> Path:
    """The memory of what is complete."""
    return state(destination) / "journal.sqlite"


def plan_path(destination: Path) -> Path:
    """All that was asked for in a destination, as one plan."""
    return state(destination) / "plan.parquet"


def prepare(destination: Path) -> None:
    """Make the destination and the directory for its records.

    Raises
    ------
    StorageError
        If the system refuses, or that directory is a symbolic link.
    """
    records = state(destination)
    if os.path.islink(records):
        raise _is_link(records)
    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            str(destination), f"{destination} cannot be made: {error.strerror}.", "Choose another directory."
        ) from None


def replaced_path(destination: Path) -> Path:
    """Where files go that a newer version of the data no longer has."""
    return state(destination) / "replaced"


def _requests_path(destination: Path) -> Path:
    return state(destination) / "requests.json"


def missing_path(destination: Path) -> Path:
    """Where the series are kept that were asked for and IDC does not have."""
    return state(destination) / "missing.tcia"
