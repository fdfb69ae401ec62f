"""How libcurl reaches a store: everything that it would otherwise guess from the environment. Pure."""

from __future__ import annotations

from urllib.parse import quote

import msgspec


class Route(msgspec.Struct, frozen=True):
    """The way to a store. Contains secrets: it goes to a worker through its standard input only.

    Attributes
    ----------
    proxy, proxy_credentials
        Address of the proxy without credentials, and ``USER:PASSWORD``; empty for none.
    authorities
        File with the trusted authorities; empty for the system's own store.
    signature, credentials, session_token
        For signed requests: libcurl's ``aws-sigv4`` parameter, ``KEY:SECRET``, and a temporary token.
    """

    proxy: str = ""
    proxy_credentials: str = msgspec.field(default="")
    authorities: str = ""
    signature: str = ""
    credentials: str = ""
    session_token: str = ""

    def __repr__(self) -> str:
        return f"Route(proxy={self.proxy!r}, authorities={self.authorities!r})"


def listing_url(bucket_url: str, prefix: str, token: str = "", most: int | None = None) -> str:
    """Return the address of a page of a listing."""
    # Sorted by name, as a signature requires.
    query = {"continuation-token": token, "list-type": "2", "max-keys": most, "prefix": prefix}
    words = (f"{name}={quote(str(value), safe='')}" for name, value in query.items() if value)
    return f"{bucket_url}?{'&'.join(words)}"
