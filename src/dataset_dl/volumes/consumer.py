"""The consumer ``nifti[:DIRECTORY]``: each series of slices as NIfTI, each segmentation as a label map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import DatasetDlError
from dataset_dl.model.series import Series
from dataset_dl.volumes import require

# What is no picture in space can be no volume, and that is no failure.
_WITHOUT_VOLUME = frozenset(
    {"SR", "RTSTRUCT", "RTPLAN", "RTDOSE", "KO", "PR", "REG", "SM", "ANN", "DOC", "M3D"}
)


class Nifti:
    """Writes series as NIfTI; implements `destination.consumers.Consumer`.

    Parameters
    ----------
    request
        Where to put the files; by default beside the destination, ``DESTINATION-nifti``.
    """

    def __init__(self, request: ConsumerRequest) -> None:
        request.refuse()
        self.target = disk.absolute(request.where or f"{request.destination}-nifti")
        request.refuse_inside(self.target)
        self.name = f"nifti:{self.target}"
        self.options: Mapping[str, Any] = {}
        self._root = request.destination

    def take(self, series: Series) -> Mapping[str, Any]:
        """Write a series, or say that it can be no volume.

        Raises
        ------
        SelectionError
            If its slices are no volume.
        UnreadableObject
            If a file is damaged.
        """
        if series.planned.Modality in _WITHOUT_VOLUME:
            return {"skipped": f"{series.planned.Modality} is no volume"}
        place = self.target / self._relative(series)
        if series.planned.Modality == "SEG":
            return self._write_segmentations(series, place)
        from dataset_dl.pixels.stacks import stacked
        from dataset_dl.volumes.nifti import write_nifti, write_slices

        volume = stacked(series)
        write_slices(volume, place.with_name(f"{place.name}.csv"))
        file = place.with_name(f"{place.name}.nii.gz")
        write_nifti(volume.array, volume.affine_ras, file)
        return {"files": [str(file)], "shape": list(volume.array.shape)}

    def confirms(self, key: str, made: Mapping[str, Any]) -> bool:
        """Whether the files that were written are still there."""
        return all(Path(each).exists() for each in made.get("files", ()))

    def _relative(self, series: Series) -> Path:
        """Return the name of a series below the target; of a shared directory, with its UID."""
        directory = Path(series.planned.directory or ".")
        uid = series.planned.SeriesInstanceUID or series.planned.key
        return directory if uid in directory.name or series.planned.key in directory.name else directory / uid

    def _write_segmentations(self, series: Series, place: Path) -> Mapping[str, Any]:
        import pydicom

        from dataset_dl.volumes.nifti import write_nifti, write_table
        from dataset_dl.volumes.segmentations import label_map, referenced_series

        files = []
        for number, path in enumerate(series.paths):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            found = label_map(path, self._reference(referenced_series(header)))
            stem = place.name if len(series.paths) == 1 else f"{place.name}-{number}"
            columns = ("label", "SegmentLabel", "category", "type")
            write_table(columns, found.segments, place.with_name(f"{stem}.csv"))
            for part, array in found.arrays.items():
                file = place.with_name(f"{stem}-{part}.nii.gz" if part else f"{stem}.nii.gz")
                write_nifti(array, found.affine_ras, file)
                files.append(str(file))
        return {"files": files}

    def _reference(self, uid: str | None) -> Any:
        """Return the images that a segmentation was drawn on, if they are in the same destination."""
        from dataset_dl.pixels.stacks import stacked

        directory = None if uid is None else self._directories.get(uid)
        if directory is None or not (self._root / directory).is_dir():
            return None
        try:
            return stacked(self._root / directory)
        except DatasetDlError:  # it is there in part, or no volume; the segmentation has a grid of its own
            return None

    @cached_property
    def _directories(self) -> dict[str, str]:
        """SeriesInstanceUID → directory, of the series whose directory is theirs alone."""
        from dataset_dl.destination.records import kept_plan

        kept = kept_plan(self._root, checked=False)
        if kept is None or kept.needs_names():
            return {}
        return {row.SeriesInstanceUID: row.directory for row in kept if row.SeriesInstanceUID}


def make(request: ConsumerRequest) -> Nifti:
    """Make the consumer.

    Raises
    ------
    MissingExtra
        If what it needs is not installed.
    SelectionError
        If an option is wrong.
    """
    require("nifti")
    return Nifti(request)
