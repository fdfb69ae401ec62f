"""From the network settings to a `Route`, and from the address of a series to that of its objects."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from dataset_dl.engines.curl.route import Route
from dataset_dl.engines.curl.signing import signing_of
from dataset_dl.network import NetworkSettings
from dataset_dl.network.reasons import unreachable
from dataset_dl.store.addresses import S3Address, at_store, object_url


def route_to(network: NetworkSettings) -> Route:
    """Return the way to the store of these settings.

    Raises
    ------
    NetworkError
        If requests must be signed and there are no credentials.
    """
    proxy = network.proxy_for(network.request_url)
    parts = urlsplit(proxy)
    credentials = ""
    if parts.username is not None:
        # libcurl takes them decoded; only the first colon separates.
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if proxy else ""
    speaks_tls = network.request_url.startswith("https:") or parts.scheme == "https"
    signing = signing_of(os.environ) if network.sign else {}
    if signing is None:
        raise unreachable(network.endpoint_url, "no_credentials")
    return Route(bare, credentials, _authorities(network) if speaks_tls else "", **signing)


def _authorities(network: NetworkSettings) -> str:
    from dataset_dl.network import trust

    return str(network.bundle or trust.system_file() or "")


def prefix_of(address: str, network: NetworkSettings) -> tuple[str, str]:
    """Return the HTTP address of the bucket of a series, and the prefix of its keys."""
    place = S3Address.of(at_store(address, network))
    return object_url(network, place.bucket, ""), place.prefix
