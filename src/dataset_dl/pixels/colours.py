"""Colours: those that an ICC profile means, and those of CIELab, as a screen (sRGB) shows them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def as_seen(array: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Convert the colours of a frame by its ICC profile, see PS3.3 C.11.15.

    Parameters
    ----------
    array
        RGB in 8 bits, of shape (rows, columns, 3); anything else comes back as it is.
    dataset
        The attributes of the frame. Whole slides have a profile for each optical path; the first one counts.
    """
    profile = _profile(dataset)
    if array.ndim != 3 or not profile or (transform := _transform(profile)) is None:
        return array
    return np.asarray(ImageCms.applyTransform(Image.fromarray(array), transform))


def rgb_of(lab: Sequence[int]) -> tuple[int, int, int]:
    """Return a CIELab colour as DICOM stores it (three numbers of 16 bits, PS3.3 C.10.7.1.1) in RGB."""
    lightness, a, b = (round(value * 255 / 65535) for value in lab)
    # Pillow stores a and b as signed bytes.
    made = Image.frombytes("LAB", (1, 1), bytes((lightness, (a - 128) % 256, (b - 128) % 256)))
    red, green, blue = np.asarray(ImageCms.applyTransform(made, _of_lab()))[0, 0].tolist()
    return red, green, blue


def _profile(dataset: Dataset) -> bytes:
    paths = dataset.get("OpticalPathSequence") or ()
    found = next((path.get("ICCProfile") for path in paths), None) or dataset.get("ICCProfile")
    return found if isinstance(found, bytes) else b""


@lru_cache(maxsize=8)
def _transform(profile: bytes) -> Any:
    """Return what converts colours of a profile; None if the profile is damaged or not for RGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def _of_lab() -> Any:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
