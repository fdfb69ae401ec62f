"""Addresses of objects, ``gs://BUCKET/KEY``, and the paths on disk that they lead to. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from dataset_dl.errors import SelectionError
from dataset_dl.plans.names import NAME_LIMIT_BYTES, check_directory, clean, fitted_name, has_control

_ADDRESS = re.compile(r"gs://(?P<bucket>[^/]*)(?:/(?P<key>.*))?", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# The part of a name that tells programs what a file is; it stays as it is.
_ENDING = re.compile(r"(.+)(\.[A-Za-z0-9]{1,12})", re.DOTALL)
_MOST_KEY_BYTES = 1024
_MARK_DIGITS = 12
# Room for the name of an unfinished file: two dots, a generation and “part”.
_UNFINISHED_BYTES = 32


class GsAddress(NamedTuple):
    """The address of an object, or of all objects below a folder if the key is empty or ends in ``/``."""

    bucket: str
    key: str

    @classmethod
    def of(cls, text: str) -> GsAddress:
        """Parse an address; everything after the bucket is taken literally.

        Raises
        ------
        SelectionError
            If it is not one.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise _refused(text, "it does not begin with gs://")
        bucket, key = match["bucket"], match["key"] or ""
        if not _BUCKET.fullmatch(bucket):
            raise _refused(text, f"“{bucket}” is not the name of a bucket")
        if has_control(key):
            raise _refused(text, "it holds a control character")
        if {".", ".."} & set(key.split("/")):
            raise _refused(text, "no request can name a part “.” or “..” of a key")
        if len(key.encode("utf-8", "surrogatepass")) > _MOST_KEY_BYTES:
            raise _refused(text, f"a key has at most {_MOST_KEY_BYTES:,} bytes")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether it stands for all objects below it."""
        return self.key == "" or self.key.endswith("/")


class Place(NamedTuple):
    """Where an object goes: a directory below the destination, and the name of the file in it."""

    directory: str
    name: str


def place_of(address: GsAddress, *, is_marked: bool = False) -> Place:
    """Return the place of an object: its bucket and key, as far as every file system accepts them.

    Parameters
    ----------
    address
        The address of a single object.
    is_marked
        Mark the name with a digest, because another object would have the same name.

    Raises
    ------
    SelectionError
        If the key has too many levels.
    """
    *folders, last = address.key.split("/")
    directory = "/".join([address.bucket, *(fitted_name(clean(each, "", {})) for each in folders)])
    if reason := check_directory(directory):
        raise _refused(str(address), f"its directory cannot be made: {reason}")
    match = _ENDING.fullmatch(last)
    stem, ending = (match[1], match[2]) if match else (last, "")
    # Of the whole key: directories that differ only by letter case may be one.
    mark = f"~{hashlib.sha256(address.key.encode()).hexdigest()[:_MARK_DIGITS]}" if is_marked else ""
    limit = NAME_LIMIT_BYTES - _UNFINISHED_BYTES - len(ending) - len(mark)
    return Place(directory, f"{fitted_name(clean(stem, '', {}), limit)}{mark}{ending}")


def places_of(several: Iterable[GsAddress]) -> dict[GsAddress, Place]:
    """Return the place of each object.

    Those are marked whose paths differ from another only by letter case, and those that have the name of a
    directory of others, so that no file system maps two objects to one file.
    """
    places = {each: place_of(each) for each in several}
    paths = {each: f"{place.directory}/{place.name}".casefold() for each, place in places.items()}
    counts = Counter(paths.values())
    directories = {
        "/".join(levels[: index + 1])
        for place in places.values()
        for levels in [place.directory.casefold().split("/")]
        for index in range(len(levels))
    }
    for each, path in paths.items():
        if counts[path] > 1 or path in directories:
            places[each] = place_of(each, is_marked=True)
    return places


def _refused(text: str, reason: str) -> SelectionError:
    return SelectionError(
        text,
        f"“{text}” is not the address of an object in Google Cloud Storage: {reason}; nothing was started.",
        "Write it like gs://BUCKET/FOLDER/SLIDE.tiff, or gs://BUCKET/FOLDER/ for everything below a folder.",
    )
