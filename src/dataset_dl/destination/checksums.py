"""Compare files with the checksums of a store: MD5 sums of the object or of its parts, or its CRC32C."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from dataset_dl.model.series import StoredObject

Outcome = Literal["same", "different", "unknown"]

_PLAIN = re.compile(r"[0-9a-f]{32}")
_CRC32C = re.compile(r"crc32c-([0-9a-f]{8})")
_OF_PARTS = re.compile(r"[0-9a-f]{32}-([0-9]+)")
_MIB = 1 << 20
# Part sizes in MiB that uploaders use, and how many others to try: a store does not return the part size.
_PART_SIZES_MIB = (8, 5, 16, 50, 64, 15, 10, 32, 100, 128, 25, 20, 256, 512, 1024, 1000, 500, 200, 250)
_OTHER_SIZES = 20


def compare(files: Iterable[tuple[Path, StoredObject]]) -> list[Outcome]:
    """Compare each file with the size and checksum of its object, on all cores.

    Returns
    -------
    list of str
        ``same``, ``different``, or ``unknown`` if the ETag is no checksum, or belongs to a multipart upload
        and no part size that was tried reproduces it, or is a CRC32C and the library for it is not installed.
        A missing file is different.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(_compare, files))


def _compare(wanted: tuple[Path, StoredObject]) -> Outcome:
    path, stored = wanted
    try:
        if path.stat().st_size != stored.size_bytes:
            return "different"
        if _PLAIN.fullmatch(stored.etag):
            return "same" if _md5(path) == stored.etag else "different"
        if match := _CRC32C.fullmatch(stored.etag):
            found = crc32c(path)
            return "unknown" if found is None else "same" if found == int(match[1], 16) else "different"
        if match := _OF_PARTS.fullmatch(stored.etag):
            sizes = _part_sizes(stored.size_bytes, int(match[1]))
            return "same" if any(_md5_of_parts(path, size) == stored.etag for size in sizes) else "unknown"
    except FileNotFoundError:
        return "different"
    return "unknown"


def crc32c(path: Path) -> int | None:
    """Return the CRC32C of a file; None if the library for it is not installed."""
    try:
        from google_crc32c import extend
    except ImportError:
        return None
    found = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_MIB):
            found = extend(found, chunk)
    return found


def _part_sizes(size_bytes: int, parts: int) -> Iterator[int]:
    """Yield part sizes in bytes that split a file into this many parts, the usual ones first."""
    if parts < 1:
        return
    least = max(1, -(-size_bytes // parts) // _MIB)
    sizes = dict.fromkeys([*_PART_SIZES_MIB, *range(least, least + _OTHER_SIZES)])
    yield from (size * _MIB for size in sizes if -(-size_bytes // (size * _MIB)) == parts)


def _md5(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, _new).hexdigest()


def _md5_of_parts(path: Path, part_bytes: int) -> str:
    whole, parts = _new(), 0
    with path.open("rb", buffering=0) as file:
        part, left = _new(), part_bytes
        while chunk := file.read(min(_MIB, left)):
            part.update(chunk)
            left -= len(chunk)
            if left == 0:
                whole.update(part.digest())
                parts += 1
                part, left = _new(), part_bytes
        if left < part_bytes:
            whole.update(part.digest())
            parts += 1
    return f"{whole.hexdigest()}-{parts}"


def _new() -> hashlib._Hash:
    # Not used for security, so machines that forbid MD5 for security (FIPS) still allow it here.
    return hashlib.md5(usedforsecurity=False)
