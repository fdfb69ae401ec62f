"""Wing: series as volumes, as arrays with an affine and as NIfTI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataset_dl.errors import MissingExtra

if TYPE_CHECKING:
    from dataset_dl.pixels.stacks import Volume


def volume(series: Any, /) -> Volume:
    """Return a series of slices as one array with its place in space.

    Parameters
    ----------
    series
        A `Series`, a directory of DICOM files, one file, or several.

    Returns
    -------
    Volume
        ``array`` of shape (slices, rows, columns) in the units of the modality (Hounsfield units for CT):
        int16 if all values are such whole numbers, else float32. ``affine`` leads from (column, row, slice)
        to mm in the coordinates of the patient (LPS, as in DICOM, PS3.3 C.7.6.2.1.1). Slices go along the
        normal of their planes.

    Raises
    ------
    SelectionError
        If the slices are no volume: several orientations, sizes or positions, gaps, colours.
    UnreadableObject
        If a file is damaged.
    MissingExtra
        If the extra is not installed.
    """
    require("pixels")
    from dataset_dl.pixels.stacks import stacked

    return stacked(series)


def require(kind: str) -> None:
    """Make sure that what volumes need is installed; for NIfTI, that is more than for arrays.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    from importlib.util import find_spec

    needed = {"imagecodecs": "imagecodecs", "numpy": "numpy", "rle": "pylibjpeg-rle"}
    if kind == "nifti":
        needed |= {"nibabel": "nibabel", "highdicom": "highdicom"}
    for module, library in needed.items():
        if find_spec(module) is None:
            raise MissingExtra("volumes", library)
