"""The key: the same patient, UID and interval get the same pseudonym in every process, job and year.

Everything is a keyed digest (HMAC-SHA-256, RFC 2104), so nothing has to be remembered, and without the key
nothing can be turned back or tried out.
"""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path
from typing import Final

from dataset_dl.errors import SelectionError

VARIABLE, OLDER_VARIABLE = "DATASET_DL_PSEUDONYM_KEY", "ANONYMIZATION_SEED"
_SHORTEST = 16
# UIDs of the standard itself: SOP classes, transfer syntaxes, well-known frames of reference.
_OF_THE_STANDARD = "1.2.840.10008."
_PURPOSE: Final = b"dataset-dl pseudonyms 1"
_LEAST_DAYS, _RANGE_DAYS = 365, 3650


class Key:
    """A key for pseudonyms, which is shown nowhere.

    Parameters
    ----------
    secret
        At least 16 bytes.

    Raises
    ------
    SelectionError
        If it is shorter.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST:
            raise SelectionError(
                "key",
                f"The key for pseudonyms has {len(secret)} characters, which could be guessed; nothing was"
                " started.",
                f"Use at least {_SHORTEST}, like those that `openssl rand -hex 32` prints.",
            )
        self._key = hmac.digest(_PURPOSE, secret, "sha256")

    def __repr__(self) -> str:
        return "Key(…)"

    def __reduce__(self) -> str:
        raise TypeError("A key is not pickled.")

    @classmethod
    def gather(cls, file: Path | None = None) -> Key:
        """Read the key from a file, else from ``DATASET_DL_PSEUDONYM_KEY``, else ``ANONYMIZATION_SEED``.

        Raises
        ------
        SelectionError
            If there is none, or it is too short.
        """
        if file is not None:
            try:
                return cls(file.read_bytes().strip())
            except OSError as error:
                raise SelectionError(
                    str(file), f"The key file {file} cannot be read: {error.strerror}; nothing was started."
                ) from None
        for name in (VARIABLE, OLDER_VARIABLE):
            if secret := os.environ.get(name, "").strip():
                return cls(secret.encode())
        raise SelectionError(
            "key",
            "Pseudonyms need a key, and none was given; nothing was started.",
            f"Set {VARIABLE}; `pseudonymise` also takes --key-file FILE. Whoever has the key can tell which"
            " pseudonym a known patient has, so keep it apart from the data.",
        )

    def uid(self, uid: str) -> str:
        """Return the UID in place of another one; those of the standard stay.

        It is one below 2.25 (PS3.5, B.2), of at most 44 characters.
        """
        if not uid or uid.startswith(_OF_THE_STANDARD):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def pseudonym(self, patient_id: str) -> str:
        """Return the PatientID in place of another one: 16 characters."""
        return base64.b32encode(self._digest("patient", patient_id)[:10]).decode()

    def days(self, patient_id: str) -> int:
        """Return by how many days the dates of a patient move: from one to eleven years back."""
        number = int.from_bytes(self._digest("dates", patient_id)[:8], "big")
        return -(_LEAST_DAYS + number % _RANGE_DAYS)

    def mark(self, text: str) -> bytes:
        """Return a digest that tells a text from others, and says nothing of it without the key."""
        return self._digest("mark", text)[:16]

    def check(self) -> str:
        """Return what tells this key from another one."""
        return self._digest("check", "")[:4].hex()

    def cipher(self) -> bytes:
        """Return 32 bytes that encrypt a table of pseudonyms."""
        return self._digest("cipher", "")

    def _digest(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256")
