"""Segmentations on their images: the same pixels as highdicom gives for each image."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

import dataset_dl as dd
from dataset_dl.pixels.contrast import frame_attributes
from support.cli import Cli
from support.dicoms import encoded, slice_of, write_series
from support.segmentations import segmentation

SLICES, ROWS, COLUMNS = 6, 24, 32


@pytest.fixture
def images(tmp_path: Path) -> list[Dataset]:
    """Tilted slices of a CT, also on the disk, in `series`."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    tilt = (1, 0, 0, 0, 0.96, 0.28)
    values = np.random.default_rng(1).integers(0, 1000, (SLICES, ROWS, COLUMNS), dtype=np.int16)
    made = [
        slice_of(
            (5.0, -3.0 - 0.28 * 2 * number, 0.96 * 2 * number), tilt, values[number], StudyInstanceUID=study,
            SeriesInstanceUID=series, FrameOfReferenceUID=frame, PixelSpacing=[0.7, 0.9], SliceThickness=2,
            InstanceNumber=number + 1, PatientName="A", PatientBirthDate="", PatientSex="O", AccessionNumber="",
            StudyDate="20200101", StudyTime="120000", StudyID="1", ReferringPhysicianName="", SeriesNumber=1,
            Manufacturer="M", RescaleSlope=1, RescaleIntercept=0,
        )
        for number in range(SLICES)
    ]  # fmt: skip
    write_series(tmp_path / "series", made)
    return made


def random_masks() -> np.ndarray:
    masks = np.random.default_rng(2).integers(0, 2, (SLICES, ROWS, COLUMNS, 2)).astype(bool)
    masks[..., 1] &= ~masks[..., 0]
    masks[2] = False  # nothing was drawn here
    return masks


def saved(made: Dataset, path: Path) -> Path:
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_the_segments_of_an_image_are_those_of_highdicom(
    images: list[Dataset], tmp_path: Path, kind: str
) -> None:
    masks = random_masks()
    path = saved(segmentation(images, masks, kind), tmp_path / "seg.dcm")
    theirs = hd.seg.segread(path)
    with dd.look(path) as view:
        drawn = view.segmentation()
        assert drawn.source_series == images[0].SeriesInstanceUID
        for number, image in enumerate(images):
            mine = drawn.masks(image)
            expected = theirs.get_pixels_by_source_instance(
                [image.SOPInstanceUID], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
            )[0]
            for segment in (1, 2):
                found = mine.get(segment, np.zeros((ROWS, COLUMNS)))
                assert np.array_equal(found, expected[..., segment - 1])
                assert np.array_equal(found, masks[number, ..., segment - 1])


def test_a_fraction_covers_a_part(images: list[Dataset], tmp_path: Path) -> None:
    masks = np.random.default_rng(3).integers(0, 256, (SLICES, ROWS, COLUMNS, 1)) / 255
    path = saved(segmentation(images, masks, "FRACTIONAL"), tmp_path / "seg.dcm")
    with dd.look(path) as view:
        drawn = view.segmentation()
        for number, image in enumerate(images):
            assert np.allclose(drawn.masks(image)[1], masks[number, ..., 0], atol=1 / 255)


def test_a_segmentation_of_other_pixels_is_placed_by_its_positions(
    images: list[Dataset], tmp_path: Path
) -> None:
    """The image is a part of what was segmented, with pixels of half the size."""
    masks = random_masks()
    path = saved(segmentation(images, masks), tmp_path / "seg.dcm")
    image = frame_attributes(images[1], 0)
    along, down = np.array([1, 0, 0]) * 0.9, np.array([0, 0.96, 0.28]) * 0.7
    origin = np.array(image.ImagePositionPatient, float) + 4 * along + 3 * down - along / 4 - down / 4
    image.ImagePositionPatient, image.PixelSpacing = list(origin), [0.35, 0.45]
    image.Rows, image.Columns = 20, 20
    with dd.look(path) as view:
        found = view.segmentation().masks(image)[1]
    expected = masks[1, 3:13, 4:14, 0].repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(found, expected)


def test_an_overlay_is_drawn_in_colours(cli: Cli, images: list[Dataset], tmp_path: Path) -> None:
    masks = np.zeros((SLICES, ROWS, COLUMNS, 1), bool)
    masks[3, :, :16] = True
    path = saved(segmentation(images, masks), tmp_path / "seg.dcm")
    arguments = ("preview", "overlay", path, "--on", tmp_path / "series", "-o", "a.png")
    done = cli(*arguments, "--slice", 3, "--opacity", 1)
    assert (done.code, "1 Segment 1: rgb(230, 159, 0)" in done.err) == (0, True), done.err
    with Image.open(cli.directory / "a.png") as opened:
        made = np.asarray(opened)
    assert (made[:, : made.shape[1] // 2 - 1] == (230, 159, 0)).all()
    assert (np.ptp(made[:, made.shape[1] // 2 + 1 :], axis=2) == 0).all()
    assert cli(*arguments, "--columns", 3, "--rows", 2).code == 0


def test_a_recommended_colour_is_used(images: list[Dataset], tmp_path: Path) -> None:
    made = segmentation(images, np.ones((SLICES, ROWS, COLUMNS, 1), bool))
    recommended = hd.color.CIELabColor.from_rgb(200, 40, 40)
    made.SegmentSequence[0].RecommendedDisplayCIELabValue = list(recommended.value)
    with dd.look(saved(made, tmp_path / "seg.dcm")) as view:
        colour = view.segmentation().segments[1].colour
    assert np.abs(np.subtract(colour, (200, 40, 40))).max() <= 6


def test_what_is_no_segmentation_says_so(cli: Cli, images: list[Dataset], tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(encoded(images[0]))
    done = cli("preview", "overlay", tmp_path / "x.dcm", "-o", "a.png")
    assert (done.code, "is no segmentation" in done.err) == (2, True)


def test_highdicom_reads_what_it_made(images: list[Dataset], tmp_path: Path) -> None:
    """Otherwise the comparison above would say nothing."""
    path = saved(segmentation(images, random_masks()), tmp_path / "seg.dcm")
    assert pydicom.dcmread(path).NumberOfFrames == 10
