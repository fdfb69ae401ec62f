"""Where a store may send a request on to. Pure."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

_DOMAINS = ("amazonaws.com", "storage.googleapis.com")


def may_lead_to(url: str, target: str) -> bool:
    """Whether a store may redirect a request to another address.

    It may within its own domain, but never from TLS to plain HTTP.
    """
    here, there = urlsplit(url), urlsplit(urljoin(url, target))
    if here.scheme == "https" != there.scheme or there.scheme not in ("http", "https") or "@" in there.netloc:
        return False
    if here.netloc == there.netloc:
        return True
    return any(_is_in(here.hostname, each) and _is_in(there.hostname, each) for each in _DOMAINS)


def _is_in(host: str | None, domain: str) -> bool:
    return host == domain or (host or "").endswith(f".{domain}")
