"""Single frames, read by ranges: each is what pydicom makes of the whole file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless

from dataset_dl.pixels import codecs
from dataset_dl.pixels.decoding import decode, keyword_of
from dataset_dl.pixels.frames import CostlyScan, Frames
from dataset_dl.pixels.headers import parse_header, read_header
from dataset_dl.pixels.unreadable import Unreadable
from support.dicoms import compressed, corpus, encoded, quietly_read, slice_of

# What pydicom cannot decode either, or only decodes with a warning that pixels are missing.
NOT_DECODABLE = {
    "JPEG2000-embedded-sequence-delimiter.dcm", "MR_truncated.dcm", "badVR.dcm", "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
}  # fmt: skip
# The whole data set is compressed, so there is no range of it to read.
DEFLATED = {"image_dfl.dcm"}
WITH_PIXELS = [
    path
    for path in corpus()
    if {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(quietly_read(path.read_bytes()).dir())
]


class Ranged:
    """An object of which single ranges are read."""

    def __init__(self, data: bytes, first_bytes: int = 1024) -> None:
        self.data = data
        self.read_bytes = 0
        self.header = read_header(lambda begin, end: (data[begin:end], len(data)), first_bytes=first_bytes)
        self.frames = Frames(self.header, self.read)

    def read(self, begin: int, end: int) -> bytes:
        self.read_bytes += end - begin
        return self.data[begin:end]

    def frame(self, number: int) -> np.ndarray:
        try:
            data = self.frames.read(number)
        except CostlyScan:
            self.frames.scan()
            data = self.frames.read(number)
        return decode(
            self.header, data, is_encapsulated=self.frames.is_encapsulated, vr=self.frames.vr,
            keyword=keyword_of(self.header),
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", WITH_PIXELS, ids=lambda path: path.name)
def test_every_frame_is_that_of_pydicom(path: Path) -> None:
    data = path.read_bytes()
    if path.name in NOT_DECODABLE | DEFLATED:
        with pytest.raises(Unreadable):
            Ranged(data).frame(0)
        return
    ranged = Ranged(data)
    mine = np.stack([ranged.frame(number) for number in range(ranged.frames.count)])
    theirs = pixel_array(quietly_read(data))
    assert (mine if ranged.frames.count > 1 else mine[0]).shape == theirs.shape
    assert np.array_equal(mine.reshape(theirs.shape), theirs)


def test_our_decoder_decodes_what_it_is_for() -> None:
    """Otherwise pydicom would quietly take a slower one."""
    codecs.register()
    for path in WITH_PIXELS:
        whole = quietly_read(path.read_bytes())
        syntax = whole.file_meta.get("TransferSyntaxUID")
        if path.name in NOT_DECODABLE or syntax not in codecs.SYNTAXES:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = pixel_array(whole, decoding_plugin=codecs.LABEL)
        assert ours.size > 0


def multiframe(count: int = 20, *, table: str) -> tuple[bytes, list[np.ndarray]]:
    import imagecodecs

    arrays = [np.full((16, 16), number, np.uint8) for number in range(count)]
    packed = [imagecodecs.jpegls_encode(each) for each in arrays]
    made = slice_of(values=arrays[0], NumberOfFrames=count)
    return compressed(made, packed, JPEGLSLossless, table), arrays


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_a_frame_is_found_by_each_kind_of_table(table: str) -> None:
    data, arrays = multiframe(table=table)
    ranged = Ranged(data, 512)
    if table == "none":
        with pytest.raises(CostlyScan):
            ranged.frames.read(7)
    for number in (19, 0, 7):
        assert np.array_equal(ranged.frame(number), arrays[number])
    with pytest.raises(IndexError):
        ranged.frames.read(20)


def test_one_frame_costs_one_frame() -> None:
    values = np.arange(100 * 64 * 64, dtype=np.uint16).reshape(100 * 64, 64)
    made = slice_of(values=values, NumberOfFrames=100)
    made.Rows = 64
    ranged = Ranged(encoded(made))
    assert np.array_equal(ranged.frame(41), values[41 * 64 : 42 * 64])
    assert ranged.read_bytes <= 64 * 64 * 2 + 12


def test_a_bomb_is_not_decoded() -> None:
    made = slice_of(Rows=60_000, Columns=60_000)
    data = encoded(made)
    header = parse_header(data, len(data))
    with pytest.raises(Unreadable, match="not shown"):
        decode(header, b"", is_encapsulated=True)


@pytest.mark.parametrize("kind", ["jpeg2k", "jpegls", "jpeg", "ljpeg"])
def test_an_image_that_claims_more_than_its_header_is_not_decoded(kind: str) -> None:
    """Otherwise a few bytes would take all memory."""
    import imagecodecs

    syntax = {
        "jpeg2k": JPEG2000Lossless, "jpegls": JPEGLSLossless, "jpeg": JPEGBaseline8Bit, "ljpeg": JPEGLosslessSV1,
    }[kind]  # fmt: skip
    pixels = np.zeros((16, 16), np.uint8)
    options = {"jpeg2k": {"level": 0, "codecformat": "j2k"}, "jpeg": {"level": 90}}.get(kind, {})
    packed = bytearray(getattr(imagecodecs, f"{kind}_encode")(pixels, **options))
    assert codecs._claimed(bytes(packed)) == (16, 16)
    if kind == "jpeg2k":
        at = packed.index(b"\xff\x4f\xff\x51") + 8
        packed[at : at + 8] = (60_000).to_bytes(4) * 2
    else:
        at = next(
            place
            for place in range(len(packed))
            if packed[place] == 0xFF and packed[place + 1] in codecs._JPEG_FRAMES
        )
        packed[at + 5 : at + 9] = (60_000).to_bytes(2) * 2
    data = compressed(slice_of(values=pixels), [bytes(packed)], syntax)
    with pytest.raises(Unreadable, match="60000 rows"):
        Ranged(data).frame(0)


def test_an_object_that_is_cut_says_so() -> None:
    data = encoded(slice_of())[:-10]
    with pytest.raises(Unreadable, match="ends in the middle of its pixel data"):
        Ranged(data)


def test_an_object_without_pixels_says_so() -> None:
    made = slice_of()
    del made.PixelData
    with pytest.raises(Unreadable, match="no pixel data"):
        Ranged(encoded(made))
