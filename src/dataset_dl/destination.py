"""The directory that a download goes to: whether it can be used, and what the download keeps there."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset_dl.errors import InsufficientDiskSpace, ManifestError, PlanError, StorageError
from dataset_dl.manifest import tcia
from dataset_dl.model import STATE_DIRECTORY, PlannedSeries, Request, SeriesFailure
from dataset_dl.wording import size

# Directories, file system overhead and what others write meanwhile.
_MARGIN_SHARE = 0.01
_MARGIN_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 4096
# Of records outside: which directory they are of.
_IDENTITY, _ATTRIBUTE = "destination.json", "user.dataset_dl"
# What nearly every file system takes.
_USUAL_NAME_BYTES = 255


def check(destination: Path) -> None:
    """Make sure that a directory is there or can be made, without making it.

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
            "Choose a directory of your own, or ask for the right to write there.",
        )


def _refuse_other_places(text: str) -> None:
    """Refuse what is no directory of this machine; pathlib would make a strange one of it."""
    if match := re.match(r"([a-z][a-z0-9+.-]+):/", text, re.IGNORECASE):
        raise PlanError(
            text,
            f"{text} is an address ({match[1]}), and a download goes to a directory of this machine;"
            " nothing was started.",
            "Mount it and give the directory, or download first and copy then.",
        )
    if os.name != "nt" and re.match(r"[a-z]:[\\/]", text, re.IGNORECASE):
        raise PlanError(
            text,
            f"{text} is a directory of Windows, and this is {platform.system()}; nothing was started.",
            f"In WSL it is /mnt/{text[0].lower()}/…; elsewhere give a path with / between its parts.",
        )


def _check_names(path: Path) -> None:
    """Refuse a name that is too long, which would be noticed only when the directory is made."""
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


def _longest_name(directory: Path) -> int:
    """Bytes that a name may have below a directory."""
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, and systems that do not say
        return _USUAL_NAME_BYTES


def check_space(destination: Path, missing_bytes: int, missing_instances: int) -> None:
    """Make sure that what is still missing fits, with a margin.

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
    """Space for so much data, with half a block lost per file and a margin."""
    if missing_instances == 0 and missing_bytes == 0:
        return 0
    return int(missing_bytes * (1 + _MARGIN_SHARE)) + missing_instances * _BLOCK_BYTES // 2 + _MARGIN_BYTES


def free_bytes(destination: Path) -> int:
    """Bytes that may still be written at a destination that need not exist yet."""
    return shutil.disk_usage(nearest_existing(destination)).free


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def absolute(directory: str | Path) -> Path:
    """A directory as a person names it; links in its path stay, for they may be wanted."""
    _refuse_other_places(str(directory))
    text = os.path.expanduser(directory)
    if text.startswith("~") and not os.path.lexists(text):
        user = text.split(os.sep, maxsplit=1)[0]
        raise StorageError(
            text,
            f"There is no user “{user[1:]}”, so {text} names no directory.",
            "Write ./~ for a name that begins so.",
        )
    try:
        path = Path(os.path.abspath(text))
        _check_names(path)
        return path
    except FileNotFoundError:
        raise StorageError(
            text, f"The working directory is gone, so nobody knows where {text} is.", "Go to another one."
        ) from None


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


def remember(destination: Path, asked: Sequence[Request]) -> None:
    """Add to what was asked for in a destination that `prepare` has made; a damaged record is set aside."""
    path = _requests_path(destination)
    try:
        known = requests(destination)
    except ManifestError:
        known = []
        path.replace(path.with_suffix(".damaged"))
    if new := [request for request in asked if request not in known]:
        import msgspec

        part = state(destination) / f".requests.{os.getpid()}.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode([*known, *new]), indent=1))
        part.replace(path)


def requests(destination: Path) -> list[Request]:
    """What was asked for in a destination in a way that a newer index may bring more of.

    Raises
    ------
    ManifestError
        If the file that tells it is damaged.
    """
    path = _requests_path(destination)
    if not path.is_file():
        return []
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Request])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ManifestError(
            str(path),
            f"{path} is damaged ({error}), so nobody knows what was asked for in {destination}.",
            "Remove it; what was downloaded is not touched by that.",
        ) from None


def replaced_path(destination: Path) -> Path:
    """Where files go that a newer version of the data no longer has."""
    return state(destination) / "replaced"


def _requests_path(destination: Path) -> Path:
    return state(destination) / "requests.json"


class Cage:
    """Refuses directories that a symbolic link would lead out of the destination.

    The destination itself may be a link; what is below it must be real.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = str(destination)
        self._real = {""}

    def check(self, directory: str) -> None:
        """Look at each level of a directory, once.

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
                    raise _is_link(path)
                self._real.add(level)


def _is_link(path: str | Path) -> StorageError:
    return StorageError(
        str(path),
        f"{path} is a symbolic link, and nothing is written through one; nothing was started.",
        "Remove the link, or download to the directory that it points to.",
    )


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
def guard(destination: Path) -> Iterator[None]:
    """Say in plain words what the system refuses while a destination is worked on.

    Raises
    ------
    StorageError
        In place of an `OSError`, or of an error of the journal.
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
    """The error of a destination that takes no more, with what space there is."""
    try:
        space = f"; {size(free_bytes(destination))} are free there"
    except OSError:
        space = ""
    return StorageError(
        str(destination),
        f"Reading or writing in {destination} failed ({reason}){space}. What was finished is kept.",
        "Make space or check the disk, then run the same command again to go on.",
    )


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


def leave_lists(
    destination: Path, failures: Sequence[SeriesFailure], missing: Sequence[str], idc_version: int | None
) -> None:
    """Keep what failed and what IDC does not have, each ready to be given back as a source."""
    write_failures(destination, failures, idc_version)
    write_missing(destination, missing)


def write_failures(
    destination: Path, failures: Iterable[SeriesFailure], idc_version: int | None
) -> Path | None:
    """Keep the failed series as a plan of their own; returns the file, None if all went well."""
    path = state(destination) / "failed.csv"
    path.unlink(missing_ok=True)
    rows = [(*failure.planned, idc_version, failure.cause, failure.message) for failure in failures]
    if not rows:
        return None
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*PlannedSeries._fields, "idc_version", "cause", "message"])
        writer.writerows(rows)
    return path


def leave_rights(destination: Path, licences: str, citations: str) -> None:
    """Keep what may be done with the data, and the works that it comes from."""
    for name, text in (("LICENSES.md", licences), ("CITATIONS.bib", citations)):
        path, data = state(destination) / name, text.encode()
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)


def missing_path(destination: Path) -> Path:
    """Where the series are kept that were asked for and IDC does not have."""
    return state(destination) / "missing.tcia"


def write_missing(destination: Path, missing: Sequence[str]) -> None:
    """Keep them as a manifest of TCIA, whose own program may have them; no file if there are none."""
    path = missing_path(destination)
    if missing:
        path.write_text(tcia.text_of(missing), encoding="utf-8", newline="\n")
    else:
        path.unlink(missing_ok=True)
