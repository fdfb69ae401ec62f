"""NBIA, TCIA's server: its addresses, and what can be asked of it.

The interface is version 4 of nbia-api (package ``gov.nih.nci.nbia.restAPI.v4`` of CBIIT/NBIA-TCIA). It needs
no account: what needed one has left NBIA.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import requests

from dataset_dl.engines.threads import Failed
from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import plain_words
from dataset_dl.network.session import session

HOST = "services.cancerimagingarchive.net"
# The National Lung Screening Trial has a server of its own.
HOSTS = (HOST, "nlst.cancerimagingarchive.net")
_BASE = "/nbia-api/services/v4"
_VARIABLE = "DATASET_DL_NBIA_URL"
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_AT_ONCE = 400
_TRIES, _PAUSE_SECONDS = 4, 1.0
_MOST_ANSWER_BYTES = 256_000_000


class NbiaAddress(NamedTuple):
    """The address of a series, ``nbia://HOST/SeriesInstanceUID``."""

    host: str
    SeriesInstanceUID: str

    @classmethod
    def of(cls, text: str) -> NbiaAddress:
        """Parse an address.

        Raises
        ------
        SelectionError
            If it is none, or of a server that is not TCIA's.
        """
        parts = urlsplit(text)
        host, uid = (parts.netloc or HOST).lower(), parts.path.strip("/")
        if parts.scheme.lower() != "nbia" or not is_uid(uid):
            raise SelectionError(
                text, f"“{text}” is not the address of a series; nothing was started.", _HOW_TO_WRITE
            )
        if host not in HOSTS:
            raise SelectionError(
                text,
                f"{host} is not a server of TCIA; nothing was started.",
                f"Those are {', '.join(HOSTS)}.",
            )
        return cls(host, uid)

    def __str__(self) -> str:
        return f"nbia://{self.host}/{self.SeriesInstanceUID}"


_HOW_TO_WRITE = f"Write it like nbia://{HOST}/1.2.840.113654."


def is_uid(text: str) -> bool:
    """Whether a text can be a UID."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


class Nbia:
    """What can be asked of a server, from several threads.

    Parameters
    ----------
    network
        How to reach it.
    host
        Which server.
    """

    def __init__(self, network: NetworkSettings, host: str = HOST) -> None:
        self._network = network
        self.host = host
        base = os.environ.get(_VARIABLE, f"https://{host}").rstrip("/")
        self.url = f"{base}{_BASE}"
        self._own = threading.local()

    def metadata(self, uids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return what NBIA tells of series, by UID; those that it does not have are left out.

        Raises
        ------
        NetworkError
            If it does not answer, or with something else.
        """
        found: dict[str, Mapping[str, Any]] = {}
        for begin in range(0, len(uids), _AT_ONCE):
            body = [("format", "json"), *(("list", uid) for uid in uids[begin : begin + _AT_ONCE])]
            rows = self._rows("POST", "getSeriesMetadata", body)
            found |= {str(row.get("SeriesInstanceUID")): row for row in rows}
        return {uid: row for uid, row in found.items() if uid in set(uids)}

    def rows(self, method: str, **given: str) -> list[Mapping[str, Any]]:
        """Return the rows of a method that lists something, like ``getSeries``.

        Raises
        ------
        NetworkError
            As for `metadata`.
        """
        return self._rows("GET", method, [("format", "json"), *given.items()])

    def instances(self, uid: str) -> list[str]:
        """Return the SOPInstanceUIDs of a series; empty if NBIA does not say."""
        rows = self._rows("GET", "getSOPInstanceUIDs", [("SeriesInstanceUID", uid), ("format", "json")])
        return [str(row["SOPInstanceUID"]) for row in rows if "SOPInstanceUID" in row]

    def archive(self, uid: str) -> requests.Response:
        """Request the zip of a series, whose body is not read yet.

        Raises
        ------
        Failed
            If NBIA refuses.
        NetworkError
            If it does not answer.
        """
        return self._file("getImage", {"SeriesInstanceUID": uid, "NewFileNames": "Yes", "IncludeMD5": "Yes"})

    def instance(self, uid: str, instance: str) -> requests.Response:
        """Request one instance, whose body is not read yet; errors as for `archive`."""
        return self._file("getSingleImage", {"SeriesInstanceUID": uid, "SOPInstanceUID": instance})

    def _file(self, method: str, given: Mapping[str, str]) -> requests.Response:
        url = f"{self.url}/{method}?{urlencode(given)}"
        with plain_words(url):
            response = self._session.get(url, stream=True, allow_redirects=False)
        kind = response.headers.get("Content-Type", "")
        if response.status_code == 200 and "html" not in kind and "text" not in kind:
            return response
        with response:
            raise _failure(response.status_code, kind, self.host)

    def _rows(self, how: str, method: str, given: Iterable[tuple[str, str]]) -> list[Mapping[str, Any]]:
        url = f"{self.url}/{method}"
        for attempt in range(_TRIES):
            with plain_words(url):
                response = (
                    self._session.post(url, data=list(given))
                    if how == "POST"
                    else self._session.get(url, params=list(given), allow_redirects=False)
                )
            # Only requests with GET are repeated by the session itself.
            if response.status_code not in (429, 500, 502, 503, 504) or attempt == _TRIES - 1:
                break
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        # Nothing found is 200 with an empty body, in earlier versions 204.
        if response.status_code in (200, 204) and not response.content:
            return []
        try:
            if response.status_code != 200 or len(response.content) > _MOST_ANSWER_BYTES:
                raise ValueError
            rows = response.json()
            if not isinstance(rows, list):
                raise ValueError
        except ValueError:
            raise NetworkError(
                self.host,
                f"{self.host} answers {response.status_code} in place of {method}; nothing was changed.",
                "A sign-in page of your network may have answered. Try again later.",
            ) from None
        return [row for row in rows if isinstance(row, dict)]

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = session(self._network)
        made: requests.Session = self._own.session
        return made


def _failure(status: int, kind: str, host: str) -> Failed:
    if status == 200:
        return Failed(
            "network", f"a page came in place of the series; {host} may be down, or a sign-in page answers"
        )
    if status in (400, 404):
        return Failed("not_found", f"{host} does not have it ({status})")
    if status in (401, 403):
        return Failed("access_denied", f"{host} refuses it ({status})")
    if 300 <= status < 400:
        return Failed("network", f"{host} leads elsewhere ({status}); a sign-in page may have answered")
    return Failed("server_error", f"{host} answered {status}")
