"""Which hosts bypass the proxy: NO_PROXY, parsed in one way for Python and s5cmd. Pure functions."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from dataset_dl.errors import SelectionError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?P<host>\*|\[[0-9a-f:.]+\]|(?:\*?\.)?[\w-]+(?:\.[\w-]+)*\.?)(?::(?P<port>[0-9]+))?")

_RANGE = re.compile(r"[0-9.]+-[0-9.]+")


def bypasses(url: str, no_proxy: str) -> bool:
    """Whether an address is reached without a proxy.

    Parameters
    ----------
    url
        The address, with its scheme.
    no_proxy
        Entries separated by commas or spaces: a host (``example.org``, ``.example.org`` or ``*.example.org``;
        each matches the host and its subdomains), an IP address, a range (``10.0.0.0/8``, matches only IP
        addresses), or ``*`` for everything. A host or an IP address may have a port, and then matches only
        that port. This machine itself always bypasses the proxy.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if is_loopback(host):
        return True
    address = _address(host)
    return any(_matches(entry, host, port, address) for entry in entries(no_proxy))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def entries(no_proxy: str) -> list[str]:
    """Split a list into its entries, in lower case."""
    return [entry for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry]


def check(no_proxy: str, origin: str) -> None:
    """Check that every entry is valid.

    Raises
    ------
    SelectionError
        If one is invalid; otherwise it would be silently ignored.
    """
    for entry in entries(no_proxy):
        if "/" in entry:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                raise _not_understood(entry, origin) from None
        elif _address(entry) is None and (_ENTRY.fullmatch(entry) is None or _RANGE.fullmatch(entry)):
            raise _not_understood(entry, origin)


def _matches(
    entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and address in ipaddress.ip_network(entry, strict=False)
    literal = _address(entry)
    if literal is not None:
        return literal == address
    match = _ENTRY.fullmatch(entry)
    if match is None or (match["port"] and int(match["port"]) != port):
        return False
    name = match["host"].strip("[]")
    if (literal := _address(name)) is not None:
        return literal == address
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _not_understood(entry: str, origin: str) -> SelectionError:
    return SelectionError(
        entry,
        f"“{entry}” in the list of hosts without a proxy ({origin}) is not a valid entry.",
        "Write example.org, .example.org, 10.1.2.3, 10.0.0.0/8 or example.org:8443, separated by commas.",
    )
