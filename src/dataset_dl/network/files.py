"""Files that are fetched by Python itself: streamed, resumed, checked, put in place whole."""

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
from dataset_dl.network.session import plain_words, session
from dataset_dl.network.settings import NetworkSettings, without_secrets

_CHUNK_BYTES = 1 << 20
_RESUMES = 5
_PAUSE_SECONDS = 0.5


# Called with the bytes that are here, and with how many there will be, None if nobody knows.
OnBytes = Callable[[int, int | None], object]


def obtain(
    url: str,
    target: Path,
    network: NetworkSettings,
    *,
    check: Callable[[Path], str | None] | None = None,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Make sure that a file is there, fetching it if it is not.

    An interrupted fetch goes on where it was if the server still has the same file. Two processes that want
    the same file wait for each other.

    Parameters
    ----------
    url
        Where it is.
    target
        Where it goes; complete and checked under this name, or not there.
    network
        How the network is reached.
    check
        Says what is wrong with the fetched file, None if nothing is.
    on_bytes
        Called as the file grows.

    Raises
    ------
    NetworkError
        If it cannot be fetched, is not there, or is not what it should be.
    StorageError
        If it cannot be written.
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
            "Make space, or free the way.",
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
            except requests.exceptions.ChunkedEncodingError:  # it broke off in the middle
                if attempt == _RESUMES:
                    raise
                time.sleep(_PAUSE_SECONDS * 2**attempt)
    size = part.stat().st_size
    problem = f"{size:,} of {total:,} bytes came" if total is not None and size != total else None
    if problem is None and check is not None:
        problem = check(part)
    if problem is not None:
        part.unlink()
        mark.unlink(missing_ok=True)
        shown = without_secrets(url)
        raise NetworkError(
            shown,
            f"What {shown} answered is not the file that was asked for: {problem}.",
            "A sign-in page of your network may stand in the way; try again later.",
        )
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    mark.unlink(missing_ok=True)


def _continue(
    requesting: requests.Session, url: str, part: Path, mark: Path, on_bytes: OnBytes | None
) -> int | None:
    """Fetch what is missing of a file; returns its whole length as the server tells it."""
    headers = {"Accept-Encoding": "identity"}  # a range counts the bytes of the file itself
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
                shown, f"{shown} cannot be fetched: the server answers {answer.status_code} {answer.reason}."
            )
        etag = answer.headers.get("ETag", "")
        now = "" if etag.startswith("W/") else etag or answer.headers.get("Last-Modified", "")
        resumed = answer.status_code == requests.codes.partial_content
        if resumed and (now != validator or _start(answer) != begun):
            part.unlink()  # not the rest of what is here: begin anew
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
    """Where the part of a file begins that was answered."""
    match = re.match(r"bytes ([0-9]+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None
