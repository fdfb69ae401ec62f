"""Signed addresses, version 4, as Google Cloud Storage checks them.

The form is Google's: https://docs.cloud.google.com/storage/docs/authentication/canonical-requests.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from dataset_dl.aignostics.account import Account

_ALGORITHM = "GOOG4-RSA-SHA256"
# Long enough for any pause before a request; each request is signed anew.
VALID_SECONDS = 900
# All loggers of urllib3 that tell addresses, at the level DEBUG.
_TELLING = ("urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.response",
            "urllib3.util.retry")  # fmt: skip
_SIGNATURE = re.compile(r"(X-Goog-Signature=)[0-9a-fA-F]+")


def resource_of(bucket: str, key: str) -> str:
    """Return the path of an object, or of a bucket if the key is empty."""
    return f"/{bucket}/{quote(key, safe='/~')}"


def canonical_request(
    method: str, resource: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return what is signed of a request: every part in one order and one spelling."""
    lines = [f"{name}:{value}" for name, value in _canonical(headers).items()]
    signed = ";".join(_canonical(headers))
    return "\n".join([method, resource, _joined(query), *lines, "", signed, "UNSIGNED-PAYLOAD"])


def signed_url(
    account: Account,
    method: str,
    endpoint: str,
    resource: str,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    now: datetime | None = None,
    valid_seconds: int = VALID_SECONDS,
) -> str:
    """Return the address of a request with its signature.

    Parameters
    ----------
    account
        Who signs.
    method, resource, query, headers
        The request; `headers` are those that must be sent exactly so.
    endpoint
        Scheme and host, without a path.
    now, valid_seconds
        From when and how long the address is valid.
    """
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/auto/storage/goog4_request"
    several = {"host": urlsplit(endpoint).netloc, **(headers or {})}
    asked = {
        **(query or {}),
        "X-Goog-Algorithm": _ALGORITHM,
        "X-Goog-Credential": f"{account.email}/{scope}",
        "X-Goog-Date": moment,
        "X-Goog-Expires": str(valid_seconds),
        "X-Goog-SignedHeaders": ";".join(_canonical(several)),
    }
    digest = hashlib.sha256(canonical_request(method, resource, asked, several).encode()).hexdigest()
    signature = account.sign("\n".join([_ALGORITHM, moment, scope, digest]).encode()).hex()
    return f"{endpoint}{resource}?{_joined(asked)}&X-Goog-Signature={signature}"


def without_signature(text: str) -> str:
    """Return a text without the signatures in its addresses."""
    return _SIGNATURE.sub(r"\1***", text)


def keep_out_of_logs() -> None:
    """Keep signatures out of the log of urllib3."""
    for name in _TELLING:
        logging.getLogger(name).addFilter(_hide)


def _hide(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(
            without_signature(each) if isinstance(each, str) else each for each in record.args
        )
    return True


def _canonical(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted((name.lower(), " ".join(value.split())) for name, value in headers.items()))


def _joined(query: Mapping[str, str]) -> str:
    # Sorted with the sign between name and value, as Google's library does.
    return "&".join(sorted(f"{_quoted(name)}={_quoted(value)}" for name, value in query.items()))


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
