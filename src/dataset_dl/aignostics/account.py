"""The service account that signs: its address and its private key, which never leave this process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl.errors import MissingExtra, SelectionError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_HOW = f"Name the JSON file of a service account's key with --credentials or in {VARIABLE}."


class Account:
    """A service account.

    Parameters
    ----------
    email
        The address that names it.
    key
        Its private key.
    """

    __slots__ = ("_key", "email")

    def __init__(self, email: str, key: RSAPrivateKey) -> None:
        self.email = email
        self._key = key

    def __repr__(self) -> str:
        return f"Account({self.email!r})"

    def __reduce__(self) -> str:
        raise TypeError("An account holds a private key, so it is not pickled.")

    def sign(self, data: bytes) -> bytes:
        """Return the signature of data: RSASSA-PKCS1-v1_5 with SHA-256."""
        from cryptography.hazmat.primitives.asymmetric import padding
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, padding.PKCS1v15(), SHA256())


def find_account(credentials: str | Path | None = None) -> Account:
    """Read the key of a service account.

    Parameters
    ----------
    credentials
        The JSON file from Google; by default the one in ``GOOGLE_APPLICATION_CREDENTIALS``. Nothing else is
        tried: the login of gcloud and the server for metadata of Google's machines give no key to sign with.

    Raises
    ------
    MissingExtra
        If the extra is not installed.
    SelectionError
        If there is no such file, or it holds no key of a service account.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise MissingExtra("aignostics", "cryptography") from None
    named = os.fspath(credentials or os.environ.get(VARIABLE, ""))
    if not named:
        raise SelectionError("", "Requests must be signed, but no credentials are named.", _HOW)
    found = _read(Path(named).expanduser())
    email, pem = found.get("client_email"), found.get("private_key")
    if found.get("type") != "service_account" or not isinstance(email, str) or not isinstance(pem, str):
        kind = str(found.get("type", "none"))[:40]
        raise _unusable(named, f"it is of the type “{kind}”, and only the key of a service account can sign")
    try:
        key = load_pem_private_key(pem.encode(), None)
    except Exception:  # the words of the library may quote the key
        raise _unusable(named, "its private key cannot be read") from None
    if not isinstance(key, RSAPrivateKey):
        raise _unusable(named, "its private key is not an RSA key")
    return Account(email, key)


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise _unusable(str(path), f"it cannot be read ({error.strerror})") from None
    except ValueError:
        raise _unusable(str(path), "it is not JSON") from None
    if not isinstance(found, dict):
        raise _unusable(str(path), "it is not the JSON of a key")
    return found


def _unusable(named: str, reason: str) -> SelectionError:
    return SelectionError(
        named, f"The credentials in {named} cannot be used: {reason}; nothing was started.", _HOW
    )
