"""From stored values to grey levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dataset_dl.errors import SelectionError
from dataset_dl.pixels.contrast import PRESETS, Contrast, frame_attributes
from support.dicoms import slice_of


@pytest.mark.parametrize(
    ("text", "window"),
    [("lung", (1500, -500)), ("ct-lung", (1500, -500)), ("CT_Lung", (1500, -500)), ("t2", (475, 155)),
     ("1500/-500", (1500, -500)), ("80,40", (80, 40)), ("auto", None), ("embedded", None)],
)  # fmt: skip
def test_contrasts_have_many_names(text: str, window: tuple[float, float] | None) -> None:
    assert Contrast.of(text).window == window


@given(st.text(max_size=20))
def test_what_is_no_contrast_is_refused_in_a_sentence(text: str) -> None:
    try:
        Contrast.of(text)
    except SelectionError as error:
        assert "auto, embedded" in str(error)


def test_every_preset_is_found_by_its_name() -> None:
    for name, window in PRESETS.items():
        assert Contrast.of(name).window == window


def test_a_window_is_as_the_standard_says() -> None:
    """PS3.3 C.11.2.1.2.1: below the window black, above it white, linear between."""
    values = np.array([[-1000, -40, 40, 120, 3000]], np.int16)
    shown = Contrast.of("160/40").apply(values, slice_of(values=values, RescaleSlope=1, RescaleIntercept=0))
    assert shown.tolist() == [[0, 0, 128, 255, 255]]


def test_rescaling_comes_before_the_window() -> None:
    values = np.array([[0, 1024]], np.int16)
    attributes = slice_of(values=values, RescaleSlope=2, RescaleIntercept=-1024)
    assert Contrast.of("2048/0").apply(values, attributes).tolist() == [[0, 255]]


@given(st.sampled_from(["auto", "embedded", "lung", "400/50"]), st.integers(0, 2**31))
def test_monochrome1_is_the_exact_complement(contrast: str, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-1000, 3000, (16, 16), dtype=np.int16)
    one = slice_of(values=values, WindowWidth=500, WindowCenter=100)
    other = slice_of(
        values=values, WindowWidth=500, WindowCenter=100, PhotometricInterpretation="MONOCHROME1"
    )
    chosen = Contrast.of(contrast)
    assert (chosen.apply(values, one).astype(int) + chosen.apply(values, other) == 255).all()


def test_the_embedded_contrast_is_the_default() -> None:
    values = np.array([[0, 50, 100, 5000]], np.int16)
    attributes = slice_of(values=values, WindowWidth=101, WindowCenter=50.5)
    assert Contrast().apply(values, attributes).tolist() == [[0, 128, 255, 255]]
    several = slice_of(values=values, WindowWidth=[101, 2000], WindowCenter=[50.5, 300])
    assert np.array_equal(Contrast().apply(values, several), Contrast().apply(values, attributes))


def test_a_lookup_table_is_applied() -> None:
    values = np.array([[0, 1, 2, 3]], np.uint16)
    attributes = slice_of(values=values)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 8])
    table.add_new("LUTData", "US", [0, 10, 200, 255])
    attributes.VOILUTSequence = [table]
    assert Contrast.of("embedded").apply(values, attributes).tolist() == [[0, 10, 200, 255]]


def test_frames_have_their_own_windows() -> None:
    made = slice_of(NumberOfFrames=2)
    made.SharedFunctionalGroupsSequence = [Dataset()]
    groups = []
    for centre in (10, 200):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 20
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    assert [frame_attributes(made, number).WindowCenter for number in (0, 1)] == [10, 200]


@given(
    st.sampled_from(["auto", "embedded", "400/50"]),
    st.sampled_from([np.int16, np.uint8, np.uint16]),
    st.integers(0, 2**31),
)
def test_many_values_are_shown_like_few(contrast: str, kind: type, seed: int) -> None:
    """Where each value occurs often, a table is used; it must not be seen."""
    values = np.random.default_rng(seed).integers(0, 200, (64, 64)).astype(kind)
    attributes = slice_of(
        values=values, WindowWidth=90, WindowCenter=70, RescaleSlope=2, RescaleIntercept=-30
    )
    whole = Contrast.of(contrast).apply(values, attributes)
    as_floats = Contrast.of(contrast).apply(values.astype(np.float64), attributes)
    assert np.abs(whole.astype(int) - as_floats).max() <= (6 if contrast == "auto" else 0)


def test_one_grey_and_nothing_are_shown_too() -> None:
    values = np.full((4, 4), 7, np.int16)
    assert Contrast.of("auto").apply(values, slice_of(values=values)).shape == (4, 4)


def test_padding_does_not_count() -> None:
    values = np.full((10, 10), -2000, np.int16)
    values[4] = np.arange(100, 110)
    attributes = slice_of(values=values, PixelPaddingValue=-2000)
    shown = Contrast.of("auto").apply(values, attributes)
    assert (shown[4, 0], shown[4, -1], shown[0, 0]) == (0, 255, 0)
    attributes.PixelPaddingRangeLimit = 200  # then everything is padding
    assert Contrast.of("auto").apply(values, attributes).shape == values.shape


def test_colours_stay_as_they_are() -> None:
    values = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(Contrast.of("lung").apply(values, slice_of(values=values)), values)
