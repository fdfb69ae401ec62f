"""Whole slide images: levels, tiles by column and row, and what they cost."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

import dataset_dl as dd
from dataset_dl.sources.idc import tables
from support import indices
from support.cli import Cli
from support.dicoms import compressed, encoded, slice_of
from support.faults import FaultServer, serve

SIZE = 64


def noise(width: int, height: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def tiles_of(array: np.ndarray) -> list[np.ndarray]:
    height, width = array.shape[:2]
    padded = np.pad(array, ((0, -height % SIZE), (0, -width % SIZE), (0, 0)), constant_values=255)
    return [
        padded[top : top + SIZE, left : left + SIZE]
        for top in range(0, height, SIZE)
        for left in range(0, width, SIZE)
    ]


def level(array: np.ndarray, kind: str, table: str, *, sparse: bool = False) -> bytes:
    """A level as a file, with one kind of table of its tiles."""
    pieces = tiles_of(array)
    order = list(range(len(pieces)))
    if sparse:
        order = order[::-1][:-1]  # in another order, and the first tile is empty
    packed = [imagecodecs.jpeg2k_encode(pieces[each], level=0, codecformat="j2k") for each in order]
    made = slice_of(
        None, values=pieces[0], NumberOfFrames=len(packed), ImageType=["ORIGINAL", "PRIMARY", kind, "NONE"]
    )
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = array.shape[:2]
    made.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    if sparse:
        across = -(-array.shape[1] // SIZE)
        made.PerFrameFunctionalGroupsSequence = [at_tile(*divmod(number, across)) for number in order]
    data = compressed(made, packed, JPEG2000Lossless, table)
    return as_tiff(data, packed) if table == "tiff" else data


def at_tile(row: int, column: int) -> Dataset:
    at, group = Dataset(), Dataset()
    at.ColumnPositionInTotalImagePixelMatrix = column * SIZE + 1
    at.RowPositionInTotalImagePixelMatrix = row * SIZE + 1
    group.PlanePositionSlideSequence = [at]
    return group


def as_tiff(data: bytes, packed: list[bytes]) -> bytes:
    """Add what makes a file TIFF, too, as in IDC: a preamble, and a directory behind the pixel data."""
    offsets = [data.index(each) for each in packed]
    begin = len(data) + 12
    values = begin + 30
    directory = struct.pack("<HHHLL", 2, 324, 4, len(packed), values)
    directory += struct.pack("<HHLLL", 325, 4, len(packed), values + 4 * len(packed), 0)
    directory += struct.pack(f"<{len(packed)}L", *offsets) + struct.pack(
        f"<{len(packed)}L", *map(len, packed)
    )
    trailer = b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<L", len(directory)) + directory
    preamble = (b"II*\0" + struct.pack("<L", begin)).ljust(128, b"\0")
    return preamble + data[128:] + trailer


LARGE = noise(1000, 700, 1)
SMALL = noise(100, 70, 2)
LABEL = noise(60, 50, 3)


@pytest.fixture(params=["basic", "extended", "tiff"])
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FaultServer, str]]:
    """A server of one slide, and its address."""
    directory = tmp_path / "bucket" / "slide"
    directory.mkdir(parents=True)
    (directory / "c.dcm").write_bytes(level(LARGE, "VOLUME", request.param))
    (directory / "a.dcm").write_bytes(level(SMALL, "VOLUME", request.param))
    (directory / "b.dcm").write_bytes(level(LABEL, "LABEL", request.param))
    with serve(tmp_path) as server:
        yield server, "s3://bucket/slide/"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_a_tile_is_found_by_column_and_row(cli: Cli, slide: tuple[FaultServer, str]) -> None:
    server, address = slide
    where = ("--endpoint-url", server.endpoint_url)
    done = cli("preview", "tile", address, "--column", 3, "--row", 2, "-o", "a.png", *where)
    assert done.code == 0, done.err
    assert np.array_equal(pixels(cli.directory / "a.png"), LARGE[2 * SIZE : 3 * SIZE, 3 * SIZE : 4 * SIZE])
    done = cli("preview", "tile", address, "--column", 16, "--row", 0, "-o", "a.png", *where)
    assert (done.code, "16 columns and 11 rows" in done.err) == (2, True)


def test_a_tile_costs_a_few_small_requests(slide: tuple[FaultServer, str]) -> None:
    server, address = slide
    with dd.look(address, endpoint_url=server.endpoint_url) as view:
        assert [(each.kind, each.number, each.columns, each.rows) for each in view.levels()] == [
            ("VOLUME", 0, 16, 11), ("VOLUME", 1, 2, 2), ("LABEL", -1, 1, 1),
        ]  # fmt: skip
        requests, received = view.requests, view.received_bytes
        view.tile(15, 10)
        assert view.requests - requests <= 6
        assert view.received_bytes - received <= 100_000


def test_a_level_is_put_together(cli: Cli, slide: tuple[FaultServer, str]) -> None:
    server, address = slide
    where = ("--endpoint-url", server.endpoint_url)
    assert cli("preview", "slide", address, "-o", "a.png", *where).code == 0
    assert np.array_equal(pixels(cli.directory / "a.png"), SMALL)  # there is no thumbnail
    assert cli("preview", "slide", address, "--kind", "label", "-o", "b.png", *where).code == 0
    assert np.array_equal(pixels(cli.directory / "b.png"), LABEL)
    done = cli("preview", "slide", address, "--level", 0, "-o", "c.png", *where)
    assert (done.code, "176 tiles" in done.err) == (2, True)
    done = cli("preview", "slide", address, "--kind", "thumbnail", "-o", "c.png", *where)
    assert (done.code, "has no thumbnail. It has 0, 1, label." in done.err) == (2, True)
    listed = cli("preview", "slide", address, "--list", "--format", "json", *where).json
    assert [each["level"] for each in listed] == [0, 1, None]


def test_tiles_in_any_order_are_put_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "slide.dcm").write_bytes(level(SMALL, "VOLUME", "basic", sparse=True))
    with dd.look(tmp_path / "slide.dcm") as view:
        made = np.asarray(view.slide())
        expected = SMALL.copy()
        expected[:SIZE, :SIZE] = 255
        assert np.array_equal(made, expected)
        assert np.array_equal(np.asarray(view.tile(1, 0))[:, : 100 - SIZE], SMALL[:SIZE, SIZE:])
        with pytest.raises(dd.SelectionError, match="is empty"):
            view.tile(0, 0)


def test_what_is_no_slide_says_so(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(encoded(slice_of()))
    done = cli("preview", "slide", tmp_path / "a.dcm", "-o", "a.png")
    assert (done.code, "is no whole slide image" in done.err) == (2, True)


def test_a_slide_without_any_table_says_what_it_costs(cli: Cli, tmp_path: Path) -> None:
    huge = noise(1800, 1200, 4)
    (tmp_path / "a.dcm").write_bytes(level(huge, "VOLUME", "none"))
    arguments = ("preview", "tile", tmp_path / "a.dcm", "--column", 1, "--row", 1, "-o", "a.png")
    done = cli(*arguments)
    assert (done.code, "no table that says where its 551 frames are" in done.err) == (2, True)
    assert cli(*arguments, "--scan").code == 0
    assert np.array_equal(pixels(cli.directory / "a.png"), huge[SIZE : 2 * SIZE, SIZE : 2 * SIZE])


def test_a_published_slide_costs_the_header_of_the_level_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slide of eight levels, at the name of a real one, with the table of IDC that lists its levels."""
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    key, series, bucket = dd.query(
        "SELECT crdc_series_uuid, SeriesInstanceUID, aws_bucket FROM idc_index WHERE Modality = 'SM'"
        " ORDER BY series_size_MB, 1 LIMIT 1"
    ).iloc[0]
    directory = tmp_path / bucket / key
    directory.mkdir(parents=True)
    pictures = {f"{number:08}-0000-4000-8000-000000000000": noise(400 - 40 * number, 300, number)
                for number in range(8)}  # fmt: skip
    for name, array in pictures.items():
        (directory / f"{name}.dcm").write_bytes(level(array, "VOLUME", "tiff"))
    dd.fetch_index("sm_instance_index", from_file=indices.make(
        "sm_instance_index", tmp_path / "t.parquet",
        {
            "SeriesInstanceUID": [series] * len(pictures),
            "crdc_instance_uuid": list(pictures),
            "ImageType": [["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]] * len(pictures),
            "TotalPixelMatrixColumns": [array.shape[1] for array in pictures.values()],
            "TotalPixelMatrixRows": [array.shape[0] for array in pictures.values()],
            "instance_size": [(directory / f"{name}.dcm").stat().st_size for name in pictures],
        },
    ))  # fmt: skip
    with serve(tmp_path) as server, dd.look(series, endpoint_url=server.endpoint_url) as view:
        made = np.asarray(view.tile(1, 2, level=3))
        array = pictures["00000003-0000-4000-8000-000000000000"]
        assert np.array_equal(made, array[2 * SIZE : 3 * SIZE, SIZE : 2 * SIZE])
        assert view.requests <= 6
        assert view.received_bytes <= 100_000
        with pytest.raises(dd.SelectionError, match="has no level 8"):
            view.slide(8)
        assert len(view.levels()) == 8
    tables.look_again()
