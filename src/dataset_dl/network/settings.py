"""Where the network is reached and how: gathered once, from all places where it may be said."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import SplitResult, quote, unquote, urlsplit

from dataset_dl import configuration
from dataset_dl.errors import ProxyError, SelectionError
from dataset_dl.network.bypass import bypasses
from dataset_dl.network.bypass import check as check_no_proxy

Store = Literal["aws", "gcs"]

AWS_ENDPOINT_URL = "https://s3.amazonaws.com"
GCS_ENDPOINT_URL = "https://storage.googleapis.com"

# At Google each bucket has a host name of its own; proxies and NO_PROXY see such a one.
_GCS_BUCKET_URL = "https://idc-open-data.storage.googleapis.com"

_SETTINGS: Mapping[str, type] = {
    "endpoint_url": str,
    "store": str,
    "proxy": str,
    "no_proxy": str,
    "ca_bundle": str,
    "sign": bool,
}
_HTTPS_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_HTTP_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_NO_PROXIES = ("NO_PROXY", "no_proxy")
_CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE")
# Settings of AWS tools that would change where s5cmd goes or make it fail before it starts.
_UNWANTED = ("S3_ENDPOINT_URL", "AWS_CONFIG_FILE")
_CREDENTIALS = (
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


@dataclass(frozen=True)
class NetworkSettings:
    """How the buckets, and everything else, are reached.

    Attributes
    ----------
    store
        ``aws`` or ``gcs``: which of the two stores, and whose names the buckets have.
    endpoint_url
        Address of the S3 service; of the store's own service if it is not given.
    sign
        Whether requests to it are signed with the credentials of the usual AWS chain.
    https_proxy, http_proxy
        Addresses of the proxies for ``https://`` and ``http://``; empty for none. They may hold a password.
    no_proxy
        Hosts that are reached without them, see `network.bypass`.
    ca_bundles
        Files and folders with certificate authorities that are trusted besides the system's.
    origins
        Name of a setting → where it was said; a setting that is not there has its default.
    """

    store: Store = "aws"
    endpoint_url: str = ""
    sign: bool = False
    https_proxy: str = field(default="", repr=False)
    http_proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    ca_bundles: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.store not in get_args(Store):
            raise SelectionError(self.store, f"“{self.store}” is no store; there are aws and gcs.")
        if not self.endpoint_url:
            url = GCS_ENDPOINT_URL if self.store == "gcs" else AWS_ENDPOINT_URL
            object.__setattr__(self, "endpoint_url", url)
        check_endpoint(self.endpoint_url)
        for name in ("https_proxy", "http_proxy"):
            object.__setattr__(self, name, _proxy(getattr(self, name), self.origins.get(name, name)))
        check_no_proxy(self.no_proxy, self.origins.get("no_proxy", "no_proxy"))

    @classmethod
    def gather(
        cls,
        *,
        endpoint_url: str | None = None,
        store: Store | None = None,
        proxy: str | None = None,
        ca_bundle: str | Path | None = None,
        sign: bool | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> NetworkSettings:
        """Every setting from the first place that says it.

        The places, in their order: the arguments here (those of a command or of a function); the variables
        ``DATASET_DL_ENDPOINT_URL``, ``…_STORE``, ``…_PROXY``, ``…_NO_PROXY``, ``…_CA_BUNDLE``, ``…_SIGN``;
        the table ``[network]`` of the configuration file; the variables that other tools know, where both
        spellings of one are set the upper-case one. Of these, all that name certificate authorities count.

        Raises
        ------
        SelectionError
            If one cannot be understood; it is named with its place.
        """
        inherited = os.environ if environment is None else environment
        given = {"endpoint_url": endpoint_url, "store": store, "proxy": proxy,
                 "ca_bundle": str(ca_bundle) if ca_bundle else None, "sign": sign}  # fmt: skip
        # An empty value, as of an unset variable of a shell, says nothing.
        said = configuration.said("network", _SETTINGS, inherited)
        said |= {name: (value, "given") for name, value in given.items() if value not in (None, "")}
        found: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name in ("endpoint_url", "store", "sign", "no_proxy"):
            if name in said:
                found[name], origins[name] = said[name]
        for name, variables in (("https_proxy", _HTTPS_PROXIES), ("http_proxy", _HTTP_PROXIES)):
            value, origin = said.get("proxy") or _first(inherited, variables)
            if value:
                found[name], origins[name] = value, origin
        if "no_proxy" not in found:
            found["no_proxy"], origins["no_proxy"] = _first(inherited, _NO_PROXIES)
        bundles = [said["ca_bundle"]] if "ca_bundle" in said else []
        bundles += [(inherited[name], name) for name in _CA_BUNDLES if inherited.get(name) and not bundles]
        if bundles:
            paths = (path for each, origin in bundles for path in _paths(str(each), origin))
            found["ca_bundles"] = tuple(dict.fromkeys(paths))
            origins["ca_bundles"] = ", ".join(origin for _, origin in bundles)
        return cls(**found, origins={name: origin for name, origin in origins.items() if origin})

    def proxy_for(self, url: str) -> str:
        """The proxy that an address is reached through; empty if it is reached directly."""
        if bypasses(url, self.no_proxy):
            return ""
        return self.https_proxy if urlsplit(url).scheme == "https" else self.http_proxy

    @property
    def request_url(self) -> str:
        """The address that requests go to."""
        return _GCS_BUCKET_URL if self.endpoint_url.rstrip("/") == GCS_ENDPOINT_URL else self.endpoint_url

    @cached_property
    def bundle(self) -> Path | None:
        """One file with all authorities that are trusted, where the system's own are not enough.

        None if none are named and the system has some: then Python and s5cmd ask the system itself.

        Raises
        ------
        CertificateError
            If what is named cannot be used.
        """
        from dataset_dl.network import trust

        origin = self.origins.get("ca_bundles", "ca_bundles")
        named = [each for path in self.ca_bundles for each in trust.read(path, origin)]
        if not named and trust.has_system():
            return None
        return trust.write([*named, *trust.system(), *trust.public()], self)

    def child_environment(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for s5cmd: the given one, with these settings in the words that it knows.

        What is decided here is not decided again there: whether the endpoint is reached through a proxy, and
        which authorities are trusted.
        """
        inherited = os.environ if environment is None else environment
        unwanted = {*_UNWANTED, *_HTTPS_PROXIES, *_HTTP_PROXIES, *_NO_PROXIES, *_CA_BUNDLES}
        unwanted |= set() if self.sign else set(_CREDENTIALS)
        kept = {name: value for name, value in inherited.items() if name not in unwanted}
        if proxy := self.proxy_for(self.request_url):
            kept |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
        speaks_tls = any(urlsplit(url).scheme == "https" for url in (self.request_url, proxy))
        if speaks_tls and self.bundle is not None:
            kept["AWS_CA_BUNDLE"] = str(self.bundle)
        # Without a region s5cmd asks for one; a broken ~/.aws/config would be fatal to it.
        region = inherited.get("AWS_REGION", "us-east-1") if self.sign else "us-east-1"
        return kept | {"AWS_REGION": region, "AWS_SDK_LOAD_CONFIG": "0"}


def without_secrets(url: str) -> str:
    """An address as it may be shown: without what stands before its host, a query or a fragment."""
    if _parts(url) is None:  # nobody knows where in it a password stands
        return f"{url.partition('://')[0]}://***" if "://" in url else "***"
    if "://" not in url and (match := re.fullmatch(r"([^:@]*):(?![0-9]+$)[^@]*", url)):
        return f"{match[1]}:***"
    before, at, after = url.rpartition("@")
    # What stands before the last “@” may be a password with any sign in it.
    scheme = before.partition("://")[0] if at and re.match(r"[a-z0-9]+://", before) else ""
    shown = re.split(r"[?#]", after)[0]
    return f"{scheme}://***@{shown}" if scheme else shown


def check_endpoint(url: str) -> None:
    """Make sure that an address is that of an S3 service.

    Raises
    ------
    SelectionError
        If it is not; a password in it is not told.
    """
    parts = _parts(url)
    # s5cmd knows the schemes in lower case only.
    known = url.startswith(("http://", "https://")) and parts is not None and parts.hostname
    if parts is None or not known or "@" in parts.netloc or parts.query or parts.fragment:
        shown = without_secrets(url)
        raise SelectionError(
            shown,
            f"“{shown}” is not the address of an S3 service.",
            "Write it like https://s3.example.org or http://127.0.0.1:9000.",
        )


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    return None if re.search(r"[\x00-\x20\x7f]", url) else parts


def _proxy(url: str, origin: str) -> str:
    """A proxy's address in full, as Go and Python both read it; one without a scheme is meant as http."""
    url = url.strip()
    if not url:
        return ""
    full = url if re.match(r"[a-z0-9]+://", url, re.IGNORECASE) else f"http://{url}"
    shown = without_secrets(full)
    parts = _parts(full)
    if parts is not None and parts.scheme.startswith("socks"):
        raise ProxyError(
            shown,
            f"{shown}, which {origin} names, is a SOCKS proxy, and only HTTP proxies can be used; nothing was"
            " started.",
            "Ask for the address of the HTTP proxy, or let a local one speak SOCKS for you.",
        )
    usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname
    if parts is None or not usable or parts.path.strip("/") or parts.query or parts.fragment:
        raise ProxyError(
            shown,
            f"“{shown}”, which {origin} names, is not the address of a proxy; nothing was started.",
            "Write it like http://proxy.example.org:3128, with USER:PASSWORD@ before the host where needed,"
            " and signs like / ? # @ : in a password as %2F %3F %23 %40 %3A.",
        )
    credentials, at, host = parts.netloc.rpartition("@")
    if at:
        user, colon, password = credentials.partition(":")
        credentials = f"{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}"
    return f"{parts.scheme}://{credentials}{at}{host}"


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    return next(((environment[name], name) for name in names if environment.get(name)), ("", ""))


def _paths(value: str, origin: str) -> list[str]:
    return [each for each in value.split(os.pathsep) if each] if origin == "SSL_CERT_DIR" else [value]
