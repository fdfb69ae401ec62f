"""A local IDC bucket for offline tests: real rows of the index, valid DICOM files, a real S3 server.

Needs ``dataset-dl[testing]``: pydicom makes the files, rclone serves them.

>>> with LocalBucket("qin_pet_phantom", max_series=2) as bucket:
...     dd.download(dd.plan("qin_pet_phantom", into="data"), endpoint_url=bucket.endpoint_url)
"""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from dataset_dl.duck import Database
from dataset_dl.errors import EngineMissing, PlanError
from dataset_dl.model.plan import Plan
from dataset_dl.model.selection import Where
from dataset_dl.model.series import PlannedSeries
from dataset_dl.process import Process
from dataset_dl.sources.idc.tables import table_sql
from dataset_dl.store.addresses import S3Address

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_INSTALL = '`pip install "dataset-dl[testing]"` installs it.'
_START_SECONDS = 20.0
_ADDRESS = re.compile(rb"server on \[(https?://[^/\]]+)")
_PADDING_HEADER = b"\xfc\xff\xfc\xffOB\x00\x00"
_LARGEST_SIDE = 65_535
_UNCOUNTED_INSTANCES = 3
_WITHOUT_PIXELS = {"SR", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "PR", "KO", "ANN", "REG", "M3D", "RWV", "FID"}


class LocalBucket:
    """An S3 service on loopback that holds chosen series of IDC.

    Each series has the instance count and size of the index, its real UIDs, Modality and PatientID, and
    readable pixels if the size allows. The content is made up. A series of an earlier IDC version, whose
    count is in no table, has three instances.

    Parameters
    ----------
    what
        A `Plan`, or identifiers that `dataset_dl.plan` accepts.
    where
        Conditions as for `dataset_dl.plan`.
    max_series
        Keep only this many series, from the start.
    directory
        Directory of the buckets; defaults to a temporary one that is removed at the end. Existing files of
        the right size are reused.
    max_bytes
        Refuse to create more than this.

    Attributes
    ----------
    endpoint_url
        Address of the service while it runs.
    series
        The series in the bucket.
    root
        The directory whose folders are the buckets.

    Raises
    ------
    PlanError
        If the series have more than `max_bytes`.
    EngineMissing
        If rclone is not installed.
    """

    def __init__(
        self,
        what: Plan | str | Sequence[str],
        *,
        where: Where | None = None,
        max_series: int | None = None,
        directory: str | Path | None = None,
        max_bytes: int = 2_000_000_000,
    ) -> None:
        from dataset_dl.verbs.plan import plan

        chosen = what if isinstance(what, Plan) else plan(what, where=where)
        self.series: tuple[PlannedSeries, ...] = tuple(
            each
            if each.is_exact
            else each._replace(
                instanceCount=_UNCOUNTED_INSTANCES, size_bytes=each.expected_bytes, estimated_bytes=None
            )
            for each in islice(chosen, max_series)
        )
        size_bytes = sum(each.expected_bytes for each in self.series)
        if size_bytes > max_bytes:
            raise PlanError(
                "LocalBucket",
                f"The bucket would hold {size_bytes:,} bytes, but only {max_bytes:,} are allowed.",
                "Choose fewer series, or raise max_bytes.",
            )
        self._scratch = (
            tempfile.TemporaryDirectory(prefix="dataset-dl-bucket-") if directory is None else None
        )
        self.root = Path(self._scratch.name if self._scratch else directory or "").absolute()
        self.endpoint_url = ""
        self._server: Process | None = None

    def __enter__(self) -> LocalBucket:
        self.fill()
        self.serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fill(self) -> None:
        """Create the missing files."""
        classes: dict[str, str] = dict(
            Database().run(
                f"SELECT crdc_series_uuid, SOPClassUID FROM {table_sql()}"
                " WHERE crdc_series_uuid IN (SELECT unnest($1::VARCHAR[]))",
                [[each.key for each in self.series]],
            )
        )
        for bucket in ("idc-open-data", "idc-open-data-two", "idc-open-data-cr"):
            (self.root / bucket).mkdir(parents=True, exist_ok=True)
        for each in self.series:
            directory = self.series_directory(each)
            directory.mkdir(parents=True, exist_ok=True)
            _write_series(directory, each, classes.get(each.key, ""))

    def series_directory(self, series: PlannedSeries) -> Path:
        """Return the directory of the objects of a series."""
        return self.root.joinpath(*_bucket_and_folder(series))

    def serve(self) -> None:
        """Start the service; `endpoint_url` is set when this returns."""
        # Without this option rclone does not notice the files that a test changes.
        self._server, self.endpoint_url = serve_rclone(self.root, "--dir-cache-time", "0s")

    def close(self) -> None:
        """Stop the service, and remove the files unless a directory was given."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._scratch is not None:
            self._scratch.cleanup()


def _bucket_and_folder(series: PlannedSeries) -> tuple[str, str]:
    address = S3Address.of(series.address)
    return address.bucket, address.folder


def serve_rclone(root: Path, *options: str) -> tuple[Process, str]:
    """Start an S3 service over a directory, with options of ``rclone serve s3``; return it and its address.

    Raises
    ------
    EngineMissing
        If rclone is not installed or does not start.
    """
    arguments = [str(_rclone()), "serve", "s3", "--addr", "127.0.0.1:0", "--config", ""]
    # By default rclone buffers a gigabyte of what it reads.
    arguments += ["--vfs-cache-mode", "off", "--buffer-size", "0", *options, str(root)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
    server = Process(arguments, directory=root, environment=environment)
    deadline = time.monotonic() + _START_SECONDS
    for batch in server.lines(0.05):
        for line in batch:
            if match := _ADDRESS.search(line):
                server.ignore_output()
                return server, match[1].decode()
        if time.monotonic() > deadline:
            break
    tail = server.stderr_tail
    server.stop()
    raise EngineMissing("rclone", f"rclone did not start: {tail}")


def _rclone() -> Path:
    name = "rclone.exe" if sys.platform == "win32" else "rclone"
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise EngineMissing(
            "rclone",
            "rclone, which serves the bucket, is not installed.",
            _INSTALL,
        )
    return Path(found)


def _write_series(directory: Path, series: PlannedSeries, sop_class: str) -> None:
    count, size_bytes = series.expected_instances, series.expected_bytes
    usual = size_bytes // count // 2 * 2
    sizes = [usual] * (count - 1) + [size_bytes - usual * (count - 1)]
    made: dict[int, bytes] = {}
    first = _sop_instance_uid(series, 0)
    for number, size_bytes in enumerate(sizes):
        path = directory / f"{_instance_uuid(series, number)}.dcm"
        if path.is_file() and path.stat().st_size == size_bytes:
            continue
        if size_bytes not in made:
            made[size_bytes] = _instance(series, sop_class, first, size_bytes)
        own = made[size_bytes].replace(first.encode(), _sop_instance_uid(series, number).encode())
        path.write_bytes(own)


def _instance_uuid(series: PlannedSeries, number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{series.key}/{number}")


def _sop_instance_uid(series: PlannedSeries, number: int) -> str:
    # Always 39 digits, so that the UID of an instance can be replaced by another without changing the size.
    return f"2.25.{10**38 + _instance_uuid(series, number).int % (2 * 10**38)}"


def _instance(series: PlannedSeries, sop_class: str, sop_instance: str, size_bytes: int) -> bytes:
    """Return a DICOM file of exactly `size_bytes`."""
    dataset = _header(series, sop_class, sop_instance)
    bare = len(_encode(dataset))
    if series.Modality not in _WITHOUT_PIXELS:
        _add_pixels(dataset, size_bytes - bare)
    encoded = _encode(dataset)
    rest = size_bytes - len(encoded)
    if rest == 0:
        return encoded
    if rest < 12:
        raise PlanError(series.key, f"A DICOM file of {size_bytes} bytes has no room for its header.")
    return encoded + _PADDING_HEADER + (rest - 12).to_bytes(4, "little") + bytes(rest - 12)


def _header(series: PlannedSeries, sop_class: str, sop_instance: str) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = UID(sop_class or "1.2.840.10008.5.1.4.1.1.7")
    dataset.SOPInstanceUID = UID(sop_instance)
    dataset.Modality = series.Modality
    dataset.PatientName = ""
    dataset.PatientID = series.PatientID
    dataset.StudyInstanceUID = series.StudyInstanceUID
    dataset.SeriesInstanceUID = series.SeriesInstanceUID
    dataset.InstanceNumber = 1
    return dataset


def _add_pixels(dataset: Dataset, room_bytes: int) -> None:
    """Add an image of rings, as large as fits into `room_bytes` together with its attributes."""
    import numpy as np

    attributes_bytes = 150
    side = min(math.isqrt(max(0, room_bytes - attributes_bytes) // 2), _LARGEST_SIDE)
    if side < 2:
        return
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    across = np.linspace(-1, 1, side, dtype=np.float32)
    rings = (np.hypot(across[:, None], across[None, :]) * 4095).astype("<u2") % 512
    dataset.PixelData = rings.tobytes()


def _encode(dataset: Dataset) -> bytes:
    from pydicom import dcmwrite

    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
