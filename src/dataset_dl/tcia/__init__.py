"""Wing: series of The Cancer Imaging Archive (TCIA) from its server, NBIA."""

from __future__ import annotations

from importlib.util import find_spec

from dataset_dl.doors import Extension
from dataset_dl.errors import MissingExtra

REST = Extension(
    "--rest-from-nbia",
    "Fetch the series that IDC lacks from TCIA's own server, NBIA.",
    sets={"rest_from": "nbia"},
)


def require() -> None:
    """Make sure that what unpacks NBIA's zips is installed.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    if find_spec("stream_unzip") is None:
        raise MissingExtra("tcia", "stream-unzip")
