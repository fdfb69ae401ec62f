"""Check whether an endpoint is a store at all."""

from __future__ import annotations

from urllib.parse import quote

import requests

from dataset_dl.network.reasons import unreachable
from dataset_dl.network.session import session
from dataset_dl.network.settings import NetworkSettings
from dataset_dl.store.addresses import S3Address, object_url

_TIMEOUT_SECONDS = (5.0, 10.0)
_LOOKED_AT_BYTES = 4096


def check_store(network: NetworkSettings, series_url: str) -> None:
    """Distinguish an empty store from a web page: s5cmd sees an empty list in both cases.

    Parameters
    ----------
    network
        Network settings.
    series_url
        ``s3://BUCKET/SERIES/*`` at this store.

    Raises
    ------
    NetworkError
        If the endpoint is not an S3 service.
    """
    address = S3Address.of(series_url)
    query = f"list-type=2&max-keys=1&prefix={quote(address.prefix)}"
    url = f"{object_url(network, address.bucket, '')}?{query}"
    try:
        with (
            session(network, retries=0) as requesting,
            requesting.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as answer,
        ):
            if not answer.ok:
                return  # s5cmd understands the errors of an S3 service
            beginning = b""
            for chunk in answer.iter_content(_LOOKED_AT_BYTES):
                beginning += chunk
                if len(beginning) >= _LOOKED_AT_BYTES:
                    break
    except (requests.RequestException, ValueError):
        return  # ignore: s5cmd got an answer, and s5cmd does the fetching
    if b"<ListBucketResult" not in beginning:
        raise unreachable(network.endpoint_url, "no_store")
