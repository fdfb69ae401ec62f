"""Many small requests at once on kept connections: urllib3 itself, which takes half the time of requests."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import urllib3

from dataset_dl import __version__
from dataset_dl.errors import NetworkError
from dataset_dl.network.rules import (
    CONNECT_SECONDS,
    READ_SECONDS,
    plain_words,
    proxy_headers,
    retrying,
)
from dataset_dl.network.settings import NetworkSettings, without_secrets

_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


class ManyRequests:
    """GET requests from several threads, by the rules of `session`: proxies, authorities, retries, timeouts.

    Parameters
    ----------
    network
        Network settings.
    at_once
        Connections that are kept for each host.
    """

    def __init__(self, network: NetworkSettings, at_once: int) -> None:
        self._network = network
        self._at_once = at_once
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._lock = Lock()
        self._retrying = retrying()
        self._own_headers = {"User-Agent": f"dataset-dl/{__version__}"}

    def __enter__(self) -> ManyRequests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Request an address and return the response, whose body is not read yet.

        Raises
        ------
        NetworkError
            If there is no response. That of a server, an error included, is returned.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            with plain_words(url):
                response = self._manager(url).request(
                    "GET", url, headers={**self._own_headers, **headers},
                    preload_content=False, redirect=False, retries=self._retrying,
                )  # fmt: skip
            target = response.headers.get("Location") if response.status in _REDIRECTS else None
            if target is None:
                return response
            response.release_conn()
            url = self._redirected(url, target)
        raise NetworkError(url, f"{without_secrets(url)} leads in circles.", "Check the address.")

    def close(self) -> None:
        """Close all connections."""
        for each in self._managers.values():
            each.clear()

    def _redirected(self, url: str, target: str) -> str:
        following = urljoin(url, target)
        before, after = urlsplit(url), urlsplit(following)
        if after.scheme not in ("http", "https") or (before.scheme, after.scheme) == ("https", "http"):
            shown = without_secrets(following)
            raise NetworkError(
                url, f"{without_secrets(url)} leads to {shown}, which is not safe.", "Check it."
            )
        return following

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the manager for the proxy of an address, or for none."""
        proxy = self._network.proxy_for(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = self._made(proxy)
            return self._managers[proxy]

    def _made(self, proxy: str) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        context = self._network.ssl_context
        if not proxy:
            return urllib3.PoolManager(maxsize=self._at_once, ssl_context=context, timeout=timeout)
        return urllib3.ProxyManager(
            proxy, maxsize=self._at_once, ssl_context=context, proxy_ssl_context=context, timeout=timeout,
            proxy_headers=proxy_headers(proxy),
        )  # fmt: skip
