"""Files against the ETags of a store, which are MD5 sums, of the object or of its parts."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from dataset_dl.model import StoredObject

Outcome = Literal["same", "different", "unknown"]

_PLAIN = re.compile(r"[0-9a-f]{32}")
_OF_PARTS = re.compile(r"[0-9a-f]{32}-([0-9]+)")
_MIB = 1 << 20
# Part sizes that uploaders use, in MiB; a store does not say which it was.
_PART_SIZES_MIB = (8, 5, 16, 50, 64, 15, 10, 32, 100, 128, 25, 20, 256, 512, 1024, 1000, 500, 200, 250, 5120)


class Checksums:
    """Compares files with what a store says of its objects.

    An object that was uploaded in parts has the MD5 sum of its parts' sums, and the size of the parts has
    to be guessed. A file is only called different for a size that another file was the same with, so one
    object of its kind has to come first; `compare` sees to that within a call.
    """

    def __init__(self) -> None:
        self._part_sizes: set[int] = set()

    def compare(self, files: Iterable[tuple[Path, StoredObject]]) -> list[Outcome]:
        """Whether each file is the object, on all cores.

        Returns
        -------
        list of str
            ``same``, ``different``, or ``unknown`` where the ETag is no MD5 sum, or one of parts whose
            size cannot be told. A file that is not there is different.
        """
        wanted = list(files)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            outcomes = list(pool.map(self._one, wanted))
            again = [place for place, outcome in enumerate(outcomes) if outcome == "unknown"]
            for place, outcome in zip(
                again, pool.map(self._one, [wanted[each] for each in again]), strict=True
            ):
                outcomes[place] = outcome
        return outcomes

    def _one(self, wanted: tuple[Path, StoredObject]) -> Outcome:
        path, stored = wanted
        try:
            if path.stat().st_size != stored.size_bytes:
                return "different"
            if _PLAIN.fullmatch(stored.etag):
                return "same" if _md5(path) == stored.etag else "different"
            if match := _OF_PARTS.fullmatch(stored.etag):
                return self._of_parts(path, stored, int(match[1]))
        except FileNotFoundError:
            return "different"
        return "unknown"

    def _of_parts(self, path: Path, stored: StoredObject, parts: int) -> Outcome:
        fitting = [size * _MIB for size in _PART_SIZES_MIB if -(-stored.size_bytes // (size * _MIB)) == parts]
        for part_bytes in fitting:
            if _md5_of_parts(path, part_bytes) == stored.etag:
                self._part_sizes.add(part_bytes)
                return "same"
        return "different" if self._part_sizes.intersection(fitting) else "unknown"


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
    # Not a matter of security, so machines that forbid MD5 there may compute it here.
    return hashlib.md5(usedforsecurity=False)
