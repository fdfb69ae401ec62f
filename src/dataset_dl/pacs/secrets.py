"""What a node asks for to let someone in: from variables of the environment, else from the keyring.

Nothing else keeps it, and nothing shows it.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress

from dataset_dl.errors import MissingExtra, SelectionError

_SERVICE = "dataset-dl"
_PREFIX = "DATASET_DL_NODE_"


class Secret:
    """A header of authorisation; empty without one."""

    __slots__ = ("header",)

    def __init__(self, header: str = "") -> None:
        self.header = header

    def __repr__(self) -> str:
        return "Secret(…)" if self.header else "Secret()"

    def __reduce__(self) -> str:
        raise TypeError("A secret is not pickled.")


def variables(name: str) -> tuple[str, str, str]:
    """Return the variables for a node: of a token, a user and a password."""
    stem = _PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())
    return f"{stem}_TOKEN", f"{stem}_USER", f"{stem}_PASSWORD"


def secret_of(name: str, *, in_keyring: bool = False) -> Secret:
    """Find the token, or the user and the password, for a node."""
    token, user, password = (os.environ.get(each, "") for each in variables(name))
    if not token and not user and in_keyring:
        token, user, password = _kept(name)
    if token:
        return Secret(f"Bearer {token}")
    if user:
        return Secret(f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")
    return Secret()


def keep(name: str, *, token: str = "", user: str = "", password: str = "") -> None:
    """Keep a token, or a user and a password, in the keyring of this system.

    Raises
    ------
    SelectionError
        If there is no keyring.
    """
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise MissingExtra("pacs", "keyring") from None
    forget(name)
    try:
        if token:
            keyring.set_password(_SERVICE, f"{name}:token", token)
        else:
            keyring.set_password(_SERVICE, f"{name}:user", user)
            keyring.set_password(_SERVICE, f"{name}:password", password)
        if not any(_kept(name)):
            raise keyring.errors.KeyringError
    except keyring.errors.KeyringError as error:
        first, second, third = variables(name)
        raise SelectionError(
            name,
            f"This system has no keyring that can be used ({type(error).__name__}); nothing was kept.",
            f"Set {first}, or {second} and {third}, where the program runs.",
        ) from None


def forget(name: str) -> None:
    """Remove what the keyring has for a node."""
    with suppress(Exception):  # a keyring that is not there has nothing to remove
        import keyring

        for kind in ("token", "user", "password"):
            if keyring.get_password(_SERVICE, f"{name}:{kind}") is not None:
                keyring.delete_password(_SERVICE, f"{name}:{kind}")


def _kept(name: str) -> tuple[str, str, str]:
    try:
        import keyring

        found = [keyring.get_password(_SERVICE, f"{name}:{kind}") for kind in ("token", "user", "password")]
    except Exception:  # a system without a keyring raises in many ways, and has no secrets
        return "", "", ""
    token, user, password = (each or "" for each in found)
    return token, user, password
