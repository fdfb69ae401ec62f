"""Parse the output of s5cmd: a line → an event, an error message → a cause. Pure; no line raises."""

from __future__ import annotations

import re

import msgspec

from dataset_dl.engines.words import redacted
from dataset_dl.errors import NetworkError
from dataset_dl.model.events import CommandFailed, EngineMessage, FileCompleted
from dataset_dl.model.outcome import Cause
from dataset_dl.model.series import StoredObject
from dataset_dl.network.reasons import Reason, unreachable
from dataset_dl.store.pages import OBJECT_NAME

OutputEvent = FileCompleted | CommandFailed | EngineMessage


class _Object(msgspec.Struct, gc=False):
    size: int = 0


class _Listed(msgspec.Struct):
    key: str
    size: int = 0
    etag: str = ""


class _Line(msgspec.Struct, gc=False):
    operation: str = ""
    success: bool = False
    source: str = ""
    destination: str = ""
    object: _Object = msgspec.field(default_factory=_Object)
    command: str = ""
    error: str = ""


_decode = msgspec.json.Decoder(_Line).decode
_decode_listed = msgspec.json.Decoder(_Listed).decode
_SERIES_URL = re.compile(r"(?:s3|gs)://[^/\s]+/([0-9a-f-]{36})/")

# The first match decides, so specific patterns come before general ones.
_CAUSES: tuple[tuple[str, Cause], ...] = (
    (r"cabundle|dial tcp", "network"),
    (r"file name too long", "name_too_long"),
    (
        r"no space left|disk quota|read-only file system|permission denied|input/output error"
        r"|no such file or directory|not a directory|is a directory|stale file handle|transport endpoint",
        "disk",
    ),
    (r"no object found|nosuchkey|nosuchbucket|notfound|status code: 404", "not_found"),
    (r"unexpected eof|content-length", "truncated"),
    (r"proxy|x509|tls:|certificate|no such host|dial tcp|connection re|timeout|broken pipe", "network"),
    (r"accessdenied|forbidden|status code: 40[13]", "access_denied"),
    (r"slowdown|internalerror|serviceunavailable|status code: 5\d\d", "server_error"),
    (r"requesterror|send request failed|serializationerror|: eof", "network"),
)
_CAUSE_PATTERNS = tuple((re.compile(pattern), cause) for pattern, cause in _CAUSES)


def parse_line(line: bytes) -> OutputEvent:
    """Parse a line of s5cmd's output to an event; any unknown line becomes an `EngineMessage`."""
    try:
        parsed = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _message(line)
    parts = parsed.source.split("/", 4)
    if parsed.success and len(parts) == 5 and parsed.operation == "cp" and not parsed.error:
        return FileCompleted(parts[3], parsed.destination, parsed.object.size)
    if parsed.error:
        match = _SERIES_URL.search(parsed.command)
        series = match[1] if match else ""
        return CommandFailed(series, cause_of(parsed.error), redacted(parsed.error))
    return _message(line)


def is_listed(line: bytes) -> bool:
    """Whether a line belongs to a listing: an object or a folder."""
    return line.startswith(b'{"key":')


def parse_listed(line: bytes) -> tuple[str, StoredObject | None] | None:
    """Parse a line of a listing to the crdc_series_uuid and the object; None for any other line.

    The object is None if its name cannot be that of an instance, which makes the listing useless.
    """
    try:
        listed = _decode_listed(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    parts = listed.key.split("/", 4)
    if len(parts) != 5:
        return None
    if not OBJECT_NAME.fullmatch(parts[4]):
        return parts[3], None
    return parts[3], StoredObject(parts[4], listed.size, listed.etag)


def cause_of(message: str) -> Cause:
    """Return the cause behind an error message of s5cmd."""
    lowered = message.lower()
    for pattern, cause in _CAUSE_PATTERNS:
        if pattern.search(lowered):
            return cause
    return "unknown"


# The first match decides here, too.
_REASONS: tuple[tuple[str, Reason], ...] = (
    (r"status code: 407", "proxy_password"),
    # It contains the body of the response, and that may contain any word.
    (r"serializationerror", "no_store"),
    (r"proxy authentication required", "proxy_password"),
    # Go's message if a proxy answers CONNECT with an error; a store's own errors come with a status code.
    (r'": (forbidden|method not allowed)"?$', "proxy_refuses"),
    (r'": (bad gateway|internal server error|service unavailable|gateway timeout)"?$', "proxy_fails"),
    (r"proxyconnect", "proxy_silent"),
    (r"first record does not look like a tls handshake", "no_tls"),
    (r"x509|certificate|tls:|cabundle", "untrusted"),
    (r"no such host", "no_name"),
    (r"connection refused", "nothing_listens"),
    (r"nosuchbucket", "no_buckets"),
    (r"credential", "no_credentials"),
    (r"accessdenied|unsupportedalgorithm|signature|status code: 40[13]", "denied"),
    (r"timeout", "silent"),
)


def network_error(message: str, endpoint_url: str) -> NetworkError:
    """Return the error for an endpoint that cannot be reached, with the reason."""
    lowered = message.lower().strip()
    for pattern, reason in _REASONS:
        if re.search(pattern, lowered):
            return unreachable(endpoint_url, reason)
    words = redacted(" ".join(message.split()))[:300]
    return NetworkError(endpoint_url, f"{endpoint_url} cannot be reached: {words}.")


def _message(line: bytes) -> EngineMessage:
    return EngineMessage(redacted(line.decode(errors="replace").strip()))
