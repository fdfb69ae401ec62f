"""What holds for every HTTP request from Python: retries, trust, proxies, and what its errors mean."""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3

from dataset_dl.errors import NetworkError
from dataset_dl.network.reasons import Reason, unreachable
from dataset_dl.network.settings import without_secrets

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
RETRIES = 4
_PASSING_STATUS = (429, 500, 502, 503, 504)
_LONGEST_PAUSE_SECONDS = 60.0


class _Retry(urllib3.Retry):
    """Respects ``Retry-After``, but waits at most a minute."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_PAUSE_SECONDS)


def retrying(retries: int = RETRIES) -> urllib3.Retry:
    """Return the rule when to ask again."""
    return _Retry(
        total=retries,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        status_forcelist=_PASSING_STATUS,
        allowed_methods={"GET", "HEAD"},
        raise_on_status=False,
    )


def proxy_headers(proxy: str) -> dict[str, str]:
    """Return the header with the password of a proxy, in UTF-8, as Go does; requests uses Latin-1."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


@contextmanager
def plain_words(url: str) -> Iterator[None]:
    """Translate errors of requests and urllib3 to this package's errors.

    Raises
    ------
    ProxyError, CertificateError, ConnectionTimeout, NetworkError
        With a hint what to try; without passwords.
    """
    host = without_secrets(url).partition("://")[2].partition("/")[0]
    try:
        yield
    except _errors() as error:
        raise _translated(error, host) from None
    except ValueError:  # an invalid address, perhaps from a redirect
        raise NetworkError(host, f"{host or 'It'} leads to an invalid address.", "Check it.") from None


def _translated(error: Exception, host: str) -> NetworkError:
    words = f"{error} {error.__cause__ or ''}".lower()
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    reason = _reason(error, words)
    if reason is not None:
        return unreachable(host, reason)
    return NetworkError(host, f"{host} cannot be reached: {type(error).__name__}.", "Try again later.")


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors of urllib3, and those of requests if anything has loaded it, which takes long."""
    requests = sys.modules.get("requests")
    own = (requests.exceptions.RequestException,) if requests is not None else ()
    return (urllib3.exceptions.HTTPError, *own)


def _is(error: Exception, name: str) -> bool:
    """Whether an error is of a class that has this name in requests or in urllib3."""
    return any(each.__name__ == name for each in type(error).__mro__)


def _reason(error: Exception, words: str) -> Reason | None:
    if "failed: 407" in words or "407 client error" in words or "proxy authentication required" in words:
        return "proxy_password"
    if "tunnel connection failed" in words:
        return "proxy_fails" if re.search(r"tunnel connection failed: 50[0-9]", words) else "proxy_refuses"
    if "wrong_version_number" in words or "record layer failure" in words:
        return "no_tls"
    if _is(error, "SSLError") or "certificate" in words:
        return "untrusted"
    if _is(error, "ProxyError"):
        return "proxy_silent"
    if "failed to resolve" in words or "getaddrinfo" in words or "name or service" in words:
        return "no_name"
    if "refused" in words:
        return "nothing_listens"
    # Last, because urllib3 takes a connection that failed for one that was too slow.
    if _is(error, "Timeout") or _is(error, "TimeoutError") or "timed out" in words:
        return "silent"
    return None
