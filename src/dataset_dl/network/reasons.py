"""Reasons why an endpoint cannot be reached: one message each, for Python and for s5cmd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dataset_dl.errors import CertificateError, ConnectionTimeout, NetworkError, ProxyError

Reason = Literal[
    "proxy_password",
    "proxy_refuses",
    "proxy_fails",
    "proxy_silent",
    "no_tls",
    "untrusted",
    "no_name",
    "nothing_listens",
    "silent",
    "no_store",
    "no_buckets",
    "no_credentials",
    "denied",
]

_AT = "{0} cannot be reached"
_WORDS: Mapping[Reason, tuple[type[NetworkError], str, str]] = {
    "proxy_password": (
        ProxyError,
        f"{_AT}: the proxy wants another user name or password.",
        "Put them into DATASET_DL_PROXY or HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT.",
    ),
    "proxy_refuses": (
        ProxyError,
        f"{_AT}: the proxy refuses to connect to it.",
        "Ask the proxy's administrators to allow it.",
    ),
    "proxy_fails": (
        ProxyError,
        f"{_AT}: the proxy does not reach it.",
        "Check the address, or ask the proxy's administrators.",
    ),
    "proxy_silent": (
        ProxyError,
        f"{_AT}: the proxy does not answer.",
        "Check its address and port: `dataset-dl doctor`.",
    ),
    "no_tls": (NetworkError, f"{_AT}: the server there does not speak TLS.", "Check http or https."),
    "untrusted": (
        CertificateError,
        f"{_AT} safely: its certificate is not trusted here.",
        "Point DATASET_DL_CA_BUNDLE at a PEM file with your organisation's certificate authority.",
    ),
    "no_name": (
        NetworkError,
        f"{_AT}: its name does not resolve.",
        "Check the address; behind a firewall, set HTTPS_PROXY.",
    ),
    "nothing_listens": (
        NetworkError,
        f"{_AT}: nothing listens there.",
        "Check the address and the port.",
    ),
    "silent": (
        ConnectionTimeout,
        f"{_AT}: no answer in time.",
        "A firewall may drop the connection; set HTTPS_PROXY if there is a proxy.",
    ),
    "no_store": (
        NetworkError,
        "{0} answers, but not as an S3 service does.",
        "A sign-in page of your network may have answered: sign in, or have the address allowed.",
    ),
    "no_buckets": (
        NetworkError,
        "{0} answers, but does not hold the buckets of IDC.",
        "Check --endpoint-url and --store.",
    ),
    "no_credentials": (
        NetworkError,
        f"{_AT}: requests must be signed, but there are no credentials.",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    ),
    "denied": (
        NetworkError,
        "{0} answers, but denies access.",
        "A mirror may require signed requests: use --sign, with credentials where AWS tools look for them.",
    ),
}


def unreachable(endpoint: str, reason: Reason) -> NetworkError:
    """Create the error for a reason; `endpoint` must not contain secrets."""
    kind, sentence, hint = _WORDS[reason]
    return kind(endpoint, sentence.format(endpoint), hint)
