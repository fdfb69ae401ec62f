"""Trees of zips, ``STUDY/SERIES/img.zip``, as a source and an engine: ``zip:///DIRECTORY``.

So they are opened by the same way as anything is downloaded: checked, resumable, with a report.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from dataset_dl.engines.feeding import Feed
from dataset_dl.engines.threads import Failed, Stopped, Threads
from dataset_dl.errors import SelectionError
from dataset_dl.model.events import EngineStarted, Event
from dataset_dl.model.outcome import Cause
from dataset_dl.model.plan import Rights
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.plans.file import PlanFile
from dataset_dl.tcia import require
from dataset_dl.tcia.keeping import NAME
from dataset_dl.tcia.service import is_uid
from dataset_dl.tcia.unpacking import HASHES, LICENCE, is_unfinished, named, unpack

_SCHEME = "zip"
_CHUNK_BYTES = 1 << 18
_HEADER_BYTES = 1 << 20
_WORKERS, _MOST_WORKERS = 2, 16


def address_of(path: Path) -> str:
    """Return the address of a zip, or of a directory of zips."""
    return f"{_SCHEME}://{quote(os.fspath(path.absolute()))}"


def path_of(address: str) -> Path:
    """Return what an address leads to.

    Raises
    ------
    SelectionError
        If it leads to nothing that can be a zip.
    """
    parts = urlsplit(address)
    path = Path(unquote(parts.path))
    if parts.scheme.lower() != _SCHEME or parts.netloc or not path.is_absolute() or ".." in path.parts:
        raise SelectionError(
            address, f"“{address}” names no zip; nothing was started.", "Write zip:///DIRECTORY."
        )
    return path


class _Zips:
    """Implements `sources.protocol.Source`."""

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        path = path_of(address)
        several = [path] if path.is_file() else sorted(_below(path))
        if not several:
            raise SelectionError(
                str(path),
                f"There is no {NAME} in {path}; nothing was started.",
                f"It should hold STUDY/SERIES/{NAME}.",
            )
        # The same zip at two places is one series.
        return {row.key: row for row in map(_row, several)}.values()

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        for number, row in enumerate(rows, 1):
            if row.scheme == _SCHEME and (reason := _problem(row)):
                yield number, reason

    def rights(self, rows: PlanFile) -> Rights:
        return Rights("# From zips\n\nEach zip holds its licence.\n", "")


class ZipEngine:
    """Unpacks zips of this machine; implements `engines.protocol.Engine`."""

    name = "zip"
    schemes = (_SCHEME,)
    lists_objects = False

    def __init__(self, *, workers: int | None = None) -> None:
        require()
        self.workers = min(workers or _WORKERS, _MOST_WORKERS)

    def probe(self, address: str) -> None:
        """Do nothing: a zip that is not there fails its series only."""

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return nothing: the zips themselves prove their files."""
        return {}

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Unpack series; see `engines.protocol.Engine.run`."""
        yield EngineStarted(self.name, self.workers, "zips")
        reading = _Reading(destination)
        threads = Threads(self.workers, reading.series, lambda: reading.read_bytes)
        yield from threads.run(Feed(fetches), reading.stop)

    def is_unfinished(self, name: str) -> bool:
        """Whether a file is one that was not proven."""
        return is_unfinished(name)


class _Reading:
    """Reads zips, from several threads."""

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self._is_stopped = False
        self.read_bytes = 0

    def stop(self) -> None:
        self._is_stopped = True

    def series(self, order: Fetch) -> Iterator[Event]:
        row = order.series
        directory = self._destination / row.directory
        directory.mkdir(parents=True, exist_ok=True)
        path = path_of(row.address)
        try:
            found = unpack(self._chunks(path), directory, str(row.SeriesInstanceUID), row.estimated_bytes)
        except Failed as error:
            # A file on this machine will not be another one soon.
            cause: Cause = "not_found" if error.cause == "not_found" else "damaged"
            raise Failed(cause, f"{path}: {error.words}") from None
        if found.named is None:
            raise Failed("damaged", f"{path} has no {HASHES}, so it may have been cut off; fetch it again")
        if not found.is_whole or len(found.parts) != found.named:
            wrong = f" ({found.wrong[0]} has another MD5 sum)" if found.wrong else ""
            raise Failed("damaged", f"{path} is not what its {HASHES} says{wrong}; fetch it again")
        yield from named(row, directory, found)

    def _chunks(self, path: Path) -> Iterator[bytes]:
        try:
            file = path.open("rb")
        except OSError as error:
            raise Failed("not_found", f"it cannot be read ({error.strerror})") from None
        with file:
            while chunk := self._read(file):
                if self._is_stopped:
                    raise Stopped
                yield chunk
                self.read_bytes += len(chunk)

    def _read(self, file: BinaryIO) -> bytes:
        try:
            return file.read(_CHUNK_BYTES)
        except OSError as error:
            raise Failed("damaged", f"it cannot be read ({error.strerror})") from None


def _below(directory: Path) -> Iterator[Path]:
    """Yield all zips below a directory, also those that cannot be read: each is a series.

    Raises
    ------
    SelectionError
        If a directory cannot be read, whose series would be forgotten.
    """

    def refuse(error: OSError) -> None:
        raise SelectionError(
            str(error.filename),
            f"{error.filename} cannot be read ({error.strerror}), so its series would be forgotten; nothing"
            " was started.",
            "Make it readable, or move it away.",
        )

    for place, directories, names in os.walk(directory, onerror=refuse):
        if NAME in names or NAME in directories:
            yield Path(place, NAME)


def _row(path: Path) -> PlannedSeries:
    """Return the row of a zip; one that is damaged has a row, too, and fails when it is opened."""
    header: Any = {}
    digest, count, size_bytes = hashlib.blake2b(digest_size=16), 0, 0
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [each for each in archive.infolist() if each.filename.upper() != LICENCE]
            files = [each for each in entries if each.filename != HASHES]
            for each in sorted(files, key=lambda one: one.filename):
                digest.update(repr((each.filename, each.CRC, each.file_size)).encode())
            count = len(files)
            size_bytes = sum(each.file_size for each in archive.infolist())
            header = _header(archive, files[0]) if files else {}
    except Exception:  # a zip that is strange in whatever way has a row, and fails when it is opened
        digest.update(repr(_state(path)).encode())
    uid = str(header.get("SeriesInstanceUID") or path.parent.name)
    study = str(header.get("StudyInstanceUID") or path.parent.parent.name)
    if not is_uid(uid):
        raise SelectionError(
            str(path),
            f"{path} does not say which series it is: it cannot be read, and {path.parent.name} is no UID.",
            f"Move it away, or into STUDY/SERIES/{NAME}.",
        )
    return PlannedSeries(
        collection_id=None,
        PatientID=str(header.get("PatientID") or "") or None,
        StudyInstanceUID=study if is_uid(study) else None,
        SeriesInstanceUID=uid,
        Modality=str(header.get("Modality") or "") or None,
        license_short_name=None,
        source_DOI=None,
        key=f"{_SCHEME}:{uid}:{digest.hexdigest()}",
        address=address_of(path),
        directory="",
        instanceCount=count or None,
        size_bytes=None,
        estimated_bytes=size_bytes or None,
    )


def _state(path: Path) -> tuple[object, ...]:
    try:
        return path.stat().st_size, path.stat().st_mtime_ns
    except OSError as error:
        return (error.errno,)


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    from pydicom import dcmread

    wanted = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"]
    with archive.open(entry) as file:
        beginning = io.BytesIO(file.read(_HEADER_BYTES))
    try:
        return dcmread(beginning, stop_before_pixels=True, specific_tags=wanted)
    except Exception:  # pydicom raises whatever a strange file leads to
        return {}


def _problem(row: PlannedSeries) -> str | None:
    """Return why this source would not have made a row."""
    try:
        path = path_of(row.address)
    except SelectionError as error:
        return error.message.rpartition(";")[0]
    if address_of(path) != row.address or not re.fullmatch(
        rf"{_SCHEME}:{re.escape(str(row.SeriesInstanceUID))}:[0-9a-f]{{32}}", row.key
    ):
        return f"{row.key} is not what {row.address} is called"
    return None if row.files is None else "a zip has no files that a plan could name"


def make(settings: DownloadSettings, network: NetworkSettings) -> ZipEngine:
    """Create the engine from settings.

    Raises
    ------
    MissingExtra
        If the extra is not installed.
    """
    return ZipEngine(workers=settings.workers)


SOURCE = _Zips()
