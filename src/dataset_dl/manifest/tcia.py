"""Manifests of The Cancer Imaging Archive (``.tcia``) for its NBIA Data Retriever."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from dataset_dl.manifest.entry import Line, WrongLine, wrong_lines

# Returns the series as a ZIP archive.
SERIES_URL = "https://services.cancerimagingarchive.net/nbia-api/services/v1/getImage?SeriesInstanceUID={0}"
_SERVER_URL = "https://nbia.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet"
_LIST = "listofseriestodownload"
_MOST_RETRIES = 100
_KEYS = {_LIST, "downloadserverurl", "includeannotation", "noofrretry", "databasketid", "manifestversion"}
_SETTING = re.compile(r"([A-Za-z]+)\s*=\s*(.*)")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def is_manifest(lines: Sequence[Line], name: str) -> bool:
    """Whether the lines form a TCIA manifest; without headers, the file name decides."""
    if any((match := _SETTING.match(line.text)) and match[1].lower() in _KEYS for line in lines[:20]):
        return True
    return name.lower().endswith(".tcia") and all(is_uid(line.text) for line in lines)


def series(lines: Sequence[Line], name: str) -> list[str]:
    """The SeriesInstanceUIDs, in order, with repetitions.

    Raises
    ------
    ManifestError
        If a line is neither a setting nor a SeriesInstanceUID.
    """
    uids: list[str] = []
    wrong: list[WrongLine] = []
    for number, text in lines:
        setting = _SETTING.fullmatch(text)
        value = setting[2].strip() if setting else text
        if setting and (setting[1].lower() != _LIST or not value):
            continue
        if is_uid(value):
            uids.append(value)
        else:
            wrong.append(WrongLine(number, text, "it is no SeriesInstanceUID"))
    if wrong or not uids:
        raise wrong_lines(
            name, wrong or [WrongLine(lines[-1].number, lines[-1].text, "no series follows it")]
        )
    return uids


def retries(lines: Sequence[Line]) -> int | None:
    """How often the manifest asks to try again; None if it does not say."""
    value = _setting(lines, "noofrretry")
    return min(int(value), _MOST_RETRIES) if value.isdecimal() else None


def server(lines: Sequence[Line]) -> str:
    """The host that the manifest names; empty if it names none."""
    try:
        return urlsplit(_setting(lines, "downloadserverurl")).hostname or ""
    except ValueError:
        return ""


def _setting(lines: Sequence[Line], name: str) -> str:
    matches = (_SETTING.fullmatch(line.text) for line in lines)
    return next((match[2].strip() for match in matches if match and match[1].lower() == name), "")


def is_uid(identifier: str) -> bool:
    """Whether an identifier can be a SeriesInstanceUID."""
    return _UID.fullmatch(identifier) is not None


def text_of(uids: Iterable[str]) -> str:
    """A manifest for the NBIA Data Retriever."""
    settings = f"""downloadServerUrl={_SERVER_URL}
includeAnnotation=true
noOfrRetry=4
databasketId=dataset-dl
manifestVersion=3.0
ListOfSeriesToDownload=
"""
    return settings + "".join(f"{uid}\n" for uid in uids)
