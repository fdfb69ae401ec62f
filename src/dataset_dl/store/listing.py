"""List the objects below a prefix from Python, for the few files that s5cmd does not fetch."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode
from xml.etree import ElementTree

from dataset_dl.errors import NetworkError
from dataset_dl.model.series import StoredObject
from dataset_dl.network.session import plain_words, session
from dataset_dl.network.settings import NetworkSettings, without_secrets
from dataset_dl.store.addresses import object_url


def objects_below(network: NetworkSettings, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Yield all objects; their names, relative to the prefix, are unchecked: check them before writing.

    Raises
    ------
    NetworkError
        If the endpoint does not answer, or not like a store.
    """
    url = object_url(network, bucket, "")
    query = {"list-type": "2", "prefix": prefix}
    with session(network) as requesting, plain_words(url):
        while True:
            answer = requesting.get(f"{url}?{urlencode(query)}")
            page = _page(answer.content) if answer.ok else None
            if page is None:
                shown = without_secrets(url)
                raise NetworkError(
                    shown,
                    f"{shown} did not list the objects in {prefix} ({answer.status_code} {answer.reason}).",
                    "Nothing was changed. Check the network with `dataset-dl doctor`.",
                )
            for each in page.iterfind("{*}Contents"):
                found = {tag: each.findtext(f"{{*}}{tag}", "") for tag in ("Key", "Size", "ETag")}
                if not found["Size"].isdigit():
                    continue  # cannot be fetched and checked
                yield StoredObject(
                    found["Key"].removeprefix(prefix), int(found["Size"]), found["ETag"].strip('"')
                )
            token = page.findtext("{*}NextContinuationToken")
            if not token or token == query.get("continuation-token"):
                return
            query["continuation-token"] = token


def _page(content: bytes) -> ElementTree.Element | None:
    try:
        page = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return None
    return page if page.tag.endswith("ListBucketResult") else None
