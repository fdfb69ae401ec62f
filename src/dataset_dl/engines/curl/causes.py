"""Why a request failed: libcurl's result and the status of the response → a cause. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pycurl

from dataset_dl.engines.words import redacted

if TYPE_CHECKING:
    from dataset_dl.engines.curl.pool import Get
    from dataset_dl.model.outcome import Cause
    from dataset_dl.network.reasons import Reason


class Failure(NamedTuple):
    """Why a request failed, and whether to try it again.

    `weight` is how many tries it counts as: one that took long counts as several.
    """

    cause: Cause
    words: str
    passing: bool
    weight: int = 1


_PASSING_STATUS = (408, 429)


def failure_of(get: Get) -> Failure:
    """Return why a request failed that is not `Get.ok`."""
    if isinstance(get.error, OSError):
        return Failure("disk", get.error.strerror or str(get.error), False)
    if get.error is not None:
        return Failure("excess", "the store sends more bytes of a file than it lists", False)
    if get.status >= 300 or (get.status and get.code in (0, pycurl.E_HTTP_RETURNED_ERROR)):
        return _by_status(get.status)
    if get.code == pycurl.E_PARTIAL_FILE:
        return Failure("truncated", "the connection was closed in the middle of a file", True)
    if get.proxy_status >= 400:
        return Failure("network", f"the proxy answered {get.proxy_status}", get.proxy_status >= 500)
    if get.code == pycurl.E_OPERATION_TIMEDOUT:
        return Failure("network", "the store sent next to nothing for too long", True, 4)
    passing = get.code not in (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE)
    return Failure("network", redacted(get.words) or f"libcurl error {get.code}", passing)


def _by_status(status: int) -> Failure:
    words = f"the store answered {status}"
    if status in (404, 410):
        return Failure("not_found", words, False)
    if status in (401, 403):
        return Failure("access_denied", words, False)
    if status in _PASSING_STATUS or status >= 500:
        return Failure("server_error", words, True)
    return Failure("unknown" if status < 300 or status >= 400 else "network", words, False)


# The code in the body of an error of S3; some stores tell missing signatures as a bad request.
_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")
_DENIED = re.compile(rb"AccessDenied|Authentication|Signature|UnsupportedAlgorithm|AccessKey")
_REASONS: dict[int, Reason] = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy_silent",
    pycurl.E_COULDNT_RESOLVE_HOST: "no_name",
    pycurl.E_OPERATION_TIMEDOUT: "silent",
    pycurl.E_PEER_FAILED_VERIFICATION: "untrusted",
    pycurl.E_SSL_CACERT_BADFILE: "untrusted",
}


def reason_of(get: Get, body: bytes, *, by_proxy: bool) -> Reason | None:
    """Return the reason why an endpoint cannot be reached; None if it is none of the known ones."""
    code = _CODE.search(body)
    if get.proxy_status == 407 or get.status == 407:
        return "proxy_password"
    if get.proxy_status >= 500:
        return "proxy_fails"
    if get.proxy_status >= 400:
        return "proxy_refuses"
    if get.status in (401, 403) or (code and _DENIED.search(code[1])):
        return "denied"
    if get.status == 404:
        return "no_buckets"
    if get.code == pycurl.E_COULDNT_CONNECT:
        return "proxy_silent" if by_proxy else "nothing_listens"
    if get.code == pycurl.E_SSL_CONNECT_ERROR:
        return (
            "no_tls"
            if "wrong version" in get.words.lower() or "packet length" in get.words.lower()
            else "untrusted"
        )
    return _REASONS.get(get.code)
