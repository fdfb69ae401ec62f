"""Colours by ICC profiles, and CIELab."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageCms
from pydicom.dataset import Dataset

from dataset_dl.pixels.colours import as_seen, rgb_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# A screen whose red and blue are changed over.
SWAPPED = SRGB.replace(b"rXYZ", b"xXYZ").replace(b"bXYZ", b"rXYZ").replace(b"xXYZ", b"bXYZ")
ARRAY = np.full((4, 4, 3), (200, 60, 20), np.uint8)


def with_profile(profile: bytes, *, of_slide: bool = False) -> Dataset:
    made = Dataset()
    made.ICCProfile = profile
    if not of_slide:
        return made
    slide = Dataset()
    slide.OpticalPathSequence = [made]
    return slide


@pytest.mark.parametrize("of_slide", [False, True])
def test_colours_are_those_of_the_profile(of_slide: bool) -> None:
    same = as_seen(ARRAY, with_profile(SRGB, of_slide=of_slide))
    assert np.abs(same.astype(int) - ARRAY).max() <= 1
    swapped = as_seen(ARRAY, with_profile(SWAPPED, of_slide=of_slide))
    assert np.abs(swapped.astype(int) - ARRAY[..., ::-1]).max() <= 1


@pytest.mark.parametrize("profile", [b"", b"no profile", SRGB[:200]])
def test_a_damaged_profile_changes_nothing(profile: bytes) -> None:
    assert np.array_equal(as_seen(ARRAY, with_profile(profile)), ARRAY)


def test_grey_has_no_profile() -> None:
    assert np.array_equal(as_seen(ARRAY[..., 0], with_profile(SWAPPED)), ARRAY[..., 0])


def exact(lab: tuple[int, int, int]) -> np.ndarray:
    """By the formulas of CIE and sRGB, with the white of D50."""
    lightness, a, b = lab[0] * 100 / 65535, lab[1] * 255 / 65535 - 128, lab[2] * 255 / 65535 - 128
    y = (lightness + 16) / 116
    part = [each**3 if each > 6 / 29 else 3 * (6 / 29) ** 2 * (each - 4 / 29)
            for each in (y + a / 500, y, y - b / 200)]  # fmt: skip
    linear = np.clip(
        np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
                  [0.0719453, -0.2289914, 1.4052427]]) @ (np.array((0.96422, 1, 0.82521)) * part), 0, 1,
    )  # fmt: skip
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    "lab",
    [(65535, 32896, 32896), (0, 32896, 32896), (34885, 53485, 50171), (32768, 40000, 30000),
     (40000, 20000, 45000)],
)  # fmt: skip
def test_lab_is_what_its_formulas_say(lab: tuple[int, int, int]) -> None:
    # Eight bits a number leave an error of a few levels.
    assert np.abs(np.array(rgb_of(lab)) - exact(lab)).max() <= 6
