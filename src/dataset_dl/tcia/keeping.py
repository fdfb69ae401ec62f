"""The consumer ``zips[:DIRECTORY]``: each series as ``STUDY/SERIES/img.zip``, as older pipelines expect."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import StorageError, UnreadableObject
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.tcia.unpacking import HASHES, LICENCE

NAME = "img.zip"
_CHUNK_BYTES = 1 << 20
_NO_DATE = (1980, 1, 1, 0, 0, 0)


class Zips:
    """Writes zips like NBIA's, without compression; implements `destination.consumers.Consumer`.

    Parameters
    ----------
    request
        Where to put them; by default beside the destination, ``DESTINATION-zips``.
    """

    def __init__(self, request: ConsumerRequest) -> None:
        request.refuse()
        self.target = disk.absolute(request.where or f"{request.destination}-zips")
        request.refuse_inside(self.target)
        self.name = f"zips:{self.target}"
        self.options: Mapping[str, Any] = {}

    def take(self, series: Series) -> Mapping[str, Any]:
        """Write the zip of a series; it gets its name when it is whole.

        Raises
        ------
        UnreadableObject
            If the series has no UIDs that name its directory.
        StorageError
            If it cannot be written.
        """
        row = series.planned
        if not row.StudyInstanceUID or not row.SeriesInstanceUID:
            raise UnreadableObject(
                row.key, f"{row.title} has no UIDs of a study and a series, so no zip has."
            )
        place = self.target / row.StudyInstanceUID / row.SeriesInstanceUID / NAME
        unfinished = place.with_name(f".{NAME}.{hashlib.md5(row.key.encode()).hexdigest()}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(series, unfinished)
            _give_name(unfinished, place, row.key)
        except OSError as error:
            raise StorageError(str(place), f"{place} cannot be written ({error.strerror}).") from None
        return {"file": str(place), "size_bytes": place.stat().st_size}

    def confirms(self, key: str, made: Mapping[str, Any]) -> bool:
        """Whether the zip is still there."""
        try:
            return bool(Path(made["file"]).stat().st_size == made["size_bytes"])
        except OSError:
            return False


def _give_name(unfinished: Path, place: Path, key: str) -> None:
    """Name a zip, but never in place of one that holds something else.

    Raises
    ------
    UnreadableObject
        If there is such a one.
    """
    try:
        os.link(unfinished, place)
        unfinished.unlink()
        return
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not place.exists():
            unfinished.replace(place)
            return
    try:
        with zipfile.ZipFile(place) as there:
            is_same = there.comment == key.encode()
    except (zipfile.BadZipFile, OSError):
        is_same = False
    if not is_same:
        unfinished.unlink()
        raise UnreadableObject(
            str(place),
            f"{place} is there already and is another zip: of another version or part of the series, or of"
            " another program. It stays as it is.",
            "Move it away, or name another directory.",
        )
    unfinished.replace(place)


def _write(series: Series, place: Path) -> None:
    sums = [("Filename", "MD5Hash")]
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = series.planned.key.encode()
        archive.writestr(zipfile.ZipInfo(LICENCE, _NO_DATE), _licence(series.planned))
        for path in series.paths:
            digest = hashlib.md5(usedforsecurity=False)
            info = zipfile.ZipInfo(path.name, _NO_DATE)
            info.file_size = path.stat().st_size
            with path.open("rb") as file, archive.open(info, "w") as entry:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    entry.write(chunk)
            sums.append((path.name, digest.hexdigest()))
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows(sums)
        archive.writestr(zipfile.ZipInfo(HASHES, _NO_DATE), out.getvalue())


def _licence(row: PlannedSeries) -> str:
    lines = [f"Licence: {row.license_short_name or 'not known'}"]
    if row.source_DOI:
        lines.append(f"To cite: https://doi.org/{row.source_DOI}")
    return "\n".join([*lines, f"Source: {row.address}", ""])


def make(request: ConsumerRequest) -> Zips:
    """Make the consumer.

    Raises
    ------
    SelectionError
        If an option is wrong.
    """
    return Zips(request)
