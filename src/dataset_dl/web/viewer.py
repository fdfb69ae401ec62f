"""The viewer of volumes, niivue: fetched once when it is asked for, and then served by this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl.configuration import cache_path

if TYPE_CHECKING:
    from dataset_dl.network import NetworkSettings

VERSION = "0.69.0"
_FILE = "niivue.umd.js"
_URL = f"https://cdn.jsdelivr.net/npm/@niivue/niivue@{VERSION}/dist"
_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"


def path() -> Path:
    """Return where the viewer is, if it was fetched."""
    return cache_path() / "viewer" / VERSION / _FILE


def fetch(network: NetworkSettings) -> Path:
    """Fetch the viewer, compare its checksum, and return its path.

    Raises
    ------
    NetworkError
        If it cannot be fetched, or is something else.
    StorageError
        If it cannot be written.
    """
    from dataset_dl.network.files import obtain

    base = os.environ.get("DATASET_DL_VIEWER_URL", _URL).rstrip("/")
    return obtain(f"{base}/{_FILE}", path(), network, check=_not_the_viewer)


def _not_the_viewer(file: Path) -> str | None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    return None if found == _SHA256 else f"it is not niivue {VERSION} (its SHA-256 is {found})"
