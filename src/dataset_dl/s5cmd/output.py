"""What s5cmd says: one line → one event, and words → a cause. Pure; no line raises."""

from __future__ import annotations

import re

import msgspec

from dataset_dl.errors import (
    CertificateError,
    ConnectionTimeout,
    NetworkError,
    ProxyError,
)
from dataset_dl.events import CommandFailed, EngineMessage, FileCompleted
from dataset_dl.model import Cause, StoredObject

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
# What a store may call an object here: it will stand in a command and in a path.
_OBJECT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_SERIES_URL = re.compile(r"(?:s3|gs)://[^/\s]+/([0-9a-f-]{36})/")
_CREDENTIALS = re.compile(r"(?<=//)[^/\s@\"]*@")
_QUERY = re.compile(r"(https?://[^\s?\"]+)\?[^\s\"]*")

# The first that matches decides, so the particular stands before the general.
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
    """One line of s5cmd's output as an event; what is not understood becomes an `EngineMessage`."""
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
    """Whether a line is one of a listing: an object or a folder."""
    return line.startswith(b'{"key":')


def parse_listed(line: bytes) -> tuple[str, StoredObject | None] | None:
    """One line of a listing as the crdc_series_uuid and the object; None if it is no such line.

    The object is None where its name cannot be that of an instance, so that the listing is of no use.
    """
    try:
        listed = _decode_listed(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    parts = listed.key.split("/", 4)
    if len(parts) != 5:
        return None
    if not _OBJECT_NAME.fullmatch(parts[4]):
        return parts[3], None
    return parts[3], StoredObject(parts[4], listed.size, listed.etag)


def cause_of(message: str) -> Cause:
    """The cause behind an error message of s5cmd."""
    lowered = message.lower()
    for pattern, cause in _CAUSE_PATTERNS:
        if pattern.search(lowered):
            return cause
    return "unknown"


# What Go says when a proxy answers CONNECT with an error; a store's own errors come with a status code.
_PROXY_REFUSES = re.compile(r'": (forbidden|method not allowed)"?$')
_PROXY_FAILS = re.compile(r'": (bad gateway|internal server error|service unavailable|gateway timeout)"?$')


def network_error(message: str, endpoint_url: str) -> NetworkError:
    """Why an endpoint cannot be reached, as an error with what to try."""
    lowered = message.lower().strip()
    at = f"{endpoint_url} cannot be reached"
    if "serializationerror" in lowered and "status code: 407" not in lowered:
        # It carries the answer's body, which may hold any word.
        return NetworkError(
            endpoint_url,
            f"{endpoint_url} answers, but not as an S3 service does.",
            "A sign-in page of your network may stand in the way.",
        )
    if "status code: 407" in lowered or "proxy authentication required" in lowered:
        return ProxyError(
            endpoint_url,
            f"{at}: the proxy wants another user name or password.",
            "Put them into DATASET_DL_PROXY or HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT.",
        )
    if _PROXY_REFUSES.search(lowered):
        return ProxyError(
            endpoint_url,
            f"{at}: the proxy refuses to connect to it.",
            "Ask for it to be allowed at the proxy.",
        )
    if _PROXY_FAILS.search(lowered):
        return ProxyError(
            endpoint_url,
            f"{at}: the proxy does not reach it.",
            "Check the address; ask those who run the proxy.",
        )
    if "proxyconnect" in lowered:
        return ProxyError(
            endpoint_url,
            f"{at}: the proxy does not answer.",
            "Check its address and port: `dataset-dl doctor`.",
        )
    if "first record does not look like a tls handshake" in lowered:
        return NetworkError(
            endpoint_url, f"{at}: what answers there does not speak TLS.", "Check http or https."
        )
    if "x509" in lowered or "certificate" in lowered or "tls:" in lowered or "cabundle" in lowered:
        return CertificateError(
            endpoint_url,
            f"{at} safely: its certificate is not trusted here.",
            "Point DATASET_DL_CA_BUNDLE at a PEM file with your organisation's certificate authority.",
        )
    if "no such host" in lowered:
        return NetworkError(
            endpoint_url,
            f"{at}: its name does not resolve.",
            "Check the address; behind a firewall, set HTTPS_PROXY.",
        )
    if "connection refused" in lowered:
        return NetworkError(endpoint_url, f"{at}: nothing listens there.", "Check the address and the port.")
    if "nosuchbucket" in lowered:
        return NetworkError(
            endpoint_url,
            f"{endpoint_url} answers, but does not hold the buckets of IDC.",
            "Check --endpoint-url and --source.",
        )
    if "nocredentialproviders" in lowered or "credential" in lowered:
        return NetworkError(
            endpoint_url,
            f"{at}: requests to it shall be signed, and there are no credentials.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    if re.search(r"accessdenied|unsupportedalgorithm|signature|status code: 40[13]", lowered):
        return NetworkError(
            endpoint_url,
            f"{endpoint_url} answers, and denies access.",
            "A mirror may want signed requests: --sign, with credentials where AWS tools look for them.",
        )
    if "timeout" in lowered:
        return ConnectionTimeout(
            endpoint_url,
            f"{at}: no answer in time.",
            "A firewall may drop the connection; set HTTPS_PROXY if there is a proxy.",
        )
    return NetworkError(endpoint_url, f"{at}: {redacted(' '.join(message.split()))[:300]}.")


def redacted(text: str) -> str:
    """The text without user names, passwords and queries in its addresses."""
    return _QUERY.sub(r"\1", _CREDENTIALS.sub("***@", text))


def _message(line: bytes) -> EngineMessage:
    return EngineMessage(redacted(line.decode(errors="replace").strip()))
