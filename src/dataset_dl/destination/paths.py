"""Where the records of a destination are: inside it, or outside."""

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

from dataset_dl import configuration
from dataset_dl.destination.disk import is_link
from dataset_dl.errors import PlanError, StorageError
from dataset_dl.model.part import Part
from dataset_dl.model.series import STATE_DIRECTORY

PARTS = "parts"
_PART = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ATTEMPT = re.compile(r"([0-9]+)-of-([0-9]+)-attempt-([0-9]+)", re.ASCII)
# These identify the directory that records outside belong to.
_IDENTITY, _ATTRIBUTE = "destination.json", "user.dataset_dl"


def state(destination: Path) -> Path:
    """Return the folder of the records: in the destination, or outside if `keep_outside` put them there."""
    inside = destination / STATE_DIRECTORY
    if os.path.lexists(inside) or not os.path.isdir(destination):
        return inside
    outside = _outside(destination)
    return outside if _is_of(outside, destination) else inside


def keep_outside(destination: Path) -> None:
    """Put records outside the destination, unless it has some inside, for code that reads every file there.

    The path of the destination leads to them, as long as it is the same directory.

    Raises
    ------
    StorageError
        If the records cannot be written there.
    """
    if os.path.lexists(destination / STATE_DIRECTORY):
        return
    outside = _outside(destination)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if _is_of(outside, destination):
            return
        # These records belong to an earlier directory at this path.
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir(parents=True)
        token = _mark(destination)
        (outside / _IDENTITY).write_text(json.dumps([*identity(destination), token]), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            str(destination),
            f"The records of {destination} cannot be kept in {outside}: {error.strerror}.",
            "Set DATASET_DL_STATE to a writable directory.",
        ) from None


def _outside(destination: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(os.path.realpath(destination))).hexdigest()
    return configuration.state_path() / "destinations" / digest[:32]


def _is_of(outside: Path, destination: Path) -> bool:
    try:
        kept = json.loads((outside / _IDENTITY).read_text(encoding="utf-8"))
        return bool(kept == [*identity(destination), _token(destination)])
    except (OSError, ValueError):
        return False


def _mark(destination: Path) -> str:
    """Mark a directory with an extended attribute, if possible: its inode number may be reused later."""
    token = secrets.token_hex(8)
    with suppress(AttributeError, OSError):
        os.setxattr(destination, _ATTRIBUTE, token.encode())
    return _token(destination)


def _token(destination: Path) -> str:
    with suppress(AttributeError, OSError):
        return os.getxattr(destination, _ATTRIBUTE).decode(errors="replace")
    return ""


def identity(destination: Path) -> list[int]:
    """Return what distinguishes a directory from a later one at the same path."""
    found = os.stat(destination)
    return [found.st_dev, found.st_ino]


@dataclass(frozen=True, slots=True)
class Files:
    """The record files of one writer of a destination.

    Attributes
    ----------
    folder
        Where they are: `state`, or a folder below it for the writer of a part.
    """

    folder: Path

    @property
    def journal(self) -> Path:
        """The record of complete series."""
        return self.folder / "journal.sqlite"

    @property
    def plan(self) -> Path:
        """Everything requested, as one plan."""
        return self.folder / "plan.parquet"

    @property
    def requests(self) -> Path:
        """The requests that may match more series in a newer index."""
        return self.folder / "requests.json"

    @property
    def missing(self) -> Path:
        """The requested series that IDC does not have."""
        return self.folder / "missing.tcia"

    @property
    def failed(self) -> Path:
        """The series that failed in the last run."""
        return self.folder / "failed.csv"

    @property
    def progress(self) -> Path:
        """How far the writer of a part is."""
        return self.folder / "progress.json"

    @property
    def begun(self) -> Path:
        """Is there once an attempt has the records of those before it."""
        return self.folder / "begun"

    @property
    def doubtful(self) -> Path:
        """Is there until the files that an earlier attempt may not have written have been compared."""
        return self.folder / "doubtful"

    @property
    def replaced(self) -> Path:
        """The folder for files that a newer version of the data no longer contains."""
        return self.folder / "replaced"


def files_of(destination: Path, part: str = "") -> Files:
    """Return the record files of the writer of a destination, or of one part of it."""
    return Files(state(destination) / PARTS / part if part else state(destination))


def parts(destination: Path) -> list[str]:
    """Return the sorted names of all parts with records in a destination; of each, the newest attempt.

    One that was killed before it had begun counts only if there is no other.
    """
    found = _folders_of_parts(destination)
    newest: dict[Part | str, str] = {}
    for name in sorted(found, key=lambda name: (attempt_of(name) or (name, 0))[1]):
        attempt = attempt_of(name)
        key = attempt[0] if attempt else name
        if key not in newest or files_of(destination, name).begun.exists():
            newest[key] = name
    return sorted(newest.values())


def writers(destination: Path) -> list[Files]:
    """Return the record files of the writer of the whole, then those of each part."""
    return [files_of(destination, part) for part in ("", *parts(destination))]


def attempts(destination: Path, part: Part) -> list[int]:
    """Return the numbers of all attempts at a part, sorted."""
    found = (attempt_of(name) for name in _folders_of_parts(destination))
    return sorted(each[1] for each in found if each is not None and each[0] == part)


def attempt_of(name: str) -> tuple[Part, int] | None:
    """Return the part and the number of an attempt; None if a name is of no attempt."""
    match = _ATTEMPT.fullmatch(name)
    return (Part(int(match[1]), int(match[2])), int(match[3])) if match else None


def attempt_name(part: Part, number: int) -> str:
    """Return the name of an attempt at a part, like ``3-of-16-attempt-2``."""
    return f"{part.name}-attempt-{number}"


def _folders_of_parts(destination: Path) -> list[str]:
    folder = state(destination) / PARTS
    return [each.name for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []


def prepare(destination: Path, part: str = "") -> None:
    """Create the destination and the directory for its records.

    Raises
    ------
    StorageError
        If the system refuses, or the directory for the records is a symbolic link.
    PlanError
        If the name of the part is not valid.
    """
    if part and not _PART.fullmatch(part):
        raise PlanError("part", f"“{part}” is not a valid name of a part.", "Use letters, digits, - and _.")
    for folder in (state(destination), *([state(destination) / PARTS] if part else ())):
        if os.path.islink(folder):
            raise is_link(folder)
    try:
        files_of(destination, part).folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            str(destination),
            f"{destination} cannot be created: {error.strerror}.",
            "Choose another directory.",
        ) from None
