"""Answers that are kept for a version of the index: made on first use, then read without DuckDB."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataset_dl.errors import StorageError
from dataset_dl.scratch import written_whole
from dataset_dl.sources.idc import releases


def kept(name: str, parts: set[str], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return an answer for the version in use.

    Parameters
    ----------
    name
        The name of its file; a new form of the answer needs a new name.
    parts
        What it consists of, so that a damaged one is made again.
    make
        Makes it.
    """
    path, version = path_of(name), releases.chosen()
    found = _read(path)
    if found is None or found.get("version") != version or not found.keys() >= parts:
        found = {"version": version, **make()}
        with suppress(OSError, StorageError):  # keeping it only saves time
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as unfinished:
                unfinished.write_bytes(
                    gzip.compress(json.dumps(found, separators=(",", ":")).encode(), mtime=0)
                )
    return found


def path_of(name: str) -> Path:
    """Return the file of an answer for the version in use, there or not."""
    return releases.cache_directory() / f"{name}.json.gz"


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, EOFError):
        document: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        return document if isinstance(document, dict) else None
    return None
