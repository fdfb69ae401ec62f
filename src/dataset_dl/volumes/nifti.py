"""Volumes and segmentations as NIfTI files, each with a table of what is where in it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dataset_dl.errors import StorageError
from dataset_dl.pixels.stacks import Volume
from dataset_dl.scratch import written_whole

# Scanner coordinates, in the words of NIfTI.
_SCANNER, _MM = 1, "mm"


def write_nifti(array: np.ndarray, affine_ras: np.ndarray, path: Path) -> None:
    """Write an array of shape (slices, rows, columns) as a compressed NIfTI file, whole or not at all.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), affine_ras)
    image.header.set_xyzt_units(_MM)
    image.set_sform(affine_ras, _SCANNER)
    image.set_qform(affine_ras, _SCANNER, strip_shears=True)
    _make_directory(path)
    with (
        written_whole(path) as unfinished,
        unfinished.open("wb") as raw,
        # Without a time in it, equal volumes are equal files.
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
    ):
        image.to_stream(packed)


def write_slices(volume: Volume, path: Path) -> None:
    """Write which slice is which instance, as CSV."""
    rows = zip(range(len(volume.files)), volume.SOPInstanceUIDs, volume.files, strict=True)
    write_table(("slice", "SOPInstanceUID", "file"), rows, path)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    _make_directory(path)
    with written_whole(path) as unfinished:
        unfinished.write_text(text.getvalue(), encoding="utf-8", newline="")


def _make_directory(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(str(path), f"{path.parent} cannot be made: {error.strerror}.") from None
