"""The zip of a series, unpacked as it arrives: every file is hashed, and named when all are proven."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl.engines.threads import Failed
from dataset_dl.model.events import Event, FileCompleted, SeriesSized
from dataset_dl.model.series import PlannedSeries, Size

HASHES, LICENCE = "md5hashes.csv", "LICENSE"
_MOST_TEXT_BYTES = 64_000_000
# Fewer and larger steps leave more to the threads that wait for Python.
_CHUNK_BYTES = 1 << 19
UNFINISHED = ".nbia.part"


def is_unfinished(name: str) -> bool:
    """Whether a file is one that was not proven."""
    return name.startswith(".") and name.endswith(UNFINISHED)


@dataclass
class Part:
    """A file of a series under its unfinished name.

    Attributes
    ----------
    path
        Where it is.
    name
        What the zip calls it.
    md5
        Its MD5 sum.
    size_bytes
        Its size.
    SOPInstanceUID
        As in its header.
    is_proven
        Whether the server's MD5 sum is the same.
    """

    path: Path
    name: str
    md5: str
    size_bytes: int
    SOPInstanceUID: str
    is_proven: bool = False


@dataclass
class Unpacked:
    """What a zip held.

    Attributes
    ----------
    parts
        SOPInstanceUID → its file, but those whose MD5 sum is wrong.
    named
        How many files md5hashes.csv lists; None if there is none, so the server failed while it made the zip.
    wrong
        Names of files with another MD5 sum.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    named: int | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether every file that is listed is here, and each is proven."""
        every = self.parts.values()
        return self.named == len(self.parts) and not self.wrong and all(each.is_proven for each in every)


def unpack(
    chunks: Iterable[bytes],
    directory: Path,
    uid: str,
    most_bytes: int | None,
) -> Unpacked:
    """Unpack the zip of a series into unfinished files.

    Parameters
    ----------
    chunks
        The zip, as it arrives.
    directory
        Where the files go.
    uid
        The SeriesInstanceUID that each must have.
    most_bytes
        More than this is no series but a trap; None if the size is unknown.

    Raises
    ------
    Failed
        If the zip is cut off or damaged, or has what no series of NBIA has.
    """
    from stream_unzip import UnzipError, stream_unzip

    found = Unpacked()
    hashes: dict[str, str] | None = None
    names: set[str] = set()
    written = 0
    try:
        for raw_name, _, content in stream_unzip(chunks, chunk_size=_CHUNK_BYTES):
            name = raw_name.decode("utf-8", "replace")
            if name.upper() == LICENCE:
                _text(content)
            elif name == HASHES:
                hashes = _hashes(_text(content))
            else:
                if not _is_plain(name) or name in names:
                    raise Failed("altered", f"the zip has a file with the name {name!r}, so it was refused")
                names.add(name)
                left = None if most_bytes is None else most_bytes - written
                part = _written(content, directory / f".{uid}.{len(names)}{UNFINISHED}", name, uid, left)
                written += part.size_bytes
                if part.SOPInstanceUID in found.parts:
                    raise Failed("altered", f"the zip has the instance {part.SOPInstanceUID} twice")
                found.parts[part.SOPInstanceUID] = part
    except (UnzipError, NotImplementedError, RuntimeError) as error:
        raise Failed(
            "truncated", f"the zip of the series ended early or is damaged ({type(error).__name__})"
        ) from None
    _compare(found, hashes)
    return found


def named(row: PlannedSeries, directory: Path, found: Unpacked) -> Iterator[Event]:
    """Give the files of a series their names, and yield its size and each file."""
    parts = sorted(found.parts.values(), key=lambda each: each.SOPInstanceUID)
    yield SeriesSized(row.key, Size(len(parts), sum(part.size_bytes for part in parts)))
    for part in parts:
        name = f"{part.SOPInstanceUID}.dcm"
        part.path.replace(directory / name)
        yield FileCompleted(row.key, f"{row.directory}/{name}", part.size_bytes, proven=part.is_proven)


def save(
    chunks: Iterable[bytes],
    path: Path,
    uid: str,
    instance: str,
    most_bytes: int | None,
) -> Part:
    """Write one instance to an unfinished file.

    Raises
    ------
    Failed
        If it is another one.
    """
    part = _written(chunks, path, instance, uid, most_bytes)
    if part.SOPInstanceUID != instance:
        raise Failed("altered", f"{part.SOPInstanceUID} came in place of the instance {instance}")
    return part


def _written(
    chunks: Iterable[bytes],
    path: Path,
    name: str,
    uid: str,
    most_bytes: int | None,
) -> Part:
    digest, size_bytes = hashlib.md5(usedforsecurity=False), 0
    with path.open("wb") as file:
        for chunk in chunks:
            size_bytes += len(chunk)
            if most_bytes is not None and size_bytes > most_bytes:
                raise Failed("excess", "far more bytes came than NBIA says the series has")
            digest.update(chunk)
            file.write(chunk)
    return Part(path, name, digest.hexdigest(), size_bytes, _instance_of(path, name, uid))


def _instance_of(path: Path, name: str, uid: str) -> str:
    """Return the SOPInstanceUID of a file, which must be of the series."""
    from pydicom import dcmread

    wanted = ["SOPInstanceUID", "SeriesInstanceUID"]
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        series, instance = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
    except Exception as error:  # pydicom raises whatever a strange file leads to
        raise Failed("altered", f"{name} is no DICOM file ({type(error).__name__})") from None
    if series != uid:
        raise Failed("altered", f"{name} belongs to the series {series}")
    if not instance.replace(".", "").isdigit() or len(instance) > 64:
        raise Failed("altered", f"{name} has no valid SOPInstanceUID")
    return instance


def _is_plain(name: str) -> bool:
    return bool(name) and not set(name) & set("/\\:\0") and name not in (".", "..")


def _text(content: Iterable[bytes]) -> str:
    data = bytearray()
    for chunk in content:
        data += chunk
        if len(data) > _MOST_TEXT_BYTES:
            raise Failed("excess", "the zip has a list that is far too long")
    return data.decode("utf-8", "replace")


def _hashes(text: str) -> dict[str, str]:
    """Parse md5hashes.csv: name → MD5 sum."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if len(row) >= 2]
    except csv.Error:
        raise Failed("altered", f"{HASHES} in the zip is no table") from None
    return {name.strip(): md5.strip().lower() for name, md5, *_ in rows if name.strip() != "Filename"}


def _compare(found: Unpacked, hashes: dict[str, str] | None) -> None:
    """Compare each file with the list, and leave out those that differ."""
    if hashes is None:
        return
    found.named = len(hashes)
    for uid, part in list(found.parts.items()):
        told = hashes.get(part.name, "")
        part.is_proven = told == part.md5
        if told and not part.is_proven:
            found.wrong.append(part.name)
            part.path.unlink()
            del found.parts[uid]
