"""A stand-in for NBIA, TCIA's server, on this machine.

No NBIA can be had for tests. This one answers as the public source of its interface does, version 4 (package
``gov.nih.nci.nbia.restAPI.v4`` of CBIIT/NBIA-TCIA); each method names the class that it follows.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import time
import warnings
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dataset_dl.testing.served import StandIn

_BASE = "/nbia-api/services/v4"
_LICENCE = "Data use: CC BY 4.0. Cite the collection.\n"
# What V4_getSeriesMetadata returns of a series, as far as it is known here.
_COLUMNS = {
    "PatientID": "PatientID",
    "StudyInstanceUID": "StudyInstanceUID",
    "StudyDate": "StudyDate",
    "StudyDesc": "StudyDescription",
    "SeriesInstanceUID": "SeriesInstanceUID",
    "Modality": "Modality",
    "SeriesDescription": "SeriesDescription",
    "BodyPartExamined": "BodyPartExamined",
    "SeriesNumber": "SeriesNumber",
    "Manufacturer": "Manufacturer",
}
_CHUNK_BYTES = 1 << 16


@dataclass
class NbiaSeries:
    """A series that the stand-in has.

    Attributes
    ----------
    files
        SOPInstanceUID → the content of its file.
    facts
        What `getSeriesMetadata` tells of it.
    """

    files: dict[str, bytes]
    facts: dict[str, Any] = field(default_factory=dict)


class LocalNbia(StandIn):
    """Serves directories of DICOM files as NBIA does.

    Use it as a context manager; `url` is then the address that ``DATASET_DL_NBIA_URL`` takes.

    Parameters
    ----------
    directories
        Each directory is a series, or holds directories of series.
    collection
        The collection that they belong to.
    delay_seconds
        How long each answer takes to begin, like the way to a distant server.
    zip_mbps
        How fast each zip comes, in MB of its files a second, as from a server that makes it meanwhile; as
        fast as it can if None.

    Attributes
    ----------
    series
        SeriesInstanceUID → what is served; tests may change it.
    faults
        SeriesInstanceUID, or the name of a method → a fault: ``short`` (the zip ends early but is valid, as
        when the server fails inside), ``no md5`` (no md5hashes.csv), ``wrong md5``, ``cut`` (the connection
        breaks), ``html`` (a page with status 200), ``evil`` (names with ``../``), ``twice`` (a name twice),
        ``bomb`` (an entry of a gigabyte of zeros), or a status. With ``once`` behind it, only the first time.
    requests
        The path and query of each request, in order.
    """

    def __init__(
        self,
        *directories: Path,
        collection: str = "LOCAL",
        delay_seconds: float = 0.0,
        zip_mbps: float | None = None,
    ) -> None:
        self.series: dict[str, NbiaSeries] = {}
        self._collection = collection
        self._delay_seconds = delay_seconds
        self._zip_mbps = zip_mbps
        self._kept: dict[str, bytes] = {}
        for directory in directories:
            for path in sorted(directory.rglob("*.dcm")):
                self.add(path.read_bytes())
        routes = [
            Route(f"{_BASE}/{name}", self._answering(name, answer), methods=methods)
            for name, answer, methods in (
                ("getImage", self._image, ["GET"]),
                ("getSingleImage", self._single, ["GET"]),
                ("getSOPInstanceUIDs", self._instances, ["GET"]),
                ("getSeriesMetadata", self._metadata, ["POST"]),
                ("getCollectionValues", self._collections, ["GET"]),
                ("getSeries", self._list, ["GET"]),
            )
        ]
        super().__init__(Starlette(routes=routes))

    def add(self, data: bytes) -> str:
        """Add a DICOM file; return the SeriesInstanceUID that it belongs to."""
        from pydicom import dcmread

        header = dcmread(io.BytesIO(data), stop_before_pixels=True)
        uid = str(header.SeriesInstanceUID)
        facts = {name: str(header.get(keyword, "")) for name, keyword in _COLUMNS.items()}
        series = self.series.setdefault(uid, NbiaSeries({}, {**facts, "Collection": self._collection}))
        series.files[str(header.SOPInstanceUID)] = data
        return uid

    def keep_zips(self) -> None:
        """Make all zips now, and once: for measuring, where the server's own work should not count."""
        self._kept = {uid: _zip(each, includes_md5=True, fault="") for uid, each in self.series.items()}

    def _answering(self, name: str, answer: Callable[[Request, Mapping[str, str]], Any]) -> Any:
        async def answering(request: Request) -> Response:
            self.requests.append(f"{name}?{request.url.query}")
            await asyncio.sleep(self._delay_seconds)
            fault = self._fault(name)
            if fault.isdigit():
                return PlainTextResponse("", int(fault), headers={"Retry-After": "0"})
            if fault == "html":
                return Response("<html><body>Sign in</body></html>", media_type="text/html")
            if request.method == "POST":
                body = parse_qs((await request.body()).decode())
                return answer(request, {"list": json.dumps(body.get("list", [])), **_last(body)})  # type: ignore[no-any-return]
            return answer(request, dict(request.query_params))  # type: ignore[no-any-return]

        return answering

    def _image(self, request: Request, given: Mapping[str, str]) -> Response:
        """V4_getImage: a zip that is made while it is sent; what fails inside is swallowed."""
        if wrong := _wrong(given, {"SeriesInstanceUID", "NewFileNames", "IncludeMD5"}):
            return wrong
        uid = given.get("SeriesInstanceUID")
        if uid is None or uid not in self.series:
            # A series that does not exist is one that the user has no access to.
            return PlainTextResponse(f"The user has not been granted the access to {uid}.", 400)
        fault = self._fault(uid)
        if fault.isdigit():
            return PlainTextResponse("", int(fault), headers={"Retry-After": "0"})
        if fault == "html":
            return Response("<html><body>Sign in</body></html>", media_type="text/html")
        includes_md5 = given.get("IncludeMD5", "").lower() == "yes" and fault != "no md5"
        data = self._kept.get(uid) or _zip(self.series[uid], includes_md5=includes_md5, fault=fault)
        seconds = (
            sum(map(len, self.series[uid].files.values())) / (self._zip_mbps * 1e6) if self._zip_mbps else 0.0
        )
        return StreamingResponse(
            _parts(data, seconds, is_cut=fault == "cut"),
            media_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{uid}.zip"'},
        )

    def _single(self, request: Request, given: Mapping[str, str]) -> Response:
        """V4_getSingleImage: an instance as it is."""
        if wrong := _wrong(given, {"SeriesInstanceUID", "SOPInstanceUID"}):
            return wrong
        series = self.series.get(given.get("SeriesInstanceUID", ""))
        data = series.files.get(given.get("SOPInstanceUID", "")) if series else None
        if data is None:
            return PlainTextResponse("", 500)  # the source takes the length of nothing
        return Response(data, media_type="application/dicom")

    def _instances(self, request: Request, given: Mapping[str, str]) -> Response:
        """V4_getSOPInstanceUIDs; nothing found is 200 with an empty body (getData.formatResponse)."""
        if wrong := _wrong(given, {"SeriesInstanceUID", "format"}):
            return wrong
        series = self.series.get(given.get("SeriesInstanceUID", ""))
        return _json([{"SOPInstanceUID": uid} for uid in series.files] if series else [])

    def _metadata(self, request: Request, given: Mapping[str, str]) -> Response:
        """V4_getSeriesMetadata: a row for each series that is known."""
        uids: list[str] = json.loads(given["list"])
        if not uids:
            return PlainTextResponse("A form parameter, list, is required.", 400)
        return _json([self._facts(uid) for uid in uids if uid in self.series])

    def _collections(self, request: Request, given: Mapping[str, str]) -> Response:
        """V4_getCollectionValues."""
        names = sorted({each.facts["Collection"] for each in self.series.values()})
        return _json([{"Collection": name} for name in names])

    def _list(self, request: Request, given: Mapping[str, str]) -> Response:
        """V4_getSeries: by collection, patient, study or modality."""
        if wrong := _wrong(given, {"Collection", "PatientID", "StudyInstanceUID", "Modality", "format"}):
            return wrong
        wanted = {name: value for name, value in given.items() if name != "format"}
        rows = map(self._facts, self.series)
        return _json([row for row in rows if all(row.get(name) == value for name, value in wanted.items())])

    def _facts(self, uid: str) -> dict[str, Any]:
        series = self.series[uid]
        return {
            **series.facts,
            "ImageCount": len(series.files),
            "FileSize": sum(map(len, series.files.values())),
            "LicenseName": "Creative Commons Attribution 4.0 International License",
            "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
            "DataDescriptionURI": "https://doi.org/10.7937/local",
        }


def _zip(series: NbiaSeries, *, includes_md5: bool, fault: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LICENSE", _LICENCE)
        hashes: list[tuple[str, str]] = []
        several = list(series.files.values())
        for number, data in enumerate(several, 1):
            name = f"1-{number:03d}.dcm"
            if number == 1 and fault == "evil":
                name = "../../evil.dcm"
            if number == 2 and fault == "twice":
                name = "1-001.dcm"
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            hashes.append((name, "0" * 32 if number == 1 and fault == "wrong md5" else digest))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a name that comes twice
                entry = archive.open(name, "w")
            with entry:
                if number == 1 and fault == "bomb":
                    for _ in range(1024):
                        entry.write(bytes(1 << 20))
                else:
                    entry.write(data)
            if fault == "short" and number == max(1, len(several) // 2):
                includes_md5 = False
                break
        if includes_md5:
            archive.writestr("md5hashes.csv", _csv([("Filename", "MD5Hash"), *hashes]))
    return out.getvalue()


def _csv(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


async def _parts(data: bytes, seconds: float, *, is_cut: bool) -> AsyncIterator[bytes]:
    """Yield a zip in so many seconds, or half of it."""
    most = len(data) // 2 if is_cut else len(data)
    began = time.monotonic()
    for begin in range(0, most, _CHUNK_BYTES):
        if seconds and (left := began + seconds * begin / len(data) - time.monotonic()) > 0:
            await asyncio.sleep(left)
        yield data[begin : min(most, begin + _CHUNK_BYTES)]
    if is_cut:
        raise ConnectionResetError("the fault that was asked for")


def _wrong(given: Mapping[str, str], allowed: set[str]) -> Response | None:
    for name in given:
        if name not in allowed:
            return PlainTextResponse(f"Invalid query parameter: '{name}'.", 400)
    return None


def _json(rows: list[Any]) -> Response:
    return Response(json.dumps(rows), media_type="application/json") if rows else Response(b"")


def _last(values: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: several[-1] for name, several in values.items() if name != "list"}
