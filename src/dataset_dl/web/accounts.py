"""Accounts: people with passwords, tokens for programs, and what each may do; only digests are kept."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from filelock import FileLock
from msgspec.structs import replace

from dataset_dl import configuration
from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.model.page import Person
from dataset_dl.scratch import written_whole

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_RIGHT = re.compile(r"([a-z-]{1,32}|\*):([A-Za-z0-9_-]{1,64}|\*)")
_SHORTEST = 10
# RFC 7914; 64 MB and a tenth of a second for each try.
_SCRYPT = {"n": 1 << 16, "r": 8, "p": 1, "maxmem": 128 << 20}


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a program sends in place of a password; only its digest is kept.

    Attributes
    ----------
    label
        What it is for.
    digest
        SHA-256 of it; it is long and random, so nothing slower is needed.
    rights
        What it may do, of what its person may; all of that if None.
    ends
        When it ends, in seconds since 1970; None for never.
    """

    label: str
    digest: str
    rights: list[tuple[str, str]] | None = None
    ends: float | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person.

    Attributes
    ----------
    name
        The name to sign in with.
    salt, digest
        Of the password, by scrypt.
    is_owner
        Whether everything is allowed.
    rights
        Verb and node; ``*`` for any.
    tokens
        Those of their programs.
    """

    name: str
    salt: str
    digest: str
    is_owner: bool = False
    rights: list[tuple[str, str]] = []
    tokens: list[Token] = []

    @property
    def person(self) -> Person:
        """The person, with all of their rights."""
        return Person(self.name, self.is_owner, frozenset(self.rights))


class Accounts:
    """The accounts of a server.

    Parameters
    ----------
    path
        Their file; ``DATASET_DL_ACCOUNTS``, or ``accounts.json`` beside the configuration file, if None.
    """

    def __init__(self, path: Path | None = None) -> None:
        named = os.environ.get("DATASET_DL_ACCOUNTS")
        beside = configuration.config_path().parent / "accounts.json"
        self.path = path or (Path(named).expanduser() if named else beside)

    def all(self) -> dict[str, Account]:
        """Return the accounts by name.

        Raises
        ------
        SelectionError
            If the file cannot be read.
        """
        try:
            several = msgspec.json.decode(self.path.read_bytes(), type=list[Account])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise SelectionError(
                str(self.path), f"The file of the accounts, {self.path}, cannot be read: {error}."
            ) from None
        return {each.name: each for each in several}

    def add(self, name: str, password: str, *, is_owner: bool = False) -> None:
        """Add a person, or give them another password.

        Raises
        ------
        SelectionError
            If the name is not valid, or the password too short.
        """
        if not _NAME.fullmatch(name):
            raise SelectionError(
                name,
                f"“{name}” cannot be the name of an account; nothing was changed.",
                "Use letters, digits, - and _.",
            )
        if len(password) < _SHORTEST:
            raise SelectionError(
                name, f"The password has fewer than {_SHORTEST} characters; nothing was changed."
            )
        salt = secrets.token_bytes(16)
        digest = scrypt(password, salt)

        def added(known: dict[str, Account]) -> dict[str, Account]:
            before = known.get(name) or Account(name=name, salt="", digest="")
            made = replace(before, salt=salt.hex(), digest=digest, is_owner=is_owner or before.is_owner)
            return {**known, name: made}

        self._change(added)

    def remove(self, name: str) -> None:
        """Remove a person, and what their programs send.

        Raises
        ------
        SelectionError
            If there is none of this name.
        """
        self.find(name)
        self._change(lambda known: {key: each for key, each in known.items() if key != name})

    def find(self, name: str) -> Account:
        """Return an account.

        Raises
        ------
        SelectionError
            If there is none of this name.
        """
        known = self.all()
        if name not in known:
            raise SelectionError(name, f"There is no account “{name}”; nothing was changed.")
        return known[name]

    def grant(self, name: str, rights: list[tuple[str, str]]) -> None:
        """Allow something to a person."""
        self._with(name, lambda each: replace(each, rights=sorted({*each.rights, *rights})))

    def revoke(self, name: str, rights: list[tuple[str, str]]) -> None:
        """Allow something no more.

        Raises
        ------
        SelectionError
            If it was not allowed.
        """
        for verb, on in rights:
            if (verb, on) not in self.find(name).rights:
                raise SelectionError(f"{verb}:{on}", f"{name} has no right {verb}:{on}; nothing was changed.")
        self._with(name, lambda each: replace(each, rights=sorted({*each.rights} - {*rights})))

    def new_token(
        self, name: str, label: str, rights: list[tuple[str, str]] | None = None, days: float | None = None
    ) -> str:
        """Return a new token for a program of a person; it is shown once, and kept nowhere.

        Raises
        ------
        SelectionError
            If it is to allow what the person may not.
        """
        person = self.find(name).person
        for verb, on in rights or ():
            if not person.is_owner and (verb, on) not in person.rights and not person.may(verb, on):
                raise SelectionError(
                    f"{verb}:{on}", f"{name} may not {verb}:{on} either; nothing was changed."
                )
        made = secrets.token_urlsafe(32)
        kept = Token(
            label=label,
            digest=sha256(made),
            rights=rights,
            ends=None if days is None else time.time() + 86400 * days,
        )
        self._with(
            name,
            lambda each: replace(each, tokens=[*(old for old in each.tokens if old.label != label), kept]),
        )
        return made

    def remove_token(self, name: str, label: str) -> None:
        """Remove a token.

        Raises
        ------
        SelectionError
            If there is none of this label.
        """
        if label not in {each.label for each in self.find(name).tokens}:
            raise SelectionError(label, f"{name} has no token “{label}”; nothing was changed.")
        self._with(
            name, lambda each: replace(each, tokens=[old for old in each.tokens if old.label != label])
        )

    def person(self, token: str) -> Person | None:
        """Return whose token it is; None if it is none, or has ended."""
        digest, now = sha256(token), time.time()
        for account in self.all().values():
            for each in account.tokens:
                if hmac.compare_digest(each.digest, digest) and (each.ends is None or each.ends > now):
                    return _limited(account, each)
        return None

    def _with(self, name: str, change: Callable[[Account], Account]) -> None:
        self.find(name)
        self._change(lambda known: {**known, name: change(known[name])})

    def _change(self, change: Callable[[dict[str, Account]], dict[str, Account]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"), written_whole(self.path) as path:
                several = sorted(change(self.all()).values(), key=lambda each: each.name)
                path.touch(mode=0o600)
                path.write_bytes(msgspec.json.format(msgspec.json.encode(several), indent=2) + b"\n")
        except OSError as error:
            raise StorageError(
                str(self.path), f"The file of the accounts, {self.path}, cannot be written: {error.strerror}."
            ) from None


def _limited(account: Account, token: Token) -> Person:
    """Return a person as their token allows: never more than themselves."""
    person = account.person
    if token.rights is None:
        return person
    kept = {
        (verb, on)
        for verb, on in token.rights
        if person.is_owner or person.may(verb, on) or (verb, on) in person.rights
    }
    return Person(person.name, False, frozenset(kept))


def rights_of(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Parse rights like ``query:WARD`` or ``*:RESEARCH``.

    Raises
    ------
    SelectionError
        If one is none.
    """
    found = []
    for each in texts:
        match = _RIGHT.fullmatch(each)
        if match is None:
            raise SelectionError(
                each,
                f"“{each}” is no right; nothing was changed.",
                "Write VERB:NODE, like query:WARD or *:WARD.",
            )
        found.append((match[1], match[2]))
    return found


def scrypt(password: str, salt: bytes) -> str:
    """Return the digest of a password; it takes 64 MB and a tenth of a second."""
    return hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, **_SCRYPT).hex()


def sha256(text: str) -> str:
    """Return the digest of what is long and random."""
    return hashlib.sha256(text.encode()).hexdigest()
