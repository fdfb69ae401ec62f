"""The test files of pydicom, pydicom-data and nibabel, and small ones made to measure."""

from __future__ import annotations

import functools
import importlib.util
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

_OTHERS = {".py", ".pyc", ".json", ".txt", ".md", ".gz", ".zip", ".xml", ".npy", ".mat"}


@functools.cache
def corpus() -> tuple[Path, ...]:
    """Every file of the three packages that pydicom reads; 260 and more."""
    roots = [
        Path(pydicom.__file__).parent / "data",
        _package("data_store"),
        _package("nibabel") / "nicom" / "tests" / "data",
    ]
    found = {
        each for root in roots for each in root.rglob("*") if each.is_file() and each.suffix not in _OTHERS
    }
    return tuple(each for each in sorted(found) if _is_readable(each))


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _is_readable(path: Path) -> bool:
    try:
        quietly_read(path.read_bytes(), stop_before_pixels=True)
    except Exception:
        return False
    return True


def quietly_read(data: bytes, **options: bool) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data), **options)


def slice_of(
    position: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    values: np.ndarray | None = None,
    **elements: object,
) -> Dataset:
    """A small CT slice."""
    array = np.arange(64, dtype=np.int16).reshape(8, 8) if values is None else values
    made = Dataset()
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    made.SOPInstanceUID = generate_uid()
    made.Modality = "CT"
    made.PatientID = "P"
    made.Rows, made.Columns = array.shape[:2]
    made.SamplesPerPixel = 1 if array.ndim == 2 else 3
    made.PhotometricInterpretation = "MONOCHROME2" if array.ndim == 2 else "RGB"
    if array.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * array.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(array.dtype.kind == "i")
    if position is not None:
        made.ImagePositionPatient = list(position)
        made.ImageOrientationPatient = list(orientation)
    for name, value in elements.items():
        setattr(made, name, value)
    made.PixelData = array.tobytes()
    made["PixelData"].VR = "OW" if array.dtype.itemsize > 1 else "OB"
    return made


def encoded(dataset: Dataset) -> bytes:
    """A data set as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return saved(dataset)


def compressed(dataset: Dataset, frames: Sequence[bytes], syntax: str, table: str = "none") -> bytes:
    """A data set with compressed frames as a file; `table` is ``basic``, ``extended`` or anything else for none."""
    encoded(dataset)  # makes the file meta information
    dataset.file_meta.TransferSyntaxUID = syntax
    if table == "extended":
        packed = encapsulate_extended(list(frames))
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = packed
    else:
        dataset.PixelData = encapsulate(list(frames), has_bot=table == "basic")
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset)


def saved(dataset: Dataset) -> bytes:
    """A data set as a file, with the file meta information that it has."""
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def write_series(directory: Path, datasets: Iterator[Dataset] | list[Dataset]) -> Path:
    """Write data sets to a directory, under names that say nothing of their order."""
    directory.mkdir(parents=True, exist_ok=True)
    for each in datasets:
        (directory / f"{hash(each.SOPInstanceUID) & 0xFFFFFFFFFFFF:012x}.dcm").write_bytes(encoded(each))
    return directory
