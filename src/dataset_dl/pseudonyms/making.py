"""From one file to another one: read, rewritten, written whole under its new name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.errors import StorageError
from dataset_dl.pixels.identity import Identity, contents, identity_of, is_uid
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms.rewriting import Held, Rewriter, Rewritten

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class Made(NamedTuple):
    """What became of a file.

    Attributes
    ----------
    path
        The new file; empty if there is none.
    held
        Why it is held back for review, as half a sentence; empty if it is not.
    problem
        Why it could not be read, or its place is taken; empty if nothing is wrong.
    original, new
        PatientID, StudyInstanceUID and SeriesInstanceUID, as they were and as they are.
    """

    path: str = ""
    held: str = ""
    problem: str = ""
    original: tuple[str, str, str] = ("", "", "")
    new: tuple[str, str, str] = ("", "", "")


def rewritten(rewriter: Rewriter, data: Any, pseudonym: str = "") -> tuple[Identity, Rewritten | Held]:
    """Return which instance bytes are, and the file in its place.

    Raises
    ------
    Unreadable
        If they are no whole DICOM file with valid UIDs.
    """
    identity = identity_of(data)
    for keyword in _UIDS:
        if not is_uid(getattr(identity, keyword)):
            raise Unreadable(f"it has no valid {keyword}")
    return identity, rewriter.rewrite(data, identity, pseudonym)


def make(rewriter: Rewriter, path: Path, target: Path, pseudonym: str = "", *, flat: bool = False) -> Made:
    """Write a file with pseudonyms below a directory.

    Parameters
    ----------
    rewriter
        What rewrites it.
    path
        The original.
    target
        The directory; the file goes to ``PatientID/StudyInstanceUID/Modality_SeriesInstanceUID/UID.dcm``.
    pseudonym
        The new PatientID; one by the key if empty.
    flat
        Whether it goes right into the directory.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    try:
        with contents(path) as data:
            return _made(rewriter, data, target, pseudonym, flat=flat)
    except Unreadable as error:
        return Made(problem=str(error))
    except OSError as error:
        return Made(problem=f"it cannot be read: {error.strerror or error}")


def _made(rewriter: Rewriter, data: Any, target: Path, pseudonym: str, *, flat: bool) -> Made:
    identity, new = rewritten(rewriter, data, pseudonym)
    original = identity.PatientID, identity.StudyInstanceUID, identity.SeriesInstanceUID
    if isinstance(new, Held):
        return Made(held=new.reason, original=original)
    names = new.PatientID, new.StudyInstanceUID, new.SeriesInstanceUID
    place = Path() if flat else Path(_safe(names[0]), names[1], f"{_safe(new.Modality)}_{names[2]}")
    file = place / f"{new.SOPInstanceUID}.dcm"
    problem = _written(target / file, new)
    return Made("" if problem else file.as_posix(), "", problem, original, names)


def _written(target: Path, new: Rewritten) -> str:
    """Write a file; return why its place is taken by another one."""
    unfinished = target.with_name(f".{target.stem[:40]}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return _other(target, new)
        with unfinished.open("wb") as file:
            file.writelines(new.chunks)
        try:
            # Unlike a rename, it does not replace what another process has written meanwhile.
            target.hardlink_to(unfinished)
        except FileExistsError:
            return _other(target, new)
        except OSError:  # a file system without links
            unfinished.replace(target)
        return ""
    except OSError as error:
        raise StorageError(str(target), f"{target} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _other(target: Path, new: Rewritten) -> str:
    if target.read_bytes() == b"".join(new.chunks):
        return ""
    return "another file has the same SOPInstanceUID with other contents, and only one can be right"


def _safe(text: str) -> str:
    """Return a pseudonym or a modality as the name of a directory."""
    kept = "".join(each if each.isalnum() or each in "-_." else "_" for each in text).strip(".")
    return kept[:64] or "UN"
