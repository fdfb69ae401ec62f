"""List the objects below a prefix from Python, for the few files that no engine fetches."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

from dataset_dl.errors import NetworkError
from dataset_dl.model.series import StoredObject
from dataset_dl.network.many import ManyRequests
from dataset_dl.network.rules import plain_words
from dataset_dl.network.settings import NetworkSettings, without_secrets
from dataset_dl.store.addresses import object_url
from dataset_dl.store.pages import parse_page

_OK = 200


def objects_below(network: NetworkSettings, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Yield all objects; their names, relative to the prefix, are unchecked: check them before writing.

    Raises
    ------
    NetworkError
        If the endpoint does not answer, or not like a store.
    """
    url = object_url(network, bucket, "")
    query = {"list-type": "2", "prefix": prefix}
    with ManyRequests(network, 1) as requesting, plain_words(url):
        while True:
            answer = requesting.get(f"{url}?{urlencode(query)}", {})
            content = answer.data
            page = parse_page(content, prefix) if answer.status == _OK else None
            if page is None:
                shown = without_secrets(url)
                raise NetworkError(
                    shown,
                    f"{shown} did not list the objects in {prefix} ({answer.status} {answer.reason}).",
                    "Nothing was changed. Check the network with `dataset-dl doctor`.",
                )
            yield from page.objects
            if not page.token or page.token == query.get("continuation-token"):
                return
            query["continuation-token"] = page.token
