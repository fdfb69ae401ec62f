"""An archive that speaks DICOMweb (PS3.18): QIDO-RS, WADO-RS and STOW-RS."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import requests

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import CONNECT_SECONDS, plain_words
from dataset_dl.network.session import session
from dataset_dl.pacs.matching import agreement
from dataset_dl.pacs.multipart import Body
from dataset_dl.pacs.nodes import Node, tls_of
from dataset_dl.pacs.secrets import secret_of, variables
from dataset_dl.wording import visible

JSON = "application/dicom+json"
_PAGE = 1000
# What an address cannot hold as it is.
_ENCODED = re.compile(r"[^A-Za-z0-9*?,._~-]")
_BUSY, _BROKEN = (408, 425, 429, 503), (500, 502, 504)
_MOST_WORDS = 300

# Keyword → text.
Row = dict[str, str]
_PATHS = {"study": "studies", "series": "series", "image": "instances"}


class Stored(NamedTuple):
    """What an archive says of an instance that was sent to it: the reason if it refused or warned."""

    is_stored: bool
    reason: int | None


class NotTaken(SelectionError):
    """An archive refuses what it was asked or sent."""


class NotGiven(NetworkError):
    """An archive fails at what it was asked; it may be for this alone."""


class DicomWeb:
    """Asks the DICOMweb services of a node, in one thread.

    Parameters
    ----------
    node
        The node.
    network
        How to reach it.
    """

    def __init__(self, node: Node, network: NetworkSettings) -> None:
        self.node = node
        self._secret = secret_of(node.name, in_keyring=node.in_keyring)
        self._host = urlsplit(node.dicomweb).hostname or ""
        certificate = node.client_certificate
        self._session = session(network, context=tls_of(network, certificate) if certificate else None)

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def find(self, level: str, keys: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Row]:
        """Query (QIDO-RS); all pages.

        Parameters
        ----------
        level
            ``study``, ``series`` or ``image``.
        keys
            What must match, by keyword.
        wanted
            The attributes to return.

        Raises
        ------
        NetworkError
            If it does not answer, or something else does.
        SelectionError
            If it refuses.
        """
        keys, path = dict(keys), ""
        if level != "study" and (study := keys.get("StudyInstanceUID")) and _is_single(study):
            path = f"/studies/{keys.pop('StudyInstanceUID')}"
            if level == "image" and (series := keys.get("SeriesInstanceUID")) and _is_single(series):
                path += f"/series/{keys.pop('SeriesInstanceUID')}"
        given = [*((key, value.replace("\\", ",")) for key, value in keys.items() if value)]
        given += [("includefield", name) for name in wanted]
        unique = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "image": "SOPInstanceUID"}[
            level
        ]
        several = self._pages(f"{path}/{_PATHS[level]}", given, unique)
        first = next(several, None)
        if first is None and any(_ENCODED.search(value) for _, value in given):
            # Some servers, Orthanc among them, do not decode what is encoded; more may come then.
            wild = [(key, _ENCODED.sub("?", value)) for key, value in given]
            agrees = agreement(keys)
            several = (row for row in self._pages(f"{path}/{_PATHS[level]}", wild, unique) if agrees(row))
            first = next(several, None)
        if first is not None:
            yield first
            yield from several

    def _pages(self, path: str, given: list[tuple[str, str]], unique: str) -> Iterator[Row]:
        seen: set[str] = set()
        count = 0
        while True:
            page, is_cut = self._rows(path, [*given, ("limit", str(_PAGE)), ("offset", str(count))])
            count += len(page)
            new = [row for row in page if row.get(unique, "") not in seen]
            seen.update(row.get(unique, "") for row in new)
            yield from new
            if not page:
                return
            if not new:
                # It ignores the offset: then the first page is all, unless it says that there is more.
                if is_cut or len(page) >= _PAGE:
                    raise NotTaken(
                        self.node.name,
                        f"{self.node.name} has more matches than it tells of, so none was taken.",
                        "Ask for less, for example for fewer days.",
                    )
                return

    def retrieve(self, study: str, series: str, instance: str = "") -> requests.Response:
        """Request a series, or an instance of it (WADO-RS), as it is stored; the body is not read yet.

        Raises
        ------
        NetworkError, SelectionError
            As for `find`.
        """
        path = f"/studies/{study}/series/{series}" + (f"/instances/{instance}" if instance else "")
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        # Pixels that are compressed once more cost time and gain little.
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        return self._asked("GET", path, headers=headers, stream=True)

    def store(self, files: Sequence[Any]) -> dict[str, Stored]:
        """Send instances (STOW-RS).

        Returns
        -------
        dict
            SOPInstanceUID → what the archive says; those that it says nothing of are left out.

        Raises
        ------
        NetworkError
            If it does not answer.
        SelectionError
            If it refuses all of them without saying which.
        """
        boundary = secrets.token_hex(16)
        response = self._asked(
            "POST",
            "/studies",
            others=(202, 400, 409, 415),
            data=Body(files, boundary),
            headers={
                "Accept": JSON,
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            },
        )
        try:
            found = _stored(response.json())
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            found = {}
        if not found and response.status_code >= 300:
            raise self._refused(response)
        return found

    def can_store(self) -> bool:
        """Whether it takes instances, by a request that has none."""
        boundary = secrets.token_hex(16)
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        response = self._asked(
            "POST", "/studies", others=(202, 204, 400, 404, 405, 409, 415, 501),
            data=Body([], boundary), headers={"Accept": JSON, "Content-Type": kind},
        )  # fmt: skip
        return response.status_code not in (404, 405, 501)

    def _rows(self, path: str, given: list[tuple[str, str]]) -> tuple[list[Row], bool]:
        """Return a page, and whether the server says that it is not all (PS3.18, 8.3.4.4)."""
        # Some servers, Orthanc among them, do not take an encoded asterisk for a wildcard.
        query = urlencode(given, quote_via=quote, safe="*?,")
        response = self._asked("GET", f"{path}?{query}", others=(204,), headers={"Accept": JSON})
        if response.status_code == 204 or not response.content:
            return [], False
        is_cut = response.headers.get("Warning", "").startswith("299")
        try:
            rows = response.json()
            if not isinstance(rows, list):
                raise TypeError
            return [_row(each) for each in rows], is_cut
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._strange(response) from None

    def _asked(
        self, how: str, path: str, *, others: tuple[int, ...] = (), headers: Mapping[str, str], **given: Any
    ) -> requests.Response:
        url = f"{self.node.dicomweb}{path}"
        sent = {**headers, "Authorization": self._secret.header} if self._secret.header else dict(headers)
        timeout = (CONNECT_SECONDS, self.node.timeout_seconds)
        with plain_words(url):
            response: requests.Response = self._session.request(
                how, url, headers=sent, allow_redirects=False, timeout=timeout, **given
            )
        status, name = response.status_code, self.node.name
        if status == 200 or status in others:
            return response
        if status == 401:
            token, user, password = variables(name)
            raise SelectionError(
                name,
                f"{name} ({self._host}) does not let this user in; nothing more was asked.",
                f"Set {token}, or {user} and {password}, or run `dataset-dl pacs nodes login {name}`.",
            )
        if 300 <= status < 400:
            raise NetworkError(
                name,
                f"{name} ({self._host}) leads elsewhere ({status}), where a sign-in page may be; nothing was"
                " sent there.",
                "Use the address that it leads to.",
            )
        if status in (*_BUSY, *_BROKEN):
            kind = NotGiven if status in _BROKEN else NetworkError
            raise kind(name, f"{name} says {status}: {words_of(response)}.", "Try again later.")
        raise self._refused(response)

    def _refused(self, response: requests.Response) -> NotTaken:
        return NotTaken(
            self.node.name, f"{self.node.name} refuses it ({response.status_code}): {words_of(response)}."
        )

    def _strange(self, response: requests.Response) -> NetworkError:
        return NetworkError(
            self.node.name,
            f"{self.node.name} ({self._host}) answers {response.status_code}, but not in DICOM's JSON.",
            "A sign-in page may have answered, or the address lacks a part like /dicom-web.",
        )


def words_of(response: requests.Response) -> str:
    """Return what a server says, as part of a sentence."""
    try:
        told = response.json()
        text = str(told.get("Details") or told.get("Message") or told.get("detail") or told)
    except (ValueError, AttributeError, RecursionError):
        text = response.text if "html" not in response.headers.get("Content-Type", "") else ""
    except requests.RequestException:  # a body that breaks off says nothing
        text = ""
    return visible(" ".join(text.split()))[:_MOST_WORDS].rstrip(". ") or response.reason or "no reason"


def _row(found: Mapping[str, Any]) -> Row:
    from pydicom.datadict import keyword_for_tag

    row: Row = {}
    for tag, element in found.items():
        if keyword := keyword_for_tag(tag):
            row[keyword] = "\\".join(map(_value, element.get("Value", ())))
    return row


def _value(value: Any) -> str:
    if isinstance(value, dict):  # a name of a person
        return str(value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic") or "")
    return "" if value is None else str(value).strip("\0 ")


def _stored(told: Mapping[str, Any]) -> dict[str, Stored]:
    """Return what a STOW-RS response says of each instance (PS3.18, I.2)."""
    found = {}
    for item in told.get("00081199", {}).get("Value", ()):
        uid = item["00081155"]["Value"][0]
        found[str(uid)] = Stored(True, _reason(item, "00081196"))
    for item in told.get("00081198", {}).get("Value", ()):
        uid = item.get("00081155", {}).get("Value", [""])[0]
        found[str(uid)] = Stored(False, _reason(item, "00081197"))
    return {uid: stored for uid, stored in found.items() if uid}


def _reason(item: Mapping[str, Any], tag: str) -> int | None:
    values = item.get(tag, {}).get("Value", ())
    number = float(values[0]) if values else math.nan
    return int(number) if 0 <= number <= 0xFFFF else None


def _is_single(uid: str) -> bool:
    return not set(uid) & set("\\*?,")
