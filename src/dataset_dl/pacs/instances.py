"""Files as instances that can be sent: each is checked before anything goes out."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.model.series import PlannedSeries
from dataset_dl.pixels.identity import Identity, contents, identity_of, is_uid
from dataset_dl.pixels.unreadable import Unreadable

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "TransferSyntaxUID")


class Instance(NamedTuple):
    """A file that can be sent.

    Attributes
    ----------
    path
        The file.
    identity
        Which instance it is.
    size_bytes
        Of the file.
    """

    path: Path
    identity: Identity
    size_bytes: int

    @property
    def uid(self) -> str:
        """Its SOPInstanceUID."""
        return self.identity.SOPInstanceUID

    @property
    def data_bytes(self) -> int:
        """Bytes of its data set."""
        return self.size_bytes - self.identity.begins_at


class Problem(NamedTuple):
    """A file that cannot be sent.

    Attributes
    ----------
    path
        The file.
    uid
        Its SOPInstanceUID; empty if it has none.
    words
        Why, as half a sentence that names the file or the instance.
    """

    path: Path
    uid: str
    words: str


def looked_at(path: Path) -> Instance | Problem:
    """Return which instance a file is, or why it is none that could be sent."""
    try:
        with contents(path) as data:
            identity = identity_of(data)
            size_bytes = len(data)
    except Unreadable as error:
        return Problem(path, "", f"{path.name} cannot be sent: {error}")
    except OSError as error:
        return Problem(path, "", f"{path.name} cannot be read ({error.strerror or error})")
    for keyword in _UIDS:
        value = getattr(identity, keyword)
        if not is_uid(value):
            has = f"has the {keyword} {value[:70]!r}, which is not valid" if value else f"has no {keyword}"
            return Problem(path, identity.SOPInstanceUID, f"{path.name} {has}")
    return Instance(path, identity, size_bytes)


def digest_of(data: Any, begins_at: int) -> bytes:
    """Return a checksum of a data set, without the meta information that every program writes anew.

    It tells a file from another one of the same instance and size; sha256 takes a sixth of the whole time.
    """
    view = memoryview(data)
    try:
        with view[begins_at:] as part:
            return zlib.crc32(part).to_bytes(4)
    finally:
        view.release()


def digest_at(instance: Instance) -> bytes:
    """Return a checksum of the data set of a file; one of a file that cannot be read is like no other.

    It is then read once more to be sent, which tells the reason.
    """
    try:
        with contents(instance.path) as data:
            return digest_of(data, instance.identity.begins_at)
    except OSError:
        return b""


def same(path: Path, other: Path) -> bool:
    """Whether two files have the same data set; one that cannot be read is like no other."""
    one, another = looked_at(path), looked_at(other)
    if isinstance(one, Problem) or isinstance(another, Problem):
        return False
    if one.identity._replace(begins_at=0) != another.identity._replace(begins_at=0):
        return False
    try:
        with contents(path) as data, contents(other) as theirs:
            return bytes(data[one.identity.begins_at :]) == bytes(theirs[another.identity.begins_at :])
    except OSError:
        return False


def unchanged(instance: Instance, data: Any) -> bool:
    """Whether the bytes of a file are still a whole file of the same instance."""
    try:
        return len(data) == instance.size_bytes and identity_of(data) == instance.identity
    except Unreadable:
        return False


def of_series(
    paths: Iterable[Path], row: PlannedSeries, *, any_patient_id: bool
) -> tuple[list[Instance], list[Problem]]:
    """Return the instances of a series, each once, and the files that cannot be sent as such."""
    found: dict[str, Instance] = {}
    problems: list[Problem] = []
    for path in paths:
        each = looked_at(path)
        if isinstance(each, Instance):
            each = _of_row(each, row, any_patient_id=any_patient_id)
        if isinstance(each, Problem):
            problems.append(each)
            continue
        other = found.setdefault(each.uid, each)
        if other is not each and not same(other.path, each.path):
            problems.append(twice(each, other.path))
    return list(found.values()), problems


def twice(instance: Instance, other: Path) -> Problem:
    """Return the problem of an instance in two files with different contents."""
    names = [each.name for each in (instance.path, other)]
    if names[0] == names[1]:
        names = [f"{each.parent.name}/{each.name}" for each in (instance.path, other)]
    return Problem(
        instance.path,
        instance.uid,
        f"{names[0]} and {names[1]} are the same instance, {instance.uid}, with different"
        " contents; an archive would keep one of them only",
    )


def _of_row(instance: Instance, row: PlannedSeries, *, any_patient_id: bool) -> Instance | Problem:
    identity = instance.identity
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID"):
        expected, has = getattr(row, keyword), getattr(identity, keyword)
        if expected is not None and expected != has:
            words = f"{instance.path.name} ({instance.uid}) has the {keyword} {has}, not {expected}"
            return Problem(instance.path, instance.uid, words)
    if row.PatientID is not None and identity.PatientID != row.PatientID and not any_patient_id:
        return Problem(
            instance.path,
            instance.uid,
            f"{instance.path.name} ({instance.uid}) has another PatientID than the plan of this directory, so"
            " it may be of another patient",
        )
    return instance
