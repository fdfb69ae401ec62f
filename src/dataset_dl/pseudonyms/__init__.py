"""Wing: pseudonyms for DICOM files, by the profile of PS3.15 and keyed digests."""

from __future__ import annotations

from importlib.util import find_spec

from dataset_dl.errors import MissingExtra


def require() -> None:
    """Make sure that the standard's table and what encrypts are installed.

    Raises
    ------
    MissingExtra
        If they are not.
    """
    for module, library in (("dicomanonymizer", "dicom-anonymizer"), ("cryptography", "cryptography")):
        if find_spec(module) is None:
            raise MissingExtra("pseudonyms", library)
