"""Files of a series as a zip without compression, made while it is sent.

XNAT reads a zip from its beginning, and Java's reader then needs the size and the CRC of an entry before its
bytes. So each file is read for its CRC first: small ones once, into memory; large ones twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from dataset_dl.errors import StorageError, UnreadableObject
from dataset_dl.pixels.identity import Identity, identify, is_uid
from dataset_dl.pixels.unreadable import Unreadable

_SMALL_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20
# XNAT takes several zips into one session, so none of them needs the form for more than 4 GB.
_BATCH_BYTES, _BATCH_FILES = 1 << 30, 10_000
_MOST_BYTES = (1 << 32) - (1 << 20)
# The parts of a zip, without names: the local header, the entry in the directory, twice the extra field with
# the time, and the end.
_LOCAL, _CENTRAL, _TIME, _END = 30, 46, 9, 22
_NO_DATE = datetime(1980, 1, 1)


class Instance(NamedTuple):
    """A file of a series: its SOPInstanceUID, and its size."""

    SOPInstanceUID: str
    path: Path
    size_bytes: int

    @property
    def name(self) -> str:
        """What it is called in a zip; XNAT keeps such a name."""
        return name_of(self.SOPInstanceUID)


def name_of(uid: str) -> str:
    """Return the name of an instance's file."""
    return f"{uid}.dcm"


class Zip:
    """A zip of instances; it can be read again, and its length is known.

    Parameters
    ----------
    instances
        The instances, together less than 4 GB.
    """

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = instances
        fixed = _LOCAL + _CENTRAL + 2 * _TIME
        self._length = _END + sum(each.size_bytes + 2 * len(each.name) + fixed for each in instances)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        from stream_zip import NO_COMPRESSION_32, stream_zip

        members = (
            (each.name, _NO_DATE, 0o600, NO_COMPRESSION_32(each.size_bytes, crc), content)
            for each, crc, content in map(_read, self._instances)
        )
        yield from stream_zip(members, chunk_size=_CHUNK_BYTES)


def batches(instances: Sequence[Instance]) -> Iterator[Zip]:
    """Yield the zips that bring instances to XNAT.

    Raises
    ------
    UnreadableObject
        If a file is too large for one.
    """
    batch: list[Instance] = []
    size_bytes = 0
    for each in instances:
        if each.size_bytes > _MOST_BYTES:
            raise UnreadableObject(str(each.path), f"{each.path} has more than 4 GB, too much for a zip.")
        if batch and (size_bytes + each.size_bytes > _BATCH_BYTES or len(batch) >= _BATCH_FILES):
            yield Zip(batch)
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += each.size_bytes
    if batch:
        yield Zip(batch)


def instances_of(paths: Sequence[Path], study: str | None, series: str | None = None) -> list[Instance]:
    """Read which instances files are.

    Parameters
    ----------
    paths
        The files of a series.
    study, series
        The StudyInstanceUID and the SeriesInstanceUID that they must have; any if None.

    Raises
    ------
    UnreadableObject
        If one is no DICOM, of another study, or the second one of an instance.
    """
    found: dict[str, Instance] = {}
    for path in paths:
        identity = _identify(path)
        uid, of_study, of_series = (
            identity.SOPInstanceUID, identity.StudyInstanceUID, identity.SeriesInstanceUID
        )  # fmt: skip
        if study is not None and of_study != study:
            raise UnreadableObject(
                str(path), f"{path} belongs to the study {of_study}, so nothing of its series was sent."
            )
        if series is not None and of_series != series:
            raise UnreadableObject(
                str(path), f"{path} belongs to the series {of_series}, so nothing of {series} was sent."
            )
        if uid in found:
            raise UnreadableObject(
                str(path),
                f"{path} and {found[uid].path.name} are the same instance, {uid}; XNAT would keep one of them"
                " only, so nothing of the series was sent.",
            )
        found[uid] = Instance(uid, path, path.stat().st_size)
    return list(found.values())


def _identify(path: Path) -> Identity:
    try:
        found = identify(path)
    except Unreadable as error:
        raise UnreadableObject(str(path), f"{path} cannot go to XNAT: {error}.") from None
    if not is_uid(found.SOPInstanceUID):
        raise UnreadableObject(str(path), f"{path} has no valid SOPInstanceUID.")
    return found


def _read(instance: Instance) -> tuple[Instance, int, Iterator[bytes]]:
    """Return an instance with its CRC and its bytes."""
    try:
        if instance.size_bytes <= _SMALL_BYTES:
            data = instance.path.read_bytes()
            return instance, zlib.crc32(data), iter((_of_size(data, instance),))
        crc = 0
        for chunk in _chunks(instance):
            crc = zlib.crc32(chunk, crc)
    except OSError as error:
        raise StorageError(
            str(instance.path), f"{instance.path} cannot be read ({error.strerror})."
        ) from None
    return instance, crc, _chunks(instance)


def _chunks(instance: Instance) -> Iterator[bytes]:
    left = instance.size_bytes
    with instance.path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            left -= len(chunk)
            yield chunk
    if left:
        raise _changed(instance)


def _of_size(data: bytes, instance: Instance) -> bytes:
    if len(data) != instance.size_bytes:
        raise _changed(instance)
    return data


def _changed(instance: Instance) -> UnreadableObject:
    return UnreadableObject(str(instance.path), f"{instance.path} changed while it was sent.")
