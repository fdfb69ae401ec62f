"""The names of files that the engines for S3 have begun and not finished. Each knows those of the others."""

from __future__ import annotations

import re

# s5cmd appends digits to the final name, libcurl's engine “.part”, behind the token of its run.
_BEGUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.dcm[0-9]+|.+\.dcm(\.[0-9a-z]+)?\.part")
# A large object of libcurl's engine and the list of its pieces; the name contains the ETag and the token.
LARGE = re.compile(
    r"(?P<name>.+\.dcm)\.(?P<etag>[0-9A-Za-z-]+)\.(?P<token>[0-9a-z]+)\.(?P<kind>large|pieces)"
)


def is_begun(name: str) -> bool:
    """Whether a file was begun and is of no use to any later run."""
    return _BEGUN.fullmatch(name) is not None


def is_resumable(name: str) -> bool:
    """Whether a file is part of a large object that libcurl's engine can continue."""
    return LARGE.fullmatch(name) is not None
