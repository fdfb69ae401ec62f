"""The page of a volume: a series on this disk, as NIfTI, for the viewer in the browser."""

from __future__ import annotations

from pathlib import Path

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Answer, Call, Given, Page, Place
from dataset_dl.scratch import temporary_file
from dataset_dl.volumes import require


def volume(place: Place, given: Given) -> Answer:
    """Return a series on this disk as NIfTI."""
    from dataset_dl.pixels.stacks import stacked
    from dataset_dl.volumes.nifti import write_nifti

    identifier = given.text("series")
    directory = place.directory_of(identifier)
    if directory is None:
        raise SelectionError(
            identifier,
            "This series has no directory on this disk with all of its files, and a volume needs them.",
            "Download it first.",
        )
    found = stacked(directory)
    with temporary_file("volume", ".nii.gz") as path:
        write_nifti(found.array, found.affine_ras, path)
    return Answer(path, "application/gzip", "volume.nii.gz")


PAGE = Page(
    "Volume",
    Path(__file__).parent / "static" / "page.js",
    (
        Call(
            "volume/{series}",
            volume,
            "A series on this disk as NIfTI.",
            {"series": "A SeriesInstanceUID or a crdc series uuid."},
        ),
    ),
    lambda: require("nifti"),
)
