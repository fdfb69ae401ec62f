"""A project of XNAT, and the account that may write to it; neither is ever shown with a password."""

from __future__ import annotations

import netrc
import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dataset_dl.errors import SelectionError
from dataset_dl.network.bypass import is_loopback

# XNAT's Container Service sets these three.
HOST, USER, PASS = "XNAT_HOST", "XNAT_USER", "XNAT_PASS"
# XFTs.REGEX_VALID_ID of XNAT.
_PROJECT = re.compile(r"[A-Za-z0-9_-]+")
_HOW = f"Write it like xnat:https://xnat.example.org/PROJECT, or xnat:PROJECT if {HOST} names the server."


class Project(NamedTuple):
    """A project: the address of its server, and its ID."""

    url: str
    name: str

    @classmethod
    def of(cls, text: str) -> Project:
        """Parse ``https://HOST[/CONTEXT]/PROJECT``, or ``PROJECT`` of the server that ``XNAT_HOST`` names.

        Raises
        ------
        SelectionError
            If it is none, or its password would be readable on the way.
        """
        given = os.environ.get(HOST, "").rstrip("/")
        url, _, name = (text if "://" in text else f"{given}/{text}").rstrip("/").rpartition("/")
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or parts.query or parts.fragment or parts.username or not _PROJECT.fullmatch(name):
            raise SelectionError(
                text, f"“{text}” names no project of an XNAT server; nothing was started.", _HOW
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname or "") and url != given:
            raise SelectionError(
                text,
                f"{url} has no TLS, so anyone on the way could read the password; nothing was started.",
                f"Write https://. If your site has only http, say so with {HOST}={url}.",
            )
        return cls(url, name)

    @property
    def host(self) -> str:
        """The host, without a port."""
        return urlsplit(self.url).hostname or ""

    def __str__(self) -> str:
        return f"{self.url}/{self.name}"


class Account:
    """A user and a password, or an alias token and its secret."""

    __slots__ = ("password", "user")

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password

    def __repr__(self) -> str:
        return f"Account({self.user!r})"

    def __reduce__(self) -> str:
        raise TypeError("An account holds a password, so it is not pickled.")


def find_account(project: Project) -> Account:
    """Find the account for a server: from ``XNAT_USER`` and ``XNAT_PASS``, else from the file ``.netrc``.

    If ``XNAT_HOST`` names another server, the variables are that server's and are not sent to this one.

    Raises
    ------
    SelectionError
        If there is none.
    """
    user, password = os.environ.get(USER, ""), os.environ.get(PASS, "")
    named = os.environ.get(HOST, "").rstrip("/")
    is_for_this = not named or _hosts(named) == _hosts(project.url)
    if user and password and is_for_this:
        return Account(user, password)
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc.netrc(path).authenticators(project.host)
    except (OSError, netrc.NetrcParseError):
        found = None
    if found and found[0] and found[2]:
        return Account(found[0], found[2])
    other = f" ({USER} and {PASS} are for {_hosts(named)[0]})" if user and password else ""
    raise SelectionError(
        project.host,
        f"There is no account for {project.host}{other}; nothing was started.",
        f"Set {USER} and {PASS}, also to an alias token and its secret, or add the host to ~/.netrc.",
    )


def _hosts(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        return parts.hostname, parts.port
    except ValueError:
        return None, None
