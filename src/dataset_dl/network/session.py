"""HTTP requests from Python: the only place that creates sessions and translates their errors."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from dataset_dl import __version__
from dataset_dl.errors import NetworkError
from dataset_dl.network.reasons import Reason, unreachable
from dataset_dl.network.settings import NetworkSettings, without_secrets

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
_RETRIES = 4
_PASSING_STATUS = (429, 500, 502, 503, 504)
_POOL = 8
_LONGEST_PAUSE_SECONDS = 60.0


def session(network: NetworkSettings, *, retries: int = _RETRIES) -> requests.Session:
    """Create a session with the same proxies and certificate authorities as s5cmd.

    It retries after dropped connections, 429 and 5xx, with exponential backoff and jitter, or after the pause
    that ``Retry-After`` requests. The timeouts are 10 s to connect and 60 s between bytes.

    Parameters
    ----------
    network
        Network settings.
    retries
        How often to retry a request.
    """
    made = requests.Session()
    # Ignore the environment: the settings include it already, parsed in the same way as for s5cmd.
    made.trust_env = False
    made.headers["User-Agent"] = f"dataset-dl/{__version__}"
    adapter = _Adapter(network, retries)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made


class _Retry(urllib3.Retry):
    """Respects ``Retry-After``, but waits at most a minute."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_PAUSE_SECONDS)


def retrying(retries: int = _RETRIES) -> urllib3.Retry:
    """Return the rule when to ask again."""
    return _Retry(
        total=retries,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        status_forcelist=_PASSING_STATUS,
        allowed_methods={"GET", "HEAD"},
        raise_on_status=False,
        redirect=False,
    )


def proxy_headers(proxy: str) -> dict[str, str]:
    """Return the header with the password of a proxy, in UTF-8, as Go does; requests uses Latin-1."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


class _Adapter(HTTPAdapter):
    """Chooses the proxy for each request, also after a redirect; all requests trust the same authorities."""

    def __init__(self, network: NetworkSettings, retries: int) -> None:
        self._network = network
        self._context = ssl_context(network)
        super().__init__(pool_connections=_POOL, pool_maxsize=_POOL, max_retries=retrying(retries))

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(
            proxy, ssl_context=self._context, proxy_ssl_context=self._context, **options
        )

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return the header with the password."""
        return proxy_headers(proxy)

    def cert_verify(self, *arguments: Any, **options: Any) -> None:
        """Do nothing: the SSL context verifies; requests would load its own list of authorities."""

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        proxy = self._network.proxy_for(request.url or "")
        options["proxies"] = {"http": proxy, "https": proxy} if proxy else {}
        options["timeout"] = options.get("timeout") or (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, *arguments, **options)


def ssl_context(network: NetworkSettings) -> ssl.SSLContext:
    """Create the SSL context: the system's trust store, or the bundle if there is one."""
    if network.bundle is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=network.bundle)
        # Like Go, trust every certificate in the bundle, intermediate ones included.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
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


_UNTRUSTED = (requests.exceptions.SSLError, urllib3.exceptions.SSLError)
_PROXY_SILENT = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
_SILENT = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)


def _reason(error: Exception, words: str) -> Reason | None:
    if "failed: 407" in words or "407 client error" in words or "proxy authentication required" in words:
        return "proxy_password"
    if "tunnel connection failed" in words:
        return "proxy_fails" if re.search(r"tunnel connection failed: 50[0-9]", words) else "proxy_refuses"
    if "wrong_version_number" in words or "record layer failure" in words:
        return "no_tls"
    if isinstance(error, _UNTRUSTED) or "certificate" in words:
        return "untrusted"
    if isinstance(error, _PROXY_SILENT):
        return "proxy_silent"
    if isinstance(error, _SILENT) or "timed out" in words:
        return "silent"
    if "failed to resolve" in words or "getaddrinfo" in words or "name or service" in words:
        return "no_name"
    return "nothing_listens" if "refused" in words else None
