"""Files that Python fetches itself: streamed, resumed, checked, and put in place when complete."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import requests
from filelock import FileLock

from dataset_dl.errors import NetworkError, StorageError
from dataset_dl.network.rules import plain_words
from dataset_dl.network.session import session
from dataset_dl.network.settings import NetworkSettings, without_secrets

_CHUNK_BYTES = 1 << 20
_RESUMES = 5
_PAUSE_SECONDS = 0.5


# Called with the bytes that have arrived and the total, None if that is unknown.
OnBytes = Callable[[int, int | None], object]


def obtain(
    url: str,
    target: Path,
    network: NetworkSettings,
    *,
    check: Callable[[Path], str | None] | None = None,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Return a file, and fetch it first if it does not exist.

    An interrupted fetch resumes if the server still has the same file. Processes that need the same file wait
    for each other.

    Parameters
    ----------
    url
        Address of the file.
    target
        Path of the file; it appears there only when complete and checked.
    network
        Network settings.
    check
        Returns what is wrong with the fetched file, or None.
    on_bytes
        Called as the file grows.

    Raises
    ------
    NetworkError
        If it cannot be fetched, does not exist, or fails the check.
    StorageError
        If the file cannot be written.
    """
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not target.is_file():
                _fetch(url, target, network, check, on_bytes)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        raise StorageError(
            str(target),
            f"{target} cannot be written: {error.strerror or error}.",
            "Make space, or remove what blocks the path.",
        ) from None
    return target


def _fetch(
    url: str,
    target: Path,
    network: NetworkSettings,
    check: Callable[[Path], str | None] | None,
    on_bytes: OnBytes | None,
) -> None:
    part = target.with_name(f"{target.name}.part")
    mark = target.with_name(f"{target.name}.part-of")
    with session(network) as requesting, plain_words(url):
        for attempt in range(_RESUMES + 1):
            try:
                total = _continue(requesting, url, part, mark, on_bytes)
                break
            except requests.exceptions.ChunkedEncodingError:  # the connection broke off
                if attempt == _RESUMES:
                    raise
                time.sleep(_PAUSE_SECONDS * 2**attempt)
    size = part.stat().st_size
    problem = f"{size:,} of {total:,} bytes arrived" if total is not None and size != total else None
    if problem is None and check is not None:
        problem = check(part)
    if problem is not None:
        part.unlink()
        mark.unlink(missing_ok=True)
        shown = without_secrets(url)
        raise NetworkError(
            shown,
            f"The response of {shown} is not the file that was asked for: {problem}.",
            "A sign-in page of your network may have answered; try again later.",
        )
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    mark.unlink(missing_ok=True)


def _continue(
    requesting: requests.Session, url: str, part: Path, mark: Path, on_bytes: OnBytes | None
) -> int | None:
    """Fetch the missing part of a file; return its total length according to the server, None if unknown."""
    headers = {"Accept-Encoding": "identity"}  # ranges count the bytes of the uncompressed file
    begun = part.stat().st_size if part.is_file() else 0
    validator = mark.read_text(encoding="utf-8") if begun and mark.is_file() else ""
    if validator:
        headers |= {"Range": f"bytes={begun}-", "If-Range": validator}
    with requesting.get(url, headers=headers, stream=True) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return begun
        if not answer.ok:
            shown = without_secrets(url)
            raise NetworkError(
                shown, f"{shown} cannot be fetched: the server returned {answer.status_code} {answer.reason}."
            )
        etag = answer.headers.get("ETag", "")
        now = "" if etag.startswith("W/") else etag or answer.headers.get("Last-Modified", "")
        resumed = answer.status_code == requests.codes.partial_content
        if resumed and (now != validator or _start(answer) != begun):
            part.unlink()  # not the rest of this file: start again
            raise requests.exceptions.ChunkedEncodingError("the file has changed")
        mark.write_text(now, encoding="utf-8")
        before, total = begun if resumed else 0, None
        with suppress(ValueError):
            total = int(answer.headers.get("Content-Length", "")) + before
        with part.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                if on_bytes is not None:
                    on_bytes(file.tell(), total)
    return total


def _start(answer: requests.Response) -> int | None:
    """Return the offset of the part of a file that the server returned."""
    match = re.match(r"bytes ([0-9]+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None
