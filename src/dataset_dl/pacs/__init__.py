"""Wing: archives that speak DICOM over the network (DIMSE) or over the web (DICOMweb)."""

from __future__ import annotations

from importlib.util import find_spec

from dataset_dl.errors import MissingExtra


def require() -> None:
    """Make sure that what negotiates associations is installed.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    if find_spec("pynetdicom") is None:
        raise MissingExtra("pacs", "pynetdicom")


def __getattr__(name: str) -> object:
    # Imported when it is asked for: most commands need no client.
    if name == "Client":
        from dataset_dl.pacs.client import Client

        return Client
    raise AttributeError(name)
