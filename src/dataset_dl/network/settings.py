"""Network settings: endpoint, proxies and trust, gathered from all places that may set them."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import SplitResult, quote, unquote, urlsplit

from dataset_dl import configuration
from dataset_dl.errors import ProxyError, SelectionError
from dataset_dl.network.bypass import bypasses
from dataset_dl.network.bypass import check as check_no_proxy

Store = Literal["aws", "gcs", "auto"]

AWS_ENDPOINT_URL = "https://s3.amazonaws.com"
GCS_ENDPOINT_URL = "https://storage.googleapis.com"

# Google uses one host name per bucket; this is the kind of name that proxies and NO_PROXY see.
_GCS_BUCKET_URL = "https://idc-open-data.storage.googleapis.com"

_SETTINGS: Mapping[str, type] = {
    "endpoint_url": str,
    "aws_endpoint_url": str,
    "gcs_endpoint_url": str,
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
# Variables of AWS tools that would redirect s5cmd or make it fail at startup.
_UNWANTED = ("S3_ENDPOINT_URL", "AWS_CONFIG_FILE")
_CREDENTIALS = (
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


# What the running command has set, for what asks for settings by itself, like sources and consumers.
_of_command: ContextVar[Mapping[str, Any]] = ContextVar("of_command", default={})  # noqa: B039 (never changed)


def set_for_command(**given: Any) -> None:
    """Make settings hold for all that the running command does, as if `gather` was given them."""
    _of_command.set({**_of_command.get(), **given})


@dataclass(frozen=True)
class NetworkSettings:
    """How to reach the buckets and everything else.

    Attributes
    ----------
    store
        ``aws`` or ``gcs``; also determines the names of the buckets. ``auto`` is both, see `at`; requests
        that do not choose go to AWS.
    endpoint_url
        Address of the S3 service; defaults to that of the store.
    aws_endpoint_url, gcs_endpoint_url
        Addresses of the two stores; default to their own services.
    sign
        Whether to sign requests with credentials from the usual AWS chain.
    https_proxy, http_proxy
        Addresses of the proxies for ``https://`` and ``http://``; empty for none. May contain a password.
    no_proxy
        Hosts that bypass the proxies, see `network.bypass`.
    ca_bundles
        Files and folders with certificate authorities to trust in addition to the system's.
    origins
        Name of a setting → where it was set; settings not listed have their default.
    """

    store: Store = "aws"
    endpoint_url: str = ""
    aws_endpoint_url: str = AWS_ENDPOINT_URL
    gcs_endpoint_url: str = GCS_ENDPOINT_URL
    sign: bool = False
    https_proxy: str = field(default="", repr=False)
    http_proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    ca_bundles: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.store not in get_args(Store):
            raise SelectionError(self.store, f"“{self.store}” is not a store; choose aws, gcs or auto.")
        if self.store == "auto" and self.endpoint_url:
            raise SelectionError(
                self.endpoint_url,
                f"The store auto chooses between two, but {without_secrets(self.endpoint_url)} is one;"
                " nothing was started.",
                "Leave one of them out; DATASET_DL_AWS_ENDPOINT_URL and …_GCS_ENDPOINT_URL name two.",
            )
        if not self.endpoint_url:
            url = self.gcs_endpoint_url if self.store == "gcs" else self.aws_endpoint_url
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
        """Read each setting from the first place that sets it.

        The places, in order: the arguments (from a command or a function call); the variables
        ``DATASET_DL_ENDPOINT_URL``, ``…_AWS_ENDPOINT_URL``, ``…_GCS_ENDPOINT_URL``, ``…_STORE``,
        ``…_PROXY``, ``…_NO_PROXY``, ``…_CA_BUNDLE``, ``…_SIGN``;
        the table ``[network]`` of the configuration file; the variables of other tools, of which upper case
        overrides lower case. If several variables of other tools name certificate authorities, all are
        trusted.

        Raises
        ------
        SelectionError
            If a setting is invalid.
        """
        inherited = os.environ if environment is None else environment
        given = {"endpoint_url": endpoint_url, "store": store, "proxy": proxy,
                 "ca_bundle": str(ca_bundle) if ca_bundle else None, "sign": sign}  # fmt: skip
        # Empty values, for example from unset shell variables, are ignored.
        stated = configuration.stated("network", _SETTINGS, inherited)
        for several in (_of_command.get(), given):
            stated |= {name: (value, "given") for name, value in several.items() if value not in (None, "")}
        found: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name in ("endpoint_url", "aws_endpoint_url", "gcs_endpoint_url", "store", "sign", "no_proxy"):
            if name in stated:
                found[name], origins[name] = stated[name]
        for name, variables in (("https_proxy", _HTTPS_PROXIES), ("http_proxy", _HTTP_PROXIES)):
            value, origin = stated.get("proxy") or _first(inherited, variables)
            if value:
                found[name], origins[name] = value, origin
        if "no_proxy" not in found:
            found["no_proxy"], origins["no_proxy"] = _first(inherited, _NO_PROXIES)
        bundles = [stated["ca_bundle"]] if "ca_bundle" in stated else []
        bundles += [(inherited[name], name) for name in _CA_BUNDLES if inherited.get(name) and not bundles]
        if bundles:
            paths = (path for each, origin in bundles for path in _paths(str(each), origin))
            found["ca_bundles"] = tuple(dict.fromkeys(paths))
            origins["ca_bundles"] = ", ".join(origin for _, origin in bundles)
        return cls(**found, origins={name: origin for name, origin in origins.items() if origin})

    def at(self, store: Store) -> NetworkSettings:
        """Return these settings for one of the two stores."""
        return replace(self, store=store, endpoint_url="")

    def proxy_for(self, url: str) -> str:
        """Return the proxy for an address; empty if it is reached directly."""
        if bypasses(url, self.no_proxy):
            return ""
        return self.https_proxy if urlsplit(url).scheme == "https" else self.http_proxy

    @property
    def request_url(self) -> str:
        """Address that requests are sent to."""
        return _GCS_BUCKET_URL if self.endpoint_url.rstrip("/") == GCS_ENDPOINT_URL else self.endpoint_url

    @cached_property
    def bundle(self) -> Path | None:
        """One file with all trusted authorities, if the system's own are not enough.

        None if `ca_bundles` is empty and the system has authorities; Python and s5cmd then use those.

        Raises
        ------
        CertificateError
            If a file or folder of `ca_bundles` cannot be used.
        """
        from dataset_dl.network import trust

        origin = self.origins.get("ca_bundles", "ca_bundles")
        named = [each for path in self.ca_bundles for each in trust.read(path, origin)]
        if not named and trust.has_system():
            return None
        return trust.write([*named, *trust.system(), *trust.public()], self)

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """What requests from Python trust: the system's store, or the bundle if there is one.

        All sessions share it, because it takes long to read all authorities.

        Raises
        ------
        CertificateError
            As for `bundle`.
        """
        if self.bundle is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cafile=self.bundle)
            # Like Go, trust every certificate in the bundle, intermediate ones included.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            return context
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def child_environment(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment for s5cmd: the given one, with these settings as variables that s5cmd reads.

        The decisions are made here, not by s5cmd: whether to use a proxy for the endpoint, and which
        authorities to trust.
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
        # Without a region s5cmd requests it from the store; a broken ~/.aws/config would make it fail.
        region = inherited.get("AWS_REGION", "us-east-1") if self.sign else "us-east-1"
        return kept | {"AWS_REGION": region, "AWS_SDK_LOAD_CONFIG": "0"}


def without_secrets(url: str) -> str:
    """Remove user name, password, query and fragment from an address, so that it can be shown."""
    if _parts(url) is None:  # a password may be anywhere in it
        return f"{url.partition('://')[0]}://***" if "://" in url else "***"
    if "://" not in url and (match := re.fullmatch(r"([^:@]*):(?![0-9]+$)[^@]*", url)):
        return f"{match[1]}:***"
    before, at, after = url.rpartition("@")
    # Anything before the last “@” may be a password, with any character in it.
    scheme = before.partition("://")[0] if at and re.match(r"[a-z0-9]+://", before) else ""
    shown = re.split(r"[?#]", after)[0]
    return f"{scheme}://***@{shown}" if scheme else shown


def check_endpoint(url: str) -> None:
    """Check that an address can be that of an S3 service.

    Raises
    ------
    SelectionError
        If it is not; the message contains no password.
    """
    parts = _parts(url)
    # s5cmd accepts only lower-case schemes.
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
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return None
    return None if re.search(r"[\x00-\x20\x7f]", url) else parts


def _proxy(url: str, origin: str) -> str:
    """Normalise a proxy's address so that Go and Python parse it alike; the scheme defaults to http."""
    url = url.strip()
    if not url:
        return ""
    full = url if re.match(r"[a-z0-9]+://", url, re.IGNORECASE) else f"http://{url}"
    shown = without_secrets(full)
    parts = _parts(full)
    if parts is not None and parts.scheme.startswith("socks"):
        raise ProxyError(
            shown,
            f"{shown} ({origin}) is a SOCKS proxy, but only HTTP proxies are supported; nothing was started.",
            "Ask for the address of the HTTP proxy, or run a local one that forwards to the SOCKS proxy.",
        )
    usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname
    if parts is None or not usable or parts.path.strip("/") or parts.query or parts.fragment:
        raise ProxyError(
            shown,
            f"“{shown}” ({origin}) is not the address of a proxy; nothing was started.",
            "Write it like http://proxy.example.org:3128, with USER:PASSWORD@ before the host if needed,"
            " and characters like / ? # @ : in a password as %2F %3F %23 %40 %3A.",
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
