"""Requests to a server of XNAT: logged in once; a page that only looks like an answer is none."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import requests

from dataset_dl.errors import DatasetDlError, NetworkError, SelectionError, TransferError
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import CONNECT_SECONDS, plain_words
from dataset_dl.network.session import session
from dataset_dl.wording import visible
from dataset_dl.xnat.project import PASS, USER, Account, Project

# A full disk and its own failures reach a client of XNAT as 400, so this may pass, too.
_PASSING = (400, 409, 423, 429, 500, 502, 503, 504)
_MOST_WORDS = 300
# A program that ends does not wait for a server that does not answer.
_LOGOUT = (3.0, 3.0)


class Asking:
    """Asks a server, from several threads.

    Parameters
    ----------
    network
        How to reach it.
    project
        The project; its server is asked.
    account
        Who asks.
    """

    def __init__(self, network: NetworkSettings, project: Project, account: Account) -> None:
        self._network = network
        self.project = project
        self._account = account
        self._own = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self._is_refused = False

    def log_in(self) -> None:
        """Make sure that the account is accepted.

        Raises
        ------
        SelectionError
            If it is not.
        NetworkError
            If the server does not answer, or something else does.
        """
        self.text(self.ask("GET", "/JSESSION"))

    def close(self) -> None:
        """End the sessions of this account on the server, of which it allows only so many."""
        for each in self._sessions:
            with suppress(DatasetDlError, requests.RequestException):
                if each.cookies:
                    each.delete(f"{self.project.url}/data/JSESSION", allow_redirects=False, timeout=_LOGOUT)
            each.close()

    def rows(self, path: str, *, none_if_missing: bool = False, **given: str) -> list[Mapping[str, Any]]:
        """Return the rows of a list; of one that does not exist, none or an error."""
        others = (404,) if none_if_missing else ()
        response = self.ask("GET", path, others=others, params={"format": "json", **given})
        if response.status_code == 404:
            return []
        try:
            rows = response.json()["ResultSet"]["Result"]
            if not isinstance(rows, list):
                raise TypeError
        except (ValueError, LookupError, TypeError):
            raise self.strange(response) from None
        return [row for row in rows if isinstance(row, dict)]

    def text(self, response: requests.Response) -> str:
        """Return the body of an answer.

        Raises
        ------
        NetworkError
            If it is a page.
        """
        if "html" in response.headers.get("Content-Type", "") or response.text.lstrip()[:1] == "<":
            raise self.strange(response)
        return response.text

    def strange(self, response: requests.Response) -> NetworkError:
        """Return the error for an answer that is not of XNAT's interface."""
        return NetworkError(
            self.project.host,
            f"{self.project.host} answers {response.status_code} with a page that is not XNAT's interface.",
            "A sign-in page may have answered, or the address lacks a part; nothing more was changed.",
        )

    def ask(
        self,
        how: str,
        path: str,
        *,
        others: tuple[int, ...] = (),
        seconds: float | None = None,
        **given: Any,
    ) -> requests.Response:
        """Send a request under ``/data``; log in again if the session has ended.

        The statuses in `others` are returned like 200 and 201; any other one raises.
        """
        url = f"{self.project.url}/data{path}"
        if seconds is not None:
            given["timeout"] = (CONNECT_SECONDS, seconds)
        response = self._asked(how, url, given)
        if response.status_code == 401 and self._own.session.cookies:
            self._own.session.cookies.clear()
            response = self._asked(how, url, given)
        status = response.status_code
        if status in (200, 201, *others):
            return response
        host = self.project.host
        if status == 401:
            # Further tries with a wrong password would lock the account.
            self._is_refused = True
            raise self._refusal()
        if status in (301, 302, 303, 307, 308):
            raise NetworkError(
                host,
                f"{host} leads elsewhere ({status}), where a sign-in page may be; nothing was sent there.",
                "Use the address that it leads to, or ask for access without a sign-in page.",
            )
        if status in _PASSING:
            raise NetworkError(
                host, f"XNAT on {host} says {status}: {words_of(response)}.", "Try again later."
            )
        raise TransferError(host, f"XNAT on {host} refuses it ({status}): {words_of(response)}.")

    def _asked(self, how: str, url: str, given: Mapping[str, Any]) -> requests.Response:
        if self._is_refused:
            raise self._refusal()
        own = self._session
        # The password is sent to log in only; after that the cookie of the session is enough.
        login = None if own.cookies else (self._account.user, self._account.password)
        with plain_words(url):
            return own.request(how, url, allow_redirects=False, auth=login, **given)

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = session(self._network)
            with self._lock:
                self._sessions.append(self._own.session)
        made: requests.Session = self._own.session
        return made

    def _refusal(self) -> SelectionError:
        return SelectionError(
            self.project.host,
            f"XNAT on {self.project.host} does not accept the user {self._account.user}; nothing more was"
            " sent.",
            f"Check {USER} and {PASS}; a few more wrong ones may lock the account.",
        )


def words_of(response: requests.Response) -> str:
    """Return what a server says, without tags, as part of a sentence."""
    text = re.sub(r"<(style|script).*?</\1>", " ", response.text, flags=re.DOTALL | re.IGNORECASE)
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return visible(words)[:_MOST_WORDS].rstrip(". ") or "no reason"
