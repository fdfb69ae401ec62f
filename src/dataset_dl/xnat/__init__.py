"""Wing: verified series into a project of XNAT."""

from __future__ import annotations

from importlib.util import find_spec

from dataset_dl.errors import MissingExtra


def require() -> None:
    """Make sure that what makes zips for XNAT is installed.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    if find_spec("stream_zip") is None:
        raise MissingExtra("xnat", "stream-zip")
