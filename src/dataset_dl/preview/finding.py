"""From what a person names to the objects to look at."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from dataset_dl.errors import SelectionError
from dataset_dl.model.plan import Plan
from dataset_dl.network.settings import NetworkSettings
from dataset_dl.store.addresses import MAIN_BUCKET, S3Address, at_store, object_url
from dataset_dl.store.listing import objects_below
from dataset_dl.wording import first_few

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_START = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,27}", re.IGNORECASE)


@dataclass(frozen=True)
class StoredFile:
    """An object to look at.

    Attributes
    ----------
    name
        Its name in its series.
    place
        Its HTTP address, or its path.
    size_bytes, etag
        As listed; None and empty if they were not.
    """

    name: str
    place: str
    size_bytes: int | None = None
    etag: str = ""


class Found:
    """The objects of one series.

    Parameters
    ----------
    title
        What to call it.
    list_files
        Lists its objects, by name; not called before they are needed.
    key
        The crdc_series_uuid, whose objects never change; empty if it is none of IDC's.
    bucket, base
        Where it is at IDC, and the HTTP address that its names are appended to; empty for others.
    """

    def __init__(
        self, title: str, list_files: Callable[[], tuple[StoredFile, ...]], key: str = "", bucket: str = "",
        base: str = "",
    ) -> None:  # fmt: skip
        self.title = title
        self._list_files = list_files
        self.key = key
        self.bucket = bucket
        self.base = base

    @cached_property
    def files(self) -> tuple[StoredFile, ...]:
        """Its objects, by name.

        Raises
        ------
        SelectionError
            If there are none.
        NetworkError
            If the store does not answer.
        """
        return self._list_files()


class SeveralSeries(SelectionError):
    """An identifier names more than one series.

    Attributes
    ----------
    plan
        All of them.
    """

    def __init__(self, text: str, plan: Plan) -> None:
        super().__init__(text, f"“{text}” is {plan.series_count:,} series.", "Choose one of them.")
        self.plan = plan


def find(identifier: str, network: NetworkSettings) -> Found:
    """Find the objects of a series.

    Parameters
    ----------
    identifier
        A SeriesInstanceUID, a crdc_series_uuid or its beginning, an ``s3://`` or ``https://`` address, or a
        DICOM file or a directory of them.
    network
        How to reach them.

    Raises
    ------
    SelectionError
        If it is nothing, or more than one series.
    NetworkError
        If the store does not answer.
    """
    text = identifier.strip()
    if text.lower().startswith(("http://", "https://")):
        name = text.partition("?")[0].rsplit("/", 1)[-1] or text
        return Found(text, lambda: (StoredFile(name, text),))
    is_in_bucket = text.lower().startswith(("s3://", "gs://"))
    if network.sign and (is_in_bucket or not _is_path(text)):
        raise SelectionError(
            text,
            "Preview does not sign its requests, so a private bucket cannot be looked at.",
            "Leave --sign out.",
        )
    if is_in_bucket:
        address = S3Address.of(text)
        return Found(text, lambda: _below(text, address, network))
    if _is_path(text):
        return _on_disk(Path(text))
    return _in_idc(text, network)


def _is_path(text: str) -> bool:
    return os.sep in text or Path(text).exists()


def _in_idc(text: str, network: NetworkSettings) -> Found:
    if _UUID.fullmatch(text) and (found := _without_index(text.lower(), network)) is not None:
        return found
    from dataset_dl.verbs.plan import plan

    made = plan(_whole(text))
    if made.series_count > 1:
        raise SeveralSeries(text, made)
    (series,) = made
    bucket = S3Address.of(series.address).bucket
    return _of_idc(series.SeriesInstanceUID or text, series.key, bucket, network)


def _of_idc(title: str, key: str, bucket: str, network: NetworkSettings) -> Found:
    address = S3Address.of(at_store(f"s3://{bucket}/{key}/*", network))
    base = f"{object_url(network, address.bucket, key)}/"
    return Found(title, lambda: _below(title, address, network, is_idc=True), key, bucket, base)


def _without_index(key: str, network: NetworkSettings) -> Found | None:
    """Find a series where it was before, or where nearly all are; opening the index takes long."""
    from dataset_dl.preview.index import kept_bucket

    if bucket := kept_bucket(key):
        return _of_idc(key, key, bucket, network)
    found = _of_idc(key, key, MAIN_BUCKET, network)
    try:
        assert found.files
    except SelectionError:
        return None
    return found


def _whole(text: str) -> str:
    """Complete the beginning of a crdc_series_uuid; anything else stays as it is."""
    digits = text.replace("-", "").lower()
    if not _UUID_START.fullmatch(text) or len(digits) > 32:
        return text
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    hyphened = "-".join(filter(None, parts))
    if len(digits) == 32:
        return hyphened
    from dataset_dl.sources.idc.tables import query

    found = query(
        f"SELECT crdc_series_uuid FROM idc_index WHERE starts_with(crdc_series_uuid, '{hyphened}') LIMIT 6"
    )
    names = [str(row[0]) for row in found]
    if len(names) > 1:
        raise SelectionError(text, f"“{text}” is the beginning of {first_few(names)}.", "Write more of it.")
    return names[0] if names else text


def _below(
    title: str, address: S3Address, network: NetworkSettings, *, is_idc: bool = False
) -> tuple[StoredFile, ...]:
    if address.key.lower().endswith(".dcm"):
        name = address.key.rsplit("/", 1)[-1]
        return (StoredFile(name, object_url(network, address.bucket, address.key)),)
    prefix = address.prefix if not address.prefix or address.prefix.endswith("/") else f"{address.prefix}/"
    base = object_url(network, address.bucket, "")
    files = [
        StoredFile(each.name, f"{base}/{quote(prefix + each.name)}", each.size_bytes, each.etag)
        for each in objects_below(network, address.bucket, prefix)
        if each.name.lower().endswith(".dcm") or not is_idc
    ]
    if not files:
        raise SelectionError(title, f"{title} has no objects at {network.endpoint_url}.")
    if len({each.name.rpartition("/")[0] for each in files}) > 1:
        raise SelectionError(title, f"{title} has several directories.", "Name one of them.")
    return tuple(sorted(files, key=lambda each: each.name))


def _readable(name: str) -> str:
    """Return a name without the bytes that are no UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _on_disk(path: Path) -> Found:
    if path.is_file():
        only = StoredFile(_readable(path.name), str(path), path.stat().st_size)
        return Found(str(path), lambda: (only,))
    if not path.is_dir():
        raise SelectionError(str(path), f"{path} does not exist.")
    found = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    named = [each for each in found if each.suffix.lower() == ".dcm"]
    if not found:
        below = sorted({str(each.parent) for each in path.rglob("*.dcm")})
        hint = f"Name one of {first_few(below)}." if below else "Name a directory that has those of a series."
        raise SelectionError(str(path), f"{path} has no files itself.", hint)
    files = tuple(StoredFile(_readable(each.name), str(each), each.stat().st_size) for each in named or found)
    return Found(str(path), lambda: files)
