"""The face of idc-series-preview: its examples run after a changed import."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import dataset_dl as dd
from dataset_dl.preview import idc_series_preview as face
from dataset_dl.preview.idc_series_preview import (
    Contrast,
    DICOMRetriever,
    MosaicRenderer,
    PositionInterpolator,
    SeriesIndex,
    load_or_generate_index,
)
from support.dicoms import slice_of, write_series


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_series(
        tmp_path / "series",
        [
            slice_of(
                (0, 0, 3.0 * number),
                values=np.full((8, 8), 10 * number, np.int16),
                RescaleSlope=1,
                RescaleIntercept=0,
            )
            for number in (4, 0, 3, 1, 2)
        ],
    )
    return tmp_path


# As its sources have them, version 0.5.2.
SIGNATURES = {
    "SeriesIndex.__init__": ["series", "root", "cache_dir", "use_cache", "force_rebuild"],
    "SeriesIndex.get_instances": ["positions", "slice_numbers", "max_workers", "remove_duplicates", "headers_only"],
    "SeriesIndex.get_instance": ["position", "slice_number", "slice_offset"],
    "SeriesIndex.get_image": ["position", "slice_number", "contrast", "image_width"],
    "SeriesIndex.get_images": ["positions", "slice_numbers", "contrast", "image_width", "max_workers", "remove_duplicates"],
    "Instance.__init__": ["instance_uid", "dataset", "series_index"],
    "Instance.get_image": ["contrast", "image_width"],
    "Instance.get_contrast_grid": ["contrasts", "image_width"],
    "Contrast.__init__": ["spec", "window_width", "window_center"],
    "MosaicRenderer.__init__": ["tile_width", "tile_height", "image_width"],
    "DICOMRetriever.__init__": ["root_path", "index_df"],
    "load_or_generate_index": ["series_uid", "root_path", "index_dir", "logger_instance", "save_to_cache", "force_rebuild"],
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_are_theirs(name: str) -> None:
    thing: object = face
    for part in name.split("."):
        thing = getattr(thing, part)
    assert [each for each in inspect.signature(thing).parameters if each != "self"] == SIGNATURES[name]  # type: ignore[arg-type]


def test_a_series_is_looked_at(root: Path) -> None:
    index = SeriesIndex("series", root=str(root))
    assert (len(index), index.instance_count, index.primary_axis) == (5, 5, "Z")
    assert index.position_range == (0.0, 12.0)
    instance = index.get_instance(position=0.5)
    assert int(instance.get_pixel_array()[0, 0]) == 20
    assert index.get_instance(position=0.5, slice_offset=1).dataset.ImagePositionPatient[2] == 9
    assert instance.get_image(contrast="lung").size == (128, 128)
    assert instance.get_contrast_grid(["lung", "bone"], image_width=64).size == (130, 64)
    numbers = [
        each.instance_uid for each in index.get_instances(slice_numbers=[0, 4, 4], remove_duplicates=True)
    ]
    assert len(numbers) == 2
    assert (
        len(index.get_images(positions=[0.0, 1.0], contrast=Contrast(window_width=100, window_center=20)))
        == 2
    )
    with pytest.raises(ValueError, match="either positions or"):
        index.get_instances()
    with pytest.raises(ValueError, match="no slice 5"):
        index.get_instance(slice_number=4, slice_offset=1)


def test_a_mosaic_is_put_together(root: Path) -> None:
    index = SeriesIndex("series", root=str(root))
    images = index.get_images(positions=PositionInterpolator(len(index)).interpolate(4))
    made = MosaicRenderer(tile_width=2, tile_height=2).tile_images(images)
    assert made is not None
    assert made.size == (258, 258)
    assert MosaicRenderer().tile_images([]) is None


def test_an_index_has_its_columns(root: Path) -> None:
    frame = load_or_generate_index("series", str(root))
    assert frame is not None
    assert list(frame["PrimaryPosition"]) == [0.0, 3.0, 6.0, 9.0, 12.0]
    assert {"Index", "FileName", "SOPInstanceUID", "Modality"} <= set(frame.columns)


def test_a_retriever_finds_instances(root: Path) -> None:
    retriever = DICOMRetriever(str(root))
    uids = retriever.list_instances("series")
    assert [uid for uid, _ in retriever.get_instances_distributed("series", 2)] == [uids[0], uids[-1]]
    found = retriever.get_instance_at_position("series", 0.5)
    assert found is not None
    assert found[0] == uids[2]
    data = retriever.get_instance_data("series", uids[1])
    assert data is not None
    assert data.SOPInstanceUID == uids[1]


def test_positions_are_spread() -> None:
    spread = PositionInterpolator(100)
    assert spread.interpolate(3, 0.2, 0.4) == pytest.approx([0.2, 0.3, 0.4])
    assert spread.interpolate(1) == [0.5]
    assert PositionInterpolator(2).interpolate_unique(9) == ([0.0, 1.0], [0, 1])
    with pytest.raises(dd.SelectionError):
        spread.interpolate(3, 0.5, 0.2)
