"""Volumes: the arrays and affines of SimpleITK, and refused where there is none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset

import dataset_dl as dd
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.pixels.stacks import NoVolume, stacked
from dataset_dl.testing import LocalBucket
from dataset_dl.volumes.consumer import Nifti
from dataset_dl.volumes.segmentations import label_map
from support.cli import Cli
from support.dicoms import encoded, slice_of, write_series
from support.segmentations import segmentation

COUNT, ROWS, COLUMNS = 7, 12, 10
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
_TURN = np.array([[0.8, 0.36, 0.48], [-0.6, 0.48, 0.64], [0.0, -0.8, 0.6]])
OBLIQUE = tuple(np.concatenate([_TURN[:, 0], _TURN[:, 1]]))


def stack(
    orientation: tuple[float, ...] = AXIAL,
    step: tuple[float, float, float] = (0, 0, 2.5),
    count: int = COUNT,
    seed: int = 1,
    **elements: object,
) -> list[Dataset]:
    generator = np.random.default_rng(seed)
    begin = np.array((-30.0, 12.5, 100.0))
    usual = {
        "PixelSpacing": [0.7, 0.9], "SliceThickness": 2.5, "RescaleSlope": 1, "RescaleIntercept": -1024,
        "SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.2.9",
    }  # fmt: skip
    return [
        slice_of(
            tuple(begin + number * np.array(step)),
            orientation,
            generator.integers(0, 3000, (ROWS, COLUMNS)).astype(np.int16),
            **{**usual, "InstanceNumber": number + 1, **elements},
        )
        for number in range(count)
    ]


def _with(made: Dataset, elements: dict[str, object]) -> Dataset:
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def of_simple_itk(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array and affine (from column, row, slice to LPS) as SimpleITK reads a directory."""
    reader = SimpleITK.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(directory))
    reader.SetFileNames(names)
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), affine


NORMAL = tuple(2.5 * np.cross(_TURN[:, 0], _TURN[:, 1]))
STACKS = {
    "axial": stack(),
    "reversed": stack(step=(0, 0, -2.5)),
    "coronal": stack(CORONAL, (0, 3, 0)),
    "oblique": stack(OBLIQUE, NORMAL),
    "tilted": stack(step=(0, 0.6, 2.4)),
    "one slice": stack(count=1),
    "slope of two": stack(RescaleSlope=2, RescaleIntercept=10),
    "slope of a half": stack(RescaleSlope=0.5),
}


@pytest.mark.parametrize("name", list(STACKS))
def test_arrays_and_affines_are_those_of_simple_itk(tmp_path: Path, name: str) -> None:
    directory = write_series(tmp_path / "series", STACKS[name])
    found = dd.volume(directory)
    array, affine = of_simple_itk(directory)
    assert np.array_equal(found.array, array)
    assert found.array.dtype == (np.float32 if name == "slope of a half" else np.int16)
    if name == "tilted":
        # SimpleITK's image cannot be sheared: it puts the slices one above the other. The length is the same.
        affine[:3, 2] = (
            np.array((0, 0.6, 2.4)) * np.linalg.norm(affine[:3, 2]) / np.linalg.norm((0, 0.6, 2.4))
        )
    elif name == "one slice":
        affine[:3, 2] *= 2.5  # SimpleITK takes 1 mm, whatever its SliceThickness
    np.testing.assert_allclose(found.affine, affine, atol=1e-4)
    assert found.spacing == pytest.approx(np.linalg.norm(affine[:3, :3], axis=0))
    by_uid = {each.SOPInstanceUID: each for each in STACKS[name]}
    for place, uid in enumerate(found.SOPInstanceUIDs):
        expected = found.affine @ (0, 0, place, 1)
        np.testing.assert_allclose(expected[:3], by_uid[uid].ImagePositionPatient, atol=1e-4)


def test_values_that_are_no_int16_are_float32(tmp_path: Path) -> None:
    slices = stack()
    slices[3].RescaleIntercept = 40_000
    found = dd.volume(write_series(tmp_path / "series", slices))
    assert found.array.dtype == np.float32
    expected = {each.SOPInstanceUID: each for each in slices}
    for place, uid in enumerate(found.SOPInstanceUIDs):
        values = np.frombuffer(expected[uid].PixelData, np.int16).reshape(ROWS, COLUMNS)
        assert np.array_equal(found.array[place], values + float(expected[uid].RescaleIntercept))


def test_frames_of_an_enhanced_object_are_slices(tmp_path: Path) -> None:
    values = np.arange(4 * ROWS * COLUMNS, dtype=np.int16).reshape(4 * ROWS, COLUMNS)
    made = slice_of(None, values=values, NumberOfFrames=4)
    made.Rows = ROWS
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 3
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for place in (9, 0, 3, 6):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, place]
        group.PlanePositionSequence = [position]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    (tmp_path / "a.dcm").write_bytes(encoded(made))
    found = dd.volume(tmp_path / "a.dcm")
    frames = values.reshape(4, ROWS, COLUMNS)
    assert np.array_equal(found.array, frames[[1, 2, 3, 0]])
    assert found.spacing == pytest.approx((1, 1, 3))


def without(place: int) -> list[Dataset]:
    slices = stack()
    del slices[place]
    return slices


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (stack() + stack(CORONAL, (0, 3, 0), count=2, seed=2), "slices of 2 orientations or sizes"),
        (stack() + stack(seed=2), "positions with up to 2 slices"),
        (without(3), "its slices are 2.500 to 5.000 mm apart"),
        ([slice_of(None) for _ in range(3)], "have no position in space"),
        ([slice_of((0, 0, n), values=np.zeros((4, 4, 3), np.uint8)) for n in range(3)], "are in colour"),
        ([slice_of((0, 0, n)) for n in range(3)], "its pixels have no size"),
        (stack(count=3) + stack(step=(0, 0, 2.5), count=6, seed=3)[3:5]
         + [_with(each, {"PixelSpacing": [1, 1]}) for each in stack(seed=3)[5:6]], "pixels of several sizes"),
        ([slice_of((0, 30 * (n % 2), n), PixelSpacing=[1, 1]) for n in range(6)], "mm beside a line"),
        (stack((1, 0, 0, 2, 0, 0)), "no pair of directions"),
        (stack((2, 0, 0, 0, 2, 0)), "no pair of directions"),
        (stack(PixelSpacing=[0, 1]), "impossible size or place"),
    ],
)  # fmt: skip
def test_what_is_no_volume_is_refused_with_the_reason(
    tmp_path: Path, slices: list[Dataset], words: str
) -> None:
    with pytest.raises(NoVolume, match=words):
        dd.volume(write_series(tmp_path / "series", slices))


def test_damaged_files_and_nothing_are_errors_in_words(tmp_path: Path) -> None:
    directory = write_series(tmp_path / "series", stack())
    (directory / "x.dcm").write_bytes(encoded(slice_of())[:-10])
    with pytest.raises(dd.UnreadableObject, match=r"x\.dcm ends in the middle of its pixel data"):
        dd.volume(directory)
    with pytest.raises(dd.SelectionError, match="does not exist"):
        dd.volume(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoVolume, match="has no images"):
        dd.volume(tmp_path / "empty")


def planned(directory: str, modality: str = "CT", uid: str = "1.2.3") -> PlannedSeries:
    return PlannedSeries(
        "c", "P", "1.2", uid, modality, None, None, "key", "s3://x/key/*", directory, None, None
    )


def as_series(root: Path, directory: str, modality: str = "CT", uid: str = "1.2.3") -> Series:
    paths = tuple(sorted((root / directory).iterdir()))
    return Series(planned(directory, modality, uid), root / directory, paths)


def test_nifti_is_the_volume_with_a_table_of_its_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "data" / "P" / "CT_1.2.3", STACKS["oblique"])
    consumer = Nifti(ConsumerRequest("nifti", "", tmp_path / "data"))
    made = consumer.take(as_series(tmp_path / "data", "P/CT_1.2.3"))
    path = tmp_path / "data-nifti" / "P" / "CT_1.2.3.nii.gz"
    assert made["files"] == [str(path)]
    image = nibabel.load(path)
    volume = stacked(tmp_path / "data" / "P" / "CT_1.2.3")
    assert np.array_equal(np.asarray(image.dataobj), volume.array.transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, volume.affine_ras, atol=1e-4)
    # SimpleITK reads the same from it as from the slices.
    read = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(read), volume.array)
    np.testing.assert_allclose(read.GetOrigin(), volume.affine[:3, 3], atol=1e-3)
    with (tmp_path / "data-nifti" / "P" / "CT_1.2.3.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["SOPInstanceUID"] for row in table] == list(volume.SOPInstanceUIDs)
    before = path.read_bytes()
    consumer.take(as_series(tmp_path / "data", "P/CT_1.2.3"))
    assert path.read_bytes() == before


def segmented(images: list[Dataset], masks: np.ndarray) -> Dataset:
    """A segmentation of images that first get the attributes which highdicom copies."""
    for each in images:
        encoded(each)
        each.StudyInstanceUID, each.FrameOfReferenceUID = "1.2", "1.2.9"
        for name in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
                     "StudyDate", "StudyTime", "ReferringPhysicianName"):  # fmt: skip
            setattr(each, name, "")
    return segmentation(images, masks)


def random_masks() -> np.ndarray:
    masks = np.random.default_rng(2).integers(0, 2, (COUNT, ROWS, COLUMNS, 2)).astype(bool)
    masks[..., 1] &= ~masks[..., 0]
    masks[0] = masks[-1] = False  # it is smaller than its images
    return masks


@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_a_segmentation_is_a_label_map_on_the_grid_of_its_images(tmp_path: Path, name: str) -> None:
    images, masks = STACKS[name], random_masks()
    write_series(tmp_path / "data" / "CT_1.2.3", images)
    made = segmented(images, masks)
    made.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    volume = stacked(tmp_path / "data" / "CT_1.2.3")
    found = label_map(tmp_path / "seg.dcm", volume)
    expected = masks[..., 0] + 2 * masks[..., 1]
    assert np.array_equal(found.arrays[""], expected)
    np.testing.assert_allclose(found.affine, volume.affine, atol=1e-4)
    assert [row[:2] for row in found.segments] == [(1, "Segment 1"), (2, "Segment 2")]
    # Without its images it has the part that something was drawn on.
    alone = label_map(tmp_path / "seg.dcm")
    assert (alone.arrays[""] > 0).sum() == (expected > 0).sum()


def test_segments_that_overlap_have_files_of_their_own(tmp_path: Path) -> None:
    masks = random_masks()
    masks[2, :4, :4] = True
    made = segmented(stack(), masks)
    (tmp_path / "data" / "SEG_1.5").mkdir(parents=True)
    made.save_as(tmp_path / "data" / "SEG_1.5" / "seg.dcm", enforce_file_format=True)
    consumer = Nifti(ConsumerRequest("nifti", str(tmp_path / "out"), tmp_path / "data"))
    found = consumer.take(as_series(tmp_path / "data", "SEG_1.5", "SEG", "1.5"))
    assert [Path(each).name for each in found["files"]] == [
        "SEG_1.5-segment-1.nii.gz", "SEG_1.5-segment-2.nii.gz",
    ]  # fmt: skip
    assert consumer.take(as_series(tmp_path / "data", "SEG_1.5", "SR"))["skipped"] == "SR is no volume"


def test_a_download_becomes_nifti(cli: Cli, bucket: LocalBucket) -> None:
    """The files of the test bucket have no positions, so each series is refused with the reason."""
    uuid = bucket.series[0].crdc_series_uuid
    done = cli(
        "idc", "download", uuid, "--to", "data", "--endpoint-url", bucket.endpoint_url, "--then", "nifti",
        "--evict", "--json",
    )  # fmt: skip
    last = json.loads(done.out.splitlines()[-1])
    if done.code == 0:
        assert list((cli.directory / "data-nifti").rglob("*.nii.gz"))
        return
    assert done.code == 3, done.err
    (failure,) = last["delivery"]["failures"]
    assert "is no volume" in failure["message"]
    assert list((cli.directory / "data").rglob("*.dcm"))


def test_without_the_extra_a_sentence_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "nibabel" else real(name, *more)
    )
    done = cli("deliver", "data", "--to", "nifti")
    assert (done.code, 'pip install "dataset-dl[volumes]"' in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("slope", "intercept"), [(65537, 0), (100_000, 0), (1, 3_000_000_000), (1e20, 0), (0.001, -5)]
)
def test_values_do_not_overflow(tmp_path: Path, slope: float, intercept: float) -> None:
    values = np.full((4, 4), 65_000, np.uint16)
    made = [slice_of((0, 0, n), values=values, PixelSpacing=[1, 1], RescaleSlope=slope, RescaleIntercept=intercept)
            for n in range(2)]  # fmt: skip
    found = dd.volume(write_series(tmp_path / "series", made))
    assert found.array == pytest.approx(65_000 * slope + intercept, rel=1e-6)


def test_a_segmentation_keeps_its_grid_if_its_images_do_not_cover_it(tmp_path: Path) -> None:
    images = stack()
    masks = np.ones((COUNT, ROWS, COLUMNS, 1), bool)
    segmented(images, masks).save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    few = stacked(write_series(tmp_path / "few", images[:3]))
    found = label_map(tmp_path / "seg.dcm", few)
    assert np.count_nonzero(found.arrays[""]) == COUNT * ROWS * COLUMNS
