"""Sessions of people who have signed in, in memory: they end with the server."""

from __future__ import annotations

import hmac
import secrets
import threading
import time

from dataset_dl.model.page import Person
from dataset_dl.web.accounts import Accounts, scrypt, sha256

_SESSION_SECONDS = 12 * 3600.0
_MOST_TRIES, _LOCK_SECONDS = 5, 60.0
_MOST_NAMES = 10_000


class Sessions:
    """Lets people in by their passwords, and programs by tokens.

    Parameters
    ----------
    accounts
        Who there is.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._lock = threading.Lock()
        # Each takes 64 MB.
        self._room = threading.Semaphore(2)
        # Digest of the key → the name, the digest of the password, and when it ends.
        self._sessions: dict[str, tuple[str, str, float]] = {}
        # Name → tries, and when the last one was.
        self._tries: dict[str, tuple[int, float]] = {}

    def sign_in(self, name: str, password: str) -> str | None:
        """Return a key for a session; None if name or password are wrong, or were too often."""
        if not self._may_try(name):
            return None
        account = self._accounts.all().get(name)
        # An unknown name takes as long as a wrong password.
        salt = bytes.fromhex(account.salt) if account is not None else b"\0" * 16
        with self._room:
            digest = scrypt(password, salt)
        if account is None or not hmac.compare_digest(digest, account.digest):
            return None
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._tries.pop(name, None)
            self._sessions = {each: known for each, known in self._sessions.items() if known[2] > time.time()}
            self._sessions[sha256(key)] = name, account.digest, time.time() + _SESSION_SECONDS
        return key

    def _may_try(self, name: str) -> bool:
        """Count a try, before it is known how it ends: many at once are many, too."""
        now = time.monotonic()
        with self._lock:
            tries, last = self._tries.get(name, (0, 0.0))
            if now - last >= _LOCK_SECONDS:
                tries = 0
            if tries >= _MOST_TRIES:
                return False
            if len(self._tries) > _MOST_NAMES:
                self._tries.clear()
            self._tries[name] = tries + 1, now
        return True

    def sign_out(self, key: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(sha256(key), None)

    def person(self, key: str) -> Person | None:
        """Return who has a key of a session, or a token; None if nobody has."""
        if not key:
            return None
        with self._lock:
            name, digest, ends = self._sessions.get(sha256(key), ("", "", 0.0))
        account = self._accounts.all().get(name) if ends > time.time() else None
        # Another password ends the sessions of the one before.
        if account is not None and account.digest == digest:
            return account.person
        return self._accounts.person(key)
