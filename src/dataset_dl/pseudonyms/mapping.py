"""A table of who is who: only if somebody asks for it, encrypted with the key, and never beside the data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.scratch import written_whole

COLUMNS = ("level", "original", "pseudonym")
_MAGIC = b"dataset-dl pseudonyms 1\n"
_NONCE_BYTES = 12
_WAIT_SECONDS = 60.0

Row = tuple[str, str, str]


class Mapping:
    """The pseudonyms of patients, studies and series.

    Parameters
    ----------
    path
        The file; what it has already stays.
    key
        The key of the pseudonyms, which encrypts the file, too (AES-256-GCM).

    Raises
    ------
    SelectionError
        If the file is none, or of another key.
    """

    def __init__(self, path: Path, key: Key) -> None:
        self._path = path
        self._key = key
        self._rows: set[Row] = set(read(path, key)) if path.exists() else set()
        self._has_changed = False

    def add(self, original: tuple[str, str, str], new: tuple[str, str, str]) -> None:
        """Add who a file belongs to: patient, study and series, as they were and as they are."""
        levels = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        several = set(zip(levels, original, new, strict=True)) - self._rows
        self._rows |= several
        self._has_changed |= bool(several)

    def save(self) -> None:
        """Write the file anew, if something was added; what other runs have added stays.

        Raises
        ------
        StorageError
            If it cannot be written.
        SelectionError
            If it is a table no more, or one of another key.
        """
        if not self._has_changed:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_name(f".{self._path.name}.lock"), timeout=_WAIT_SECONDS):
                if self._path.exists():
                    self._rows |= set(read(self._path, self._key))
                self._write()
        except Timeout:
            raise StorageError(
                str(self._path),
                f"Another run has kept {self._path} for {_WAIT_SECONDS:.0f} seconds, so it was not written.",
                "Run the same command again when that has ended.",
            ) from None
        except OSError as error:
            raise StorageError(
                str(self._path), f"{self._path} cannot be written: {error.strerror}."
            ) from None
        self._has_changed = False

    def _write(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(sorted(self._rows)).encode()
        sealed = AESGCM(self._key.cipher()).encrypt(nonce, plain, _MAGIC)
        with written_whole(self._path) as path:
            path.touch(mode=0o600)
            path.write_bytes(_MAGIC + nonce + sealed)


def read(path: Path, key: Key) -> Iterator[Row]:
    """Yield the rows of a file.

    Raises
    ------
    SelectionError
        If it is none, or of another key.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data = path.read_bytes()
        if not data.startswith(_MAGIC):
            raise SelectionError(str(path), f"{path} is no table of pseudonyms; nothing was started.")
        rest = data[len(_MAGIC) :]
        plain = AESGCM(key.cipher()).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _MAGIC)
    except OSError as error:
        raise SelectionError(str(path), f"{path} cannot be read: {error.strerror}.") from None
    except (InvalidTag, ValueError):
        raise SelectionError(
            str(path), f"{path} was made with another key, or is damaged; nothing was started."
        ) from None
    yield from map(tuple, json.loads(plain))
