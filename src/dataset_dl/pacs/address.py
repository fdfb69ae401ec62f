"""Addresses of series and studies in archives: ``dicomweb://NODE/studies/UID/series/UID``, ``dimse://…``.

A query is an address, too: ``dimse://NODE/studies?PatientID=P1&StudyDate=20240101-``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from dataset_dl.errors import SelectionError

SCHEMES = ("dicomweb", "dimse")
_PATH = re.compile(r"/studies(?:/(?P<study>[0-9.]{1,64})(?:/series/(?P<series>[0-9.]{1,64}))?)?/?")
_HOW = "Write {0}://NODE/studies/UID, {0}://NODE/studies/UID/series/UID, or {0}://NODE/studies?PatientID=…"


class Address(NamedTuple):
    """Where series are, or the query for them.

    Attributes
    ----------
    scheme
        ``dicomweb`` or ``dimse``.
    node
        The name of the node.
    conditions
        By keyword; a series has its StudyInstanceUID and its SeriesInstanceUID only.
    """

    scheme: str
    node: str
    conditions: Mapping[str, str]

    @classmethod
    def of(cls, text: str) -> Address:
        """Parse an address.

        Raises
        ------
        SelectionError
            If it is none.
        """
        try:
            parts = urlsplit(text)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            parts, given = urlsplit(""), {}
        match = _PATH.fullmatch(parts.path or "/studies")
        scheme = parts.scheme.lower()
        if (
            scheme not in SCHEMES
            or match is None
            or not re.fullmatch(r"[A-Za-z0-9_-]+", parts.netloc)
            or parts.fragment
        ):
            kind = scheme if scheme in SCHEMES else "dimse"
            raise SelectionError(
                text, f"“{text}” is no address of an archive; nothing was started.", _HOW.format(kind)
            )
        if match["study"]:
            given["StudyInstanceUID"] = match["study"]
        if match["series"]:
            given["SeriesInstanceUID"] = match["series"]
        return cls(scheme, parts.netloc, given)

    def __str__(self) -> str:
        left = dict(self.conditions)
        path = "/studies"
        study, series = left.get("StudyInstanceUID", ""), left.get("SeriesInstanceUID", "")
        if re.fullmatch(r"[0-9.]{1,64}", study):
            del left["StudyInstanceUID"]
            path += f"/{study}"
            if re.fullmatch(r"[0-9.]{1,64}", series):
                del left["SeriesInstanceUID"]
                path += f"/series/{series}"
        query = f"?{urlencode(left, quote_via=quote, safe='*')}" if left else ""
        return f"{self.scheme}://{self.node}{path}{query}"
