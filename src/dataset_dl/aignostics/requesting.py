"""Requests to Google Cloud Storage: what an object is, what is below a folder, and the bytes of an object."""

from __future__ import annotations

import re
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

import requests

from dataset_dl.aignostics.account import Account
from dataset_dl.aignostics.addresses import GsAddress
from dataset_dl.aignostics.causes import Refused, no_store, refusal
from dataset_dl.aignostics.signing import VALID_SECONDS, keep_out_of_logs, resource_of, signed_url
from dataset_dl.model.outcome import Cause
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import CONNECT_SECONDS, READ_SECONDS, plain_words
from dataset_dl.network.session import session
from dataset_dl.network.settings import check_endpoint

_CRC32C = re.compile(r"(?:^|[,\s])crc32c=([A-Za-z0-9+/]{6}==)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MOST_ERROR_BYTES, _MOST_LISTING_BYTES = 1 << 16, 64 << 20
_EXPLAINED_IN_BODY = ("access_denied", "unknown")


class Found(NamedTuple):
    """An object as the store describes it.

    Attributes
    ----------
    address
        Its address.
    size_bytes
        Bytes as stored.
    generation
        The number of this content of it; an object that is replaced gets another one.
    crc32c
        Its checksum; None in a listing, which has none.
    """

    address: GsAddress
    size_bytes: int
    generation: int
    crc32c: int | None = None


class Requests:
    """Signed requests, from any thread.

    Parameters
    ----------
    network
        How to reach the store.
    account
        Who signs.
    read_seconds
        The longest wait for the next bytes.
    valid_seconds
        How long a signature is valid. Each request is signed anew.
    """

    def __init__(
        self,
        network: NetworkSettings,
        account: Account,
        *,
        read_seconds: float = READ_SECONDS,
        valid_seconds: int = VALID_SECONDS,
    ) -> None:
        self.account = account
        self._network = network
        self.endpoint = _endpoint_of(network)
        self._timeout = (CONNECT_SECONDS, read_seconds)
        self._valid_seconds = valid_seconds
        self._own = threading.local()
        self._sessions: list[requests.Session] = []
        keep_out_of_logs()

    def __enter__(self) -> Requests:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for each in self._sessions:
            each.close()

    def find(self, address: GsAddress) -> Found:
        """Ask for size, generation and checksum of an object.

        Raises
        ------
        Refused, NetworkError
            If the store refuses; if it cannot be reached.
        """
        # Otherwise Google unpacks what is stored compressed, and neither length nor checksum fit.
        headers = {"Accept-Encoding": "gzip"}
        with self._ask("HEAD", address, headers=headers) as response:
            response.raw.drain_conn()  # keeps the connection
            told = response.headers
            crc32c = _CRC32C.search(told.get("x-goog-hash", ""))
            generation = told.get("x-goog-generation", "")
            size = told.get("x-goog-stored-content-length") or told.get("Content-Length", "")
            if response.status_code != 200 or not (crc32c and generation.isdigit() and size.isdigit()):
                raise no_store(self.endpoint)
            return Found(address, int(size), int(generation), int.from_bytes(b64decode(crc32c[1]), "big"))

    def below(self, address: GsAddress) -> Iterator[Found]:
        """List the objects below a folder; the empty ones that only stand for folders are left out.

        Raises
        ------
        Refused, NetworkError
            As for `find`.
        """
        token = ""
        while True:
            query = {"list-type": "2", "prefix": address.key}
            if token:
                query["continuation-token"] = token
            with self._ask("GET", GsAddress(address.bucket, ""), query=query) as response:
                page = _page(_body(response, _MOST_LISTING_BYTES))
            if page is None:
                raise no_store(self.endpoint)
            several, token = page
            for key, size_bytes, generation in several:
                if not key.startswith(address.key):
                    raise no_store(self.endpoint)
                if not key.endswith("/"):
                    yield Found(GsAddress.of(f"gs://{address.bucket}/{key}"), size_bytes, generation)
            if not token:
                return

    def open(self, found: Found, begin: int) -> requests.Response:
        """Request an object from one of its bytes on; the body of the response holds exactly the rest.

        Raises
        ------
        Refused, NetworkError
            As for `find`; the cause is ``altered`` if the object was replaced.
        """
        headers = {"Accept-Encoding": "gzip"}
        if begin:
            headers["Range"] = f"bytes={begin}-"
        # Names in x-goog must be signed, so that nobody on the way changes them.
        signed = {"x-goog-if-generation-match": str(found.generation)}
        response = self._ask("GET", found.address, headers=headers, signed=signed)
        try:
            if (problem := _other_bytes(response, found, begin)) is not None:
                raise problem
        except BaseException:
            response.close()
            raise
        return response

    def _ask(
        self,
        method: str,
        address: GsAddress,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        signed: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return the response with status 200 or 206; raise what any other one means."""
        for is_last in (False, True):
            answer = self._once(method, address, query or {}, headers or {}, signed or {})
            if method == "HEAD" and isinstance(answer, Refused) and answer.cause in _EXPLAINED_IN_BODY:
                # The response to HEAD has no body, which would tell the reason.
                more = self._once("GET", address, {}, {**(headers or {}), "Range": "bytes=0-0"}, {})
                if isinstance(more, Refused):
                    answer = more
                else:
                    more.close()
                    if not is_last:
                        continue
            if not isinstance(answer, Refused):
                return answer
            if is_last or not answer.is_expired:
                raise answer
        raise AssertionError("the last try has returned or raised")

    def _once(
        self,
        method: str,
        address: GsAddress,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        signed: Mapping[str, str],
    ) -> requests.Response | Refused:
        url = signed_url(
            self.account, method, self.endpoint, resource_of(*address),
            query=query, headers=signed, valid_seconds=self._valid_seconds,
        )  # fmt: skip
        with plain_words(self.endpoint):
            response = self._session().request(
                method, url, headers={**headers, **signed},
                stream=True, allow_redirects=False, timeout=self._timeout,
            )  # fmt: skip
        if response.status_code in (200, 206):
            return response
        with response:
            body = _body(response, _MOST_ERROR_BYTES)
            return refusal(response.status_code, body, address, self.account.email)

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = session(self._network)
            self._sessions.append(self._own.session)
        made: requests.Session = self._own.session
        return made


def _endpoint_of(network: NetworkSettings) -> str:
    """Return scheme and host of Google's store, or of what stands in for it, as requests name them."""
    check_endpoint(network.gcs_endpoint_url)
    parts = urlsplit(network.gcs_endpoint_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_usual = parts.port in (None, _DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if is_usual else f":{parts.port}")


def _other_bytes(response: requests.Response, found: Found, begin: int) -> Refused | None:
    """Return what is wrong with a response to a request for the rest of an object, by its headers."""
    told, left = response.headers, found.size_bytes - begin
    cause: Cause = "network"
    if told.get("x-goog-generation", str(found.generation)) != str(found.generation):
        return Refused("altered", f"{found.address} was replaced while it was fetched", passing=False)
    if begin and response.status_code == 200:
        return Refused(cause, "the server does not continue what was cut off", passing=False)
    match = _CONTENT_RANGE.fullmatch(told.get("Content-Range", ""))
    if response.status_code == 206 and (
        match is None
        or [int(each) for each in match.groups()] != [begin, found.size_bytes - 1, found.size_bytes]
    ):
        return Refused(cause, "the server sent other bytes than it was asked for", passing=False)
    length = told.get("Content-Length")
    if length is not None and length != str(left):
        words = f"{length} bytes came instead of {left:,}; a sign-in page of your network may have answered"
        return Refused("truncated", words, passing=False)
    return None


def _body(response: requests.Response, most: int) -> bytes:
    """Return the body of a short response; nothing if it breaks off."""
    import urllib3

    try:
        return response.raw.read(most, decode_content=True)
    except urllib3.exceptions.HTTPError:
        return b""


def _page(body: bytes) -> tuple[list[tuple[str, int, int]], str] | None:
    """Parse a page of a listing: key, bytes and generation of each object, and the token of the next page."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return None
    if not root.tag.endswith("ListBucketResult"):
        return None
    space = root.tag.removesuffix("ListBucketResult")
    several = []
    for each in root.iterfind(f"{space}Contents"):
        size, generation = each.findtext(f"{space}Size", ""), each.findtext(f"{space}Generation", "")
        if not (size.isdigit() and generation.isdigit()):
            return None
        several.append((each.findtext(f"{space}Key", ""), int(size), int(generation)))
    is_last = root.findtext(f"{space}IsTruncated", "").strip().lower() != "true"
    return several, "" if is_last else root.findtext(f"{space}NextContinuationToken", "")
