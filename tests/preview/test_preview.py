"""``dataset-dl preview`` and `dd.look`: on real stores, on a disk, and on what is damaged."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

import dataset_dl as dd
from dataset_dl.preview import index as indexing
from dataset_dl.preview.finding import Found
from dataset_dl.preview.index import _VERSION
from dataset_dl.preview.terminal import protocol_of, show
from dataset_dl.testing import LocalBucket
from support.cli import Cli
from support.dicoms import corpus, encoded, slice_of, write_series
from support.faults import FaultServer, serve


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))


def ramp(count: int, **elements: object) -> list[object]:
    """Slices in random order whose grey is their place."""
    made = [
        slice_of((0, 0, 2.0 * number), values=np.full((8, 8), 10 * number, np.int16), **elements)
        for number in range(count)
    ]
    return random.Random(3).sample(made, count)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_series(tmp_path / "series", ramp(12))


def test_slices_come_in_their_true_order(series: Path) -> None:
    with dd.look(series) as view:
        assert len(view) == 12
        assert view.positions == pytest.approx([2.0 * number for number in range(12)])
        assert [int(view.frame(number)[0, 0]) for number in (0, 5, -1)] == [0, 50, 110]
        assert [int(view.frame(place)[0, 0]) for place in (0.0, 0.5, 1.0)] == [0, 60, 110]


def test_a_mosaic_shows_what_it_should(cli: Cli, series: Path) -> None:
    done = cli(
        "preview", "mosaic", series, "-o", "a.png", "--columns", 3, "--rows", 2, "--contrast", "256/128"
    )
    assert (done.code, done.out) == (0, "")
    with Image.open(cli.directory / "a.png") as opened:
        made = np.asarray(opened)
    assert made.shape == (18, 28)
    greys = [int(made[4 + 10 * row, 4 + 10 * column]) for row in range(2) for column in range(3)]
    assert greys == sorted(greys)
    assert greys[0] == 0
    assert greys[-1] == pytest.approx(110, abs=1)


def test_a_series_of_idc_costs_a_request_a_slice_and_then_less(
    cli: Cli, server: FaultServer, filled: LocalBucket
) -> None:
    uid = filled.series[0].SeriesInstanceUID
    where = ("--endpoint-url", server.endpoint_url)
    assert cli("preview", "mosaic", uid, "-o", "a.png", "--columns", 4, "--rows", 3, *where).code == 0
    assert server.gets.total() == 81 + 12
    server.gets.clear()
    assert cli("preview", "mosaic", uid, "-o", "b.png", "--columns", 4, "--rows", 3, *where).code == 0
    assert server.gets.total() == 12  # its order is known
    lists = server.lists
    key = filled.series[0].crdc_series_uuid
    assert cli("preview", "image", key, "-o", "d.png", *where).code == 0
    assert server.lists == lists  # and so are its names
    server.gets.clear()
    assert (cli.directory / "a.png").read_bytes() == (cli.directory / "b.png").read_bytes()
    key = filled.series[1].crdc_series_uuid
    done = cli(
        "preview",
        "mosaic",
        key.replace("-", "")[:10],
        "-o",
        "c.webp",
        "--quick",
        "--columns",
        3,
        "--rows",
        3,
        *where,
    )
    assert done.code == 0
    assert server.gets.total() == 2 * 9


def test_a_collection_lists_its_series_to_choose_from(cli: Cli, bucket: LocalBucket) -> None:
    done = cli("preview", "mosaic", "qin_pet_phantom", "-o", "a.png")
    assert done.code == 2
    assert bucket.series[0].SeriesInstanceUID in done.err
    assert done.err.endswith("“qin_pet_phantom” is 44 series. Choose one of them.\n")
    done = cli("preview", "image", "1.2.3.4", "-o", "a.png")
    assert done.code == 2
    assert "1.2.3.4" in done.err


def test_requests_are_not_signed_and_that_is_said(cli: Cli, series: Path) -> None:
    done = cli("preview", "image", "s3://bucket/a/", "--sign", "-o", "a.png")
    assert (done.code, "does not sign" in done.err) == (2, True)
    assert cli("preview", "image", series, "--sign", "-o", "a.png").code == 0


def test_addresses_name_a_series_or_an_object(cli: Cli, server: FaultServer, filled: LocalBucket) -> None:
    directory = filled.series_directory(filled.series[0])
    where = ("--endpoint-url", server.endpoint_url)
    file = min(directory.iterdir())
    done = cli(
        "preview", "image", f"s3://idc-open-data/{directory.name}/*", "--slice", 3, "-o", "a.png", *where
    )
    assert (done.code, done.err[:5]) == (0, "a.png")
    for address in (
        f"s3://idc-open-data/{directory.name}/{file.name}",
        f"{server.endpoint_url}/idc-open-data/{directory.name}/{file.name}",
    ):
        done = cli("preview", "header", address, "--tag", "PatientID", "--format", "json", *where)
        assert done.json == [
            {"tag": "(0010,0020)", "VR": "LO", "keyword": "PatientID", "value": filled.series[0].PatientID}
        ]


@pytest.mark.parametrize("ending", ["parquet", "json", "csv"])
def test_headers_are_a_table(cli: Cli, series: Path, ending: str) -> None:
    assert cli("preview", "headers", series, "-o", f"a.{ending}").code == 0
    path = cli.directory / f"a.{ending}"
    reader = {"parquet": "read_parquet", "json": "read_json", "csv": "read_csv"}[ending]
    rows = duckdb.sql(
        f"SELECT \"Index\", PrimaryPosition, Rows, PatientID FROM {reader}('{path}') ORDER BY 1"
    ).fetchall()
    assert rows == [(number, 2.0 * number, 8, "P") for number in range(12)]


def test_private_elements_and_sequences_are_told_too(cli: Cli, tmp_path: Path) -> None:
    made = slice_of()
    made.add_new(0x00090010, "LO", "ACME")
    made.add_new(0x00091001, "OB", bytes(300_000))
    inner = slice_of()
    del inner.PixelData
    made.add_new(0x00081140, "SQ", [inner])
    write_series(tmp_path / "private", [made])
    done = cli("preview", "header", tmp_path / "private", "--format", "json")
    found = {each["tag"]: each["value"] for each in done.json}
    assert found["(0009,1001)"] == "300000 bytes"
    assert json.loads(found["(0008,1140)"])[0]["PatientID"] == "P"


def test_one_bad_slice_is_a_blank_tile(cli: Cli, series: Path) -> None:
    (victim, *_) = sorted(series.iterdir())
    victim.write_bytes(victim.read_bytes()[:-20])
    done = cli("preview", "mosaic", series, "-o", "a.png", "--columns", 4, "--rows", 3)
    assert done.code == 3
    assert f"{victim.name} ends in the middle of its pixel data." in done.err
    assert (cli.directory / "a.png").exists()
    victim.write_bytes(b"<html>Sign in</html>" * 100)
    done = cli("preview", "mosaic", series, "-o", "b.png")
    assert done.code == 3
    assert "is a text, like a web page" in done.err
    assert (cli.directory / "b.png").exists()


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [("html", 3, "like a web page"), ("404", 4, "does not exist"), ("cut", 4, "cannot be reached"), ("503 once", 0, "a.png")],
)  # fmt: skip
def test_a_store_that_misbehaves_is_told_of(
    cli: Cli, tmp_path: Path, fault: str, code: int, words: str
) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "x.dcm").write_bytes(encoded(slice_of()))
    with serve(tmp_path) as server:
        server.faults["x.dcm"] = fault
        done = cli("preview", "image", f"{server.endpoint_url}/bucket/x.dcm", "-o", "a.png")
    assert (done.code, words in done.err) == (code, True), done.err
    assert len(done.err.splitlines()) == 1
    assert (cli.directory / "a.png").exists() == (code == 0)


def with_raw(keyword: str, value: bytes) -> bytes:
    """A file with a value that pydicom would not write."""
    made = slice_of()
    setattr(made, keyword, "7" * len(value))
    data = encoded(made)
    return data.replace(b"7" * len(value), value)


def nested(depth: int) -> bytes:
    """A file with sequences in sequences, which pydicom would not write so deep."""
    whole = encoded(slice_of())
    at = whole.index(b"\x10\x00\x20\x00LO")  # before PatientID
    opened = b"\x08\x00\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    deep = b"\x10\x00\x00\x40LT\x04\x00deep"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return whole[:at] + opened * depth + deep + closed * depth + whole[at:]


def inflating(size_bytes: int) -> bytes:
    made = slice_of()
    del made.PixelData
    encoded(made)
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True, implicit_vr=False, little_endian=True)
    head = out.getvalue()
    head = head[: 144 + int.from_bytes(head[140:144], "little")]
    packing = zlib.compressobj(9, wbits=-15)
    body = packing.compress(b"\x09\x00\x01\x10OB\0\0" + size_bytes.to_bytes(4, "little"))
    body += b"".join(packing.compress(bytes(1 << 20)) for _ in range(size_bytes >> 20))
    return head + body + packing.flush()


DAMAGED = {
    "a billion frames": (lambda: encoded(slice_of(NumberOfFrames=10**9)), 3, "less pixel data than its header says"),
    "frames in words": (lambda: with_raw("NumberOfFrames", b"abc "), 3, "no valid NumberOfFrames"),
    "a palette that is missing": (
        lambda: encoded(slice_of(PhotometricInterpretation="PALETTE COLOR")), 3, "cannot be shown: No suitable Palette",
    ),
    "no number": (lambda: encoded(slice_of(RescaleSlope="nan", RescaleIntercept=0)), 3, "no values that are numbers"),
    "too much when inflated": (lambda: inflating(400 << 20), 3, "when it is inflated"),
    "sequences without end": (lambda: nested(3000), 3, "nested too deeply"),
    "a position that is no number": (lambda: with_raw("SliceLocation", b"nan "), 0, "a.png"),
    "a window that cannot be meant": (lambda: encoded(slice_of(WindowWidth=-400, WindowCenter=500)), 0, "a.png"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.filterwarnings("ignore")  # pydicom's, while the file is made
def test_what_is_damaged_is_told_in_a_sentence(cli: Cli, tmp_path: Path, kind: str) -> None:
    make, code, words = DAMAGED[kind]
    (tmp_path / "x.dcm").write_bytes(make())
    done = cli.process("preview", "image", tmp_path / "x.dcm", "-o", "a.png")
    assert (done.code, words in done.err) == (code, True), done.err
    assert len(done.err.splitlines()) == 1
    assert [each.name for each in cli.directory.glob("*a.*")] == (["a.png"] if code == 0 else [])


def test_a_position_that_is_no_number_does_not_end_the_series(series: Path) -> None:
    (victim, *_) = sorted(series.iterdir())
    data = victim.read_bytes()
    at = data.index(b"\x20\x00\x32\x00DS") + 8
    victim.write_bytes(data[:at] + b"nan" + data[at + 3 :])
    with dd.look(series) as view:
        assert sorted(map(str, view.positions)).count("None") == 1
        assert len(view) == 12


def test_one_value_that_is_no_number_does_not_blacken_the_rest(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0], values[0, 1] = np.nan, np.inf
    made = slice_of(values=values)
    made.FloatPixelData = values.tobytes()
    del made.PixelData, made.PixelRepresentation, made.BitsStored, made.HighBit
    (tmp_path / "x.dcm").write_bytes(encoded(made))
    with dd.look(tmp_path / "x.dcm") as view:
        shown = np.asarray(view.image())
    assert (shown[0, 0], shown[0, 1]) == (0, 255)
    assert len(np.unique(shown)) > 50


def test_deep_sequences_are_told_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(nested(50))
    done = cli("preview", "header", tmp_path / "x.dcm", "--tag", "0008,1140", "--format", "json")
    found = json.loads(done.json[0]["value"])
    for _ in range(49):
        found = found[0]["ReferencedImageSequence"]
    assert found == [{"PatientComments": "deep"}]


@pytest.mark.parametrize("ending", ["png", "parquet", "csv", "webp"])
def test_a_file_that_cannot_be_written_is_told(cli: Cli, series: Path, ending: str) -> None:
    kind = {"png": "image", "webp": "video"}.get(ending, "headers")
    done = cli("preview", kind, series, "-o", f"nowhere/a.{ending}")
    assert (done.code, "cannot be written" in done.err) == (5, True), done.err


def test_names_may_be_long_strange_or_taken(cli: Cli, tmp_path: Path) -> None:
    strange = os.fsdecode(b"bad\xff\xfe.dcm")
    (tmp_path / strange).write_bytes(encoded(slice_of()))
    (cli.directory / ".a.png.part").write_text("mine")
    assert cli("preview", "headers", tmp_path / strange, "-o", "a.csv").code == 0
    assert cli("preview", "image", tmp_path / strange, "-o", "a.png").code == 0
    assert cli("preview", "image", tmp_path / strange, "-o", f"{'a' * 246}.png").code == 0
    assert (cli.directory / ".a.png.part").read_text() == "mine"
    assert len(list(cli.directory.glob(".*.part"))) == 1


def test_a_single_image_type_is_one(tmp_path: Path) -> None:
    write_series(tmp_path / "one", [slice_of(ImageType="ORIGINAL")])
    with dd.look(tmp_path / "one") as view:
        assert view.index.instances[0].ImageType == "ORIGINAL"


def test_a_small_object_without_a_table_is_read_whole(cli: Cli) -> None:
    (path,) = (each for each in corpus() if each.name == "emri_small_jpeg_2k_lossless.dcm")
    assert cli("preview", "mosaic", path, "-o", "a.png").code == 0


def test_a_network_that_fails_later_is_told_as_such(
    cli: Cli, server: FaultServer, filled: LocalBucket
) -> None:
    """Its order is known, so the first request that fails is one for a slice."""
    arguments = (
        "preview",
        "mosaic",
        filled.series[0].crdc_series_uuid,
        "-o",
        "a.png",
        "--columns",
        2,
        "--rows",
        1,
    )
    assert cli(*arguments, "--endpoint-url", server.endpoint_url).code == 0
    (cli.directory / "a.png").unlink()
    server.faults[""] = "403"
    done = cli(*arguments, "--endpoint-url", server.endpoint_url)
    assert (done.code, "without signing in" in done.err) == (4, True), done.err
    assert not (cli.directory / "a.png").exists()


def test_nothing_is_written_if_nothing_can_be_shown(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(encoded(slice_of())[:-10])
    done = cli("preview", "mosaic", tmp_path / "x.dcm", "-o", "a.png")
    assert (done.code, done.err) == (3, "dataset-dl: x.dcm ends in the middle of its pixel data.\n")
    assert not (cli.directory / "a.png").exists()


def test_what_is_mixed_is_said_and_can_be_chosen(cli: Cli, tmp_path: Path) -> None:
    scout = [slice_of((5.0 * number, 0, 0), (0, 1, 0, 0, 0, -1)) for number in range(2)]
    mixed = write_series(tmp_path / "mixed", [*ramp(5), *scout])
    done = cli("preview", "image", mixed, "-o", "a.png")
    assert done.code == 0
    assert "Mixed: slices of 2 orientations or sizes (5 and 2). --group chooses" in done.err
    with dd.look(mixed, group=1) as view:
        assert len(view) == 2
    done = cli("preview", "image", mixed, "-o", "a.png", "--group", 2)
    assert (done.code, "There is no group 2; the last one is 1." in done.err) == (2, True)


def test_several_frames_in_one_object_are_shown_one_by_one(tmp_path: Path) -> None:
    values = np.repeat(np.arange(6, dtype=np.int16), 64).reshape(48, 8)
    made = slice_of(values=values, NumberOfFrames=6)
    made.Rows = 8
    write_series(tmp_path / "multi", [made])
    with dd.look(tmp_path / "multi") as view:
        assert [int(view.frame(number)[0, 0]) for number in range(6)] == list(range(6))
        assert view.mosaic(3, 2).size == (28, 18)


def test_frames_of_one_object_come_in_their_true_order(tmp_path: Path, filled: LocalBucket) -> None:
    """Three echoes at four positions each, stored in any order."""
    places = [(float(position), echo) for position in range(4) for echo in (10.0, 20.0, 30.0)]
    random.Random(5).shuffle(places)
    values = np.repeat(np.array([10 * place + echo for place, echo in places], np.int16), 64).reshape(96, 8)
    made = slice_of(None, values=values, NumberOfFrames=12)
    made.Rows = 8
    orientation, shared = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PlaneOrientationSequence = [orientation]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for place, echo in places:
        position, echoes, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, place]
        echoes.EffectiveEchoTime = echo
        group.PlanePositionSequence, group.MREchoSequence = [position], [echoes]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    write_series(tmp_path / "enhanced", [made])
    with dd.look(tmp_path / "enhanced") as view:
        shown = [int(view.frame(number)[0, 0]) for number in range(12)]
        echoes = [shown[first : first + 4] for first in (0, 4, 8)]
        assert sorted(echoes) == [[echo + 10 * place for place in range(4)] for echo in (10, 20, 30)]
        found = Found("x", lambda: (), filled.series[0].crdc_series_uuid, "idc-open-data", "http://x/")
        indexing.keep(view.index, found)
        kept = indexing.load(found)
        assert kept is not None
        assert kept.instances[0].FrameOrder == view.index.instances[0].FrameOrder != ()


def test_several_frames_cost_one_header(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    values = np.random.default_rng(1).integers(0, 255, (50 * 128, 128), dtype=np.uint8)
    made = slice_of(values=values, NumberOfFrames=50)
    made.Rows = 128
    (tmp_path / "bucket" / "x.dcm").write_bytes(encoded(made))
    with serve(tmp_path) as own, dd.look(f"{own.endpoint_url}/bucket/x.dcm") as view:
        view.mosaic(5, 4)
        assert own.gets.total() == 1 + 1 + 20  # the index, the object, its frames
        assert view.received_bytes <= 2 * (16 << 10) + 20 * 128 * 128 + 100


def test_a_series_without_pixels_says_so(cli: Cli, tmp_path: Path) -> None:
    made = slice_of()
    del made.PixelData
    write_series(tmp_path / "report", [made])
    done = cli("preview", "image", tmp_path / "report", "-o", "a.png")
    assert (done.code, "has no pixel data" in done.err) == (3, True)
    assert cli("preview", "header", tmp_path / "report", "--tag", "PatientID").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "a.bmp"], "none of the endings"),
        (["-o", "a.png", "--contrast", "nonsense"], "is no contrast"),
        (["-o", "a.png", "--position", "1.5"], "between 0.0 and 1.0"),
        (["-o", "a.png", "--slice", "12"], "from 0 to 11"),
        (["-o", "a.png", "--slice", "1", "--offset", "-2"], "leads out of the series"),
        (["-o", "a.png", "--slice", "-1", "--offset", "1"], "from 0 to 11"),
        (["-o", "a.png", "--slice", "1", "--position", "0.5"], "exclude each other"),
    ],
)
def test_wrong_requests_are_refused_in_a_sentence(
    cli: Cli, series: Path, arguments: list[str], words: str
) -> None:
    done = cli("preview", "image", series, *arguments)
    assert (done.code, words in done.err) == (2, True), done.err
    assert not list(cli.directory.glob("a.*"))


def test_an_offset_goes_further(cli: Cli, series: Path) -> None:
    for arguments, number in ((["--position", 0.5, "--offset", -2], 4), (["--slice", 3, "--offset", 4], 7)):
        done = cli(
            "preview", "header", series, *arguments, "--tag", "ImagePositionPatient", "--format", "json"
        )
        assert done.json[0]["value"] == f"0.0\\0.0\\{2.0 * number}"


def test_a_header_is_that_of_the_frame_at_the_place(cli: Cli, tmp_path: Path) -> None:
    write_series(
        tmp_path / "cines",
        [slice_of(None, values=np.zeros((3, 8, 8), np.int16), NumberOfFrames=3, InstanceNumber=number)
         for number in (1, 2)],
    )  # fmt: skip
    for arguments, number in (
        (["--slice", 2], 1), (["--slice", 3], 2), (["--slice", 2, "--offset", 2], 2), (["--slice", -1], 2),
    ):  # fmt: skip
        done = cli(
            "preview", "header", tmp_path / "cines", *arguments, "--tag", "InstanceNumber", "--format", "json"
        )
        assert done.code == 0, done.err
        assert done.json[0]["value"] == number, arguments


def test_a_folder_of_folders_names_them(cli: Cli, series: Path) -> None:
    done = cli("preview", "image", series.parent, "-o", "a.png")
    assert (done.code, f"Name one of {series}" in done.err) == (2, True), done.err
    (series / "notes.txt").write_text("no DICOM")
    assert cli("preview", "image", series, "-o", "a.png").code == 0


def test_contrasts_stand_side_by_side(cli: Cli, series: Path) -> None:
    done = cli("preview", "contrast", series, "-o", "a.jpg", "--contrast", "lung", "--contrast", "100/50")
    assert done.code == 0
    with Image.open(cli.directory / "a.jpg") as made:
        assert made.size == (18, 8)


def test_pixels_that_are_not_square_are_shown_square(tmp_path: Path) -> None:
    write_series(tmp_path / "flat", [slice_of(PixelSpacing=[2.0, 1.0])])
    with dd.look(tmp_path / "flat") as view:
        assert view.image().size == (8, 16)


def test_a_notebook_shows_the_view_itself(series: Path) -> None:
    with dd.look(series) as view:
        data = view._repr_png_()
        assert "12 instances" in view._repr_html_()
    assert Image.open(io.BytesIO(data)).format == "PNG"


def test_an_extra_that_is_missing_is_named(cli: Cli, series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name == "dataset_dl.preview.view" or name == "dataset_dl.pixels.pictures":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(dd.MissingExtra, match=r"needs Pillow.*dataset-dl\[preview\]"):
        dd.look(series)
    for kind, name in (("image", "a.png"), ("video", "a.webp"), ("headers", "a.csv")):
        done = cli("preview", kind, series, "-o", name)
        assert (done.code, "needs Pillow" in done.err) == (2, True), done.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "protocol", "begin"),
    [
        ({"TERM": "xterm-kitty"}, "kitty", "\x1b_Ga=T,f=100"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm", "\x1b]1337;File=inline=1"),
        ({"TERM": "foot"}, "sixel", "\x1bPq"),
        ({"TERM": "xterm-kitty", "TMUX": "1"}, "blocks", "\x1b[38;2;"),
        ({}, "blocks", "\x1b[38;2;"),
    ],
)
def test_a_terminal_is_spoken_to_in_its_own_way(
    environment: dict[str, str], protocol: str, begin: str
) -> None:
    assert protocol_of(environment) == protocol
    out = Terminal()
    show(Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)), out, environment)
    assert out.getvalue().startswith(begin)


def test_blocks_show_two_pixels_a_character(cli: Cli, series: Path) -> None:
    done = cli("preview", "image", series, "--slice", 11, "--contrast", "256/128")
    assert done.code == 0
    lines = done.out.rstrip("\n").splitlines()
    assert [line.count("▀") for line in lines] == [8] * 4


@pytest.fixture
def damaged_cache(tmp_path: Path, server: FaultServer, filled: LocalBucket) -> Iterator[Path]:
    folder = tmp_path / "cache" / "slices"
    folder.mkdir(parents=True)
    (folder / f"{filled.series[0].crdc_series_uuid}.{_VERSION}.parquet").write_bytes(b"nonsense")
    yield folder


def test_a_damaged_index_is_built_again(
    damaged_cache: Path, cli: Cli, server: FaultServer, filled: LocalBucket
) -> None:
    done = cli(
        "preview",
        "image",
        filled.series[0].SeriesInstanceUID,
        "-o",
        "a.png",
        "--endpoint-url",
        server.endpoint_url,
    )
    assert done.code == 0
    assert next(damaged_cache.iterdir()).stat().st_size > 100


@pytest.mark.parametrize("ending", ["webp", "gif", "png"])
def test_a_video_has_the_frames_that_were_asked_for(cli: Cli, series: Path, ending: str) -> None:
    done = cli(
        "preview", "video", series, "-o", f"a.{ending}", "--contrast", "256/128", "--begin", "0.4", "--fps", 5
    )
    assert (done.code, "8 frames" in done.err) == (0, True), done.err
    with Image.open(cli.directory / f"a.{ending}") as made:
        assert made.n_frames == 8
        greys = []
        for number in range(made.n_frames):
            made.seek(number)
            greys.append(int(np.asarray(made.convert("L"))[4, 4]))
            assert made.info["duration"] == 200
    assert greys == pytest.approx([10 * number for number in range(4, 12)], abs=2)


@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_a_video_by_ffmpeg_has_them_too(cli: Cli, series: Path, ending: str) -> None:
    assert cli("preview", "video", series, "-o", f"a.{ending}", "--contrast", "256/128").code == 0
    told = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", cli.directory / f"a.{ending}", "-f", "rawvideo", "-pix_fmt", "gray", "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    frames = np.frombuffer(told.stdout, np.uint8).reshape(-1, 8, 8)
    assert frames[:, 4, 4].tolist() == pytest.approx([10 * number for number in range(12)], abs=6)


def test_ffmpeg_that_is_missing_is_said_before_anything_is_fetched(
    cli: Cli, server: FaultServer, filled: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    done = cli(
        "preview",
        "video",
        filled.series[0].SeriesInstanceUID,
        "-o",
        "a.mp4",
        "--endpoint-url",
        server.endpoint_url,
    )
    assert (done.code, server.gets.total()) == (2, 0)
    assert "nothing was fetched" in done.err
