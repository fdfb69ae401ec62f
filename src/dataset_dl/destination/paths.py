"""Where the records of a destination are: in it, or outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataset_dl.destination.disk import is_link
from dataset_dl.errors import PlanError, StorageError
from dataset_dl.model.series import STATE_DIRECTORY

PARTS = "parts"
_PART = re.compile(r"[A-Za-z0-9_-]{1,100}")
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
        (outside / _IDENTITY).write_text(json.dumps([*identity(destination), token]), encoding="utf-8")
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
        return bool(kept == [*identity(destination), _token(destination)])
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


def identity(destination: Path) -> list[int]:
    """What tells a directory from another that comes to stand at its path."""
    found = os.stat(destination)
    return [found.st_dev, found.st_ino]


@dataclass(frozen=True, slots=True)
class Files:
    """The files that one writer keeps of a destination.

    Attributes
    ----------
    folder
        Where they are: `state`, or a folder below it for the writer of a part.
    """

    folder: Path

    @property
    def journal(self) -> Path:
        """The memory of what is complete."""
        return self.folder / "journal.sqlite"

    @property
    def plan(self) -> Path:
        """All that was asked for, as one plan."""
        return self.folder / "plan.parquet"

    @property
    def requests(self) -> Path:
        """What was asked for in a way that a newer index may bring more of."""
        return self.folder / "requests.json"

    @property
    def missing(self) -> Path:
        """The series that were asked for and IDC does not have."""
        return self.folder / "missing.tcia"

    @property
    def failed(self) -> Path:
        """The series that failed in the last run."""
        return self.folder / "failed.csv"

    @property
    def replaced(self) -> Path:
        """Where files go that a newer version of the data no longer has."""
        return self.folder / "replaced"


def files_of(destination: Path, part: str = "") -> Files:
    """The files of the writer of a destination, or of one part of it."""
    return Files(state(destination) / PARTS / part if part else state(destination))


def parts(destination: Path) -> list[str]:
    """The names of all parts that a destination has records of, sorted."""
    folder = state(destination) / PARTS
    return sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def prepare(destination: Path, part: str = "") -> None:
    """Make the destination and the directory for its records.

    Raises
    ------
    StorageError
        If the system refuses, or that directory is a symbolic link.
    PlanError
        If the part has a name that is no file name.
    """
    if part and not _PART.fullmatch(part):
        raise PlanError("part", f"“{part}” is no name of a part.", "Use letters, figures, - and _.")
    for folder in (state(destination), *([state(destination) / PARTS] if part else ())):
        if os.path.islink(folder):
            raise is_link(folder)
    try:
        files_of(destination, part).folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            str(destination), f"{destination} cannot be made: {error.strerror}.", "Choose another directory."
        ) from None
