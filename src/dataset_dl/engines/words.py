"""What engines say and leave behind, in common."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=//)[^/\s@\"]*@")
_QUERY = re.compile(r"(https?://[^\s?\"]+)\?[^\s\"]*")


def redacted(text: str) -> str:
    """Return the text without user names, passwords and queries in its addresses."""
    return _QUERY.sub(r"\1", _CREDENTIALS.sub("***@", text))
