"""Wing: look at a series without downloading it. Installed by ``pip install "dataset-dl[preview]"``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from dataset_dl.errors import MissingExtra
from dataset_dl.verbs.options import NetworkOptions, network_of, spelled_out

if TYPE_CHECKING:
    from dataset_dl.preview.view import SeriesView

# Module → the library that it is from.
_NEEDED = {"numpy": "numpy", "PIL": "Pillow", "imagecodecs": "imagecodecs"}


@spelled_out(NetworkOptions)
def look(
    identifier: str | Path,
    *,
    group: int = 0,
    quick: bool = False,
    max_bytes: int | None = None,
    scan: bool = False,
    **options: Unpack[NetworkOptions],
) -> SeriesView:
    """Open a series to look at, without downloading it.

    Parameters
    ----------
    identifier
        A SeriesInstanceUID, a crdc_series_uuid or its beginning, an ``s3://`` or ``https://`` address, or a
        DICOM file or a directory of them.
    group
        Which of several groups of slices that do not belong together; 0 is the largest.
    quick
        Read only the slices that are shown, without the headers of the others; only these are sorted then.
    max_bytes
        Read objects whole only up to this size, on servers that send no parts; 64 MiB if None.
    scan
        Read a whole object if no table tells where its frames are.
    **options
        How to reach the network, see `NetworkOptions`.

    Returns
    -------
    SeriesView
        In a notebook it shows itself.

    Raises
    ------
    SelectionError
        If the identifier is nothing, or more than one series.
    MissingExtra
        If the extra is not installed.
    NetworkError
        If the store does not answer.
    """
    require()
    from dataset_dl.preview.finding import find
    from dataset_dl.preview.view import SeriesView

    network = network_of(options)
    found = find(str(identifier), network)
    return SeriesView(found, network, group=group, quick=quick, most_bytes=max_bytes, may_scan=scan)


def require() -> None:
    """Make sure that what pictures need is installed.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    for module, library in _NEEDED.items():
        try:
            import_module(module)
        except ImportError:
            raise MissingExtra("preview", library) from None
