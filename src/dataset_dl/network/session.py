"""Sessions of requests; the only place that creates them."""

from __future__ import annotations

import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from dataset_dl import __version__
from dataset_dl.network.rules import (
    CONNECT_SECONDS,
    READ_SECONDS,
    RETRIES,
    proxy_headers,
    retrying,
)
from dataset_dl.network.settings import NetworkSettings

_POOL = 8


def session(
    network: NetworkSettings, *, retries: int = RETRIES, context: ssl.SSLContext | None = None
) -> requests.Session:
    """Create a session with the same proxies and certificate authorities as s5cmd.

    It retries after dropped connections, 429 and 5xx, with exponential backoff and jitter, or after the pause
    that ``Retry-After`` requests. The timeouts are 10 s to connect and 60 s between bytes.

    Parameters
    ----------
    network
        Network settings.
    retries
        How often to retry a request.
    context
        What verifies servers, and shows them a certificate of this machine; that of the settings if None.
    """
    made = requests.Session()
    # Ignore the environment: the settings include it already, parsed in the same way as for s5cmd.
    made.trust_env = False
    made.headers["User-Agent"] = f"dataset-dl/{__version__}"
    adapter = _Adapter(network, retries, context)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made


class _Adapter(HTTPAdapter):
    """Chooses the proxy for each request, also after a redirect; all requests trust the same authorities."""

    def __init__(self, network: NetworkSettings, retries: int, context: ssl.SSLContext | None) -> None:
        self._network = network
        self._context = context or network.ssl_context
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
