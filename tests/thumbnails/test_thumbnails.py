"""Thumbnails of any tree: each frame as pydicom renders it, each other file a row, and the same after any kill."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000Lossless

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from dataset_dl.thumbnails.splits import Splits
from support.cli import PROGRAM, Cli
from support.dicoms import compressed, corpus, encoded, slice_of, write_series

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def rows(target: Path) -> list[dict[str, Any]]:
    """All rows of a database, without what depends on when it was made."""
    with closing(sqlite3.connect(target / "thumbnails.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT * FROM thumbnails ORDER BY path, frame")
        return [dict(row) for row in found]


def pictures(target: Path) -> dict[str, bytes]:
    root = target / "pictures"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def shown(target: Path, row: dict[str, Any]) -> np.ndarray:
    with Image.open(target / "pictures" / row["picture"]) as opened:
        return np.asarray(opened)


@pytest.fixture(scope="module")
def of_pydicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The thumbnails of pydicom's own test files, in their full size."""
    root = tmp_path_factory.mktemp("corpus")
    shutil.copytree(TEST_FILES, root / "files")
    done = subprocess.run(
        [PROGRAM, "thumbnails", root / "files", "-o", root / "made", "--size", "4096"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "could not be shown; the database has each with its cause" in done.stderr
    return root


def test_each_of_pydicoms_files_is_a_picture_or_a_row(of_pydicom: Path) -> None:
    made = rows(of_pydicom / "made")
    with_picture = {row["path"] for row in made if row["picture"]}
    assert len(with_picture) >= 87
    assert len(pictures(of_pydicom / "made")) == sum(bool(row["picture"]) for row in made)
    assert {row["cause"] for row in made} == {"", "no_pixels", "unreadable", "undecodable"}
    assert all(bool(row["picture"]) != bool(row["message"]) for row in made)
    # Whatever pydicom reads is there.
    names = {row["path"] for row in made}
    known = {str(path.relative_to(TEST_FILES)) for path in corpus() if path.is_relative_to(TEST_FILES)}
    assert {name for name in known if name.endswith(".dcm")} <= names


def rendered(array: np.ndarray, dataset: Dataset) -> np.ndarray:
    """A grey frame as pydicom renders it, in 8 bits."""
    values = apply_modality_lut(array, dataset)
    if dataset.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif dataset.get("WindowWidth"):
        # What the darkest and the brightest values become.
        low, high = apply_voi_lut(np.array([-1e9, 1e9]), dataset)
    else:
        low, high = np.percentile(values, (2, 98))
        low, high = (values.min(), values.max()) if high <= low else (low, high)
    shown = (apply_voi_lut(values, dataset).astype(float) - low) / max(high - low, 1e-9)
    grey = np.clip(shown, 0, 1) * 255
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def test_pictures_are_as_pydicom_renders_them(of_pydicom: Path) -> None:
    compared = 0
    for row in rows(of_pydicom / "made"):
        if not row["picture"]:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(of_pydicom / "files" / row["path"])
            try:
                array = pydicom.pixels.pixel_array(dataset, index=row["frame"])
            except Exception:
                continue  # pydicom lacks a decoder; tests/preview compare with others
            found = shown(of_pydicom / "made", row)
            if array.shape[:2] != found.shape[:2] or dataset.get("PixelPaddingValue") is not None:
                continue  # shown with square pixels; or padded, which pydicom's rendering ignores
            if array.ndim == 3:
                expected = array * (255 / (256.0**array.dtype.itemsize - 1))
                if dataset.get("ICCProfile") or array.max() <= 255 < 256**array.dtype.itemsize - 1:
                    continue
            elif dataset.PhotometricInterpretation == "PALETTE COLOR":
                continue
            else:
                expected = rendered(array, dataset)
        assert np.abs(found - expected).max() <= 1, row["path"]
        compared += 1
    assert compared >= 60


def broken_files() -> dict[str, bytes]:
    """What the field has seen."""
    good = encoded(slice_of())
    noise = np.random.default_rng(1).integers(0, 4000, (64, 64)).astype(np.uint16)
    packed = imagecodecs.jpeg2k_encode(noise, level=0, codecformat="j2k")
    j2k = slice_of(values=noise)
    bomb = bytearray(compressed(j2k, [packed], JPEG2000Lossless))
    at = bomb.index(b"\xff\x4f\xff\x51")
    bomb[at + 8 : at + 16] = b"\x7f\xff\xff\xff\x7f\xff\xff\xff"
    huge = slice_of()
    huge.Rows = huge.Columns = 65_000
    wrong_vr = good.replace(b"(\x00\x10\x00US", b"(\x00\x10\x00DS")
    assert wrong_vr != good
    return {
        "truncated": good[:-20],
        "cut in its header": good[:200],
        "a wrong VR": wrong_vr,
        "no preamble": good[132:],
        "a decompression bomb": bytes(bomb),
        "a huge frame": encoded(huge),
        "broken JPEG 2000": compressed(j2k, [packed[:100] + b"\0" * 50], JPEG2000Lossless),
        "a web page": b"<html>Sign in</html>",
        "empty": b"",
        "nothing but zeros": bytes(4096),
        "no pixels": good[: good.index(b"\xe0\x7f\x10\x00")],
    }


def test_what_is_broken_never_stops_the_run(cli: Cli, tmp_path: Path) -> None:
    files = broken_files()
    (tmp_path / "tree").mkdir()
    for name, data in files.items():
        (tmp_path / "tree" / f"{name}.dcm").write_bytes(data)
    (tmp_path / "tree" / "good.dcm").write_bytes(encoded(slice_of()))
    done = cli("thumbnails", tmp_path / "tree", "--json")
    assert done.code == 3
    assert done.json["files"] == len(files) + 1
    made = {row["path"].removesuffix(".dcm"): row for row in rows(tmp_path / "tree-thumbnails")}
    assert set(made) == {*files, "good"}
    assert {name for name, row in made.items() if row["picture"]} == {"good", "no preamble"}
    assert made["no pixels"]["cause"] == "no_pixels"
    assert made["broken JPEG 2000"]["cause"] == "undecodable"


def tree_of(root: Path, patients: int = 6) -> Path:
    for number in range(patients):
        slices = [
            slice_of((0, 0, float(place)), values=np.full((40, 30), 100 * place, np.int16),
                     PatientID=f"P{number}", SeriesInstanceUID=f"1.2.{number}", InstanceNumber=place)
            for place in range(4)
        ]  # fmt: skip
        several = slice_of(
            None, values=np.arange(3 * 20 * 10, dtype=np.int16).reshape(60, 10), PatientID=f"P{number}",
            SeriesInstanceUID=f"1.2.{number}", NumberOfFrames=3,
        )  # fmt: skip
        several.Rows = 20
        write_series(root / f"patient {number}", [*slices, several])
    (root / "patient 0" / "broken.dcm").write_bytes(encoded(slice_of())[:-9])
    (root / "notes.txt").write_text("not DICOM")
    return root


def test_every_frame_is_a_row_and_a_picture(cli: Cli, tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree")
    done = cli("thumbnails", tree, "-o", "made", "--size", 16, "--shape", "square")
    assert done.code == 3
    assert "42 pictures of 31 files" in done.out
    assert "all processes: read" in done.out
    made = rows(cli.directory / "made")
    of_several = [row for row in made if row["NumberOfFrames"] == 3]
    assert sorted(row["frame"] for row in of_several) == sorted([0, 1, 2] * 6)
    assert {(row["width"], row["height"]) for row in made if row["picture"]} == {(16, 16)}
    assert {shown(cli.directory / "made", row).shape for row in made if row["picture"]} == {(16, 16)}
    assert len({row["id"] for row in made if row["id"]}) == 42
    one = next(row for row in made if row["InstanceNumber"] == 2)
    assert (one["PatientID"], one["Modality"], one["Rows"], one["Columns"]) == (
        one["PatientID"],
        "CT",
        40,
        30,
    )
    assert one["ImagePositionPatient"] == "0.0\\0.0\\2.0"
    table = duckdb.sql(f"FROM '{cli.directory / 'made' / 'thumbnails.parquet'}'")
    assert table.count("id").fetchone() == (43,)


@pytest.mark.parametrize(("kind", "ending"), [("png", ".png"), ("webp", ".webp"), ("jpeg", ".jpg")])
def test_pictures_have_the_kind_that_was_asked_for(cli: Cli, tmp_path: Path, kind: str, ending: str) -> None:
    write_series(tmp_path / "tree", [slice_of(values=np.zeros((100, 50), np.int16))])
    assert cli("thumbnails", tmp_path / "tree", "-o", "made", "--size", 10, "--format", kind).code == 0
    (row,) = rows(cli.directory / "made")
    assert row["picture"].endswith(ending)
    assert shown(cli.directory / "made", row).shape[:2] == (10, 5)


def test_copies_of_an_object_have_pictures_of_their_own(cli: Cli, tmp_path: Path) -> None:
    data = encoded(slice_of())
    for name in ("a/x.dcm", "a/y.dcm", "b/x.dcm", "b/no ending"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    assert cli("thumbnails", tmp_path / "tree", "-o", "made").code == 0
    assert len(pictures(cli.directory / "made")) == 4


def test_a_second_run_writes_nothing_and_a_change_only_what_it_must(cli: Cli, tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree")
    arguments = ("thumbnails", tree, "-o", "made", "--json")
    assert cli(*arguments).code == 3
    made = cli.directory / "made"
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    again = cli(*arguments)
    assert (again.code, again.json["pictures"], again.json["known_files"]) == (3, 0, 31)
    assert (again.json["failures"], again.json["known_failures"]) == (0, 1)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before
    write_series(tree / "patient 9", [slice_of()])
    assert cli(*arguments).json["pictures"] == 1
    smaller = cli(*arguments, "--size", 8, "--format", "webp")
    assert smaller.json["pictures"] == 43
    assert {Path(name).suffix for name in pictures(made)} == {".webp"}


def test_killed_anywhere_and_run_again_it_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", patients=40)
    command = [PROGRAM, "thumbnails", tree, "--size", "24", "-o"]
    began = time.monotonic()
    subprocess.run([*command, tmp_path / "whole"], capture_output=True, check=False)
    lasts = time.monotonic() - began
    chance = random.Random(7)
    for number in range(20):
        child = subprocess.Popen(
            [*command, tmp_path / "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        time.sleep(chance.uniform(0.3, lasts))
        if number % 2:
            child.send_signal(signal.SIGKILL)
        else:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        # Its processes end with it, and then nobody has the database open.
        time.sleep(0.2)
        if number % 5 == 4:
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)
    subprocess.run([*command, tmp_path / "killed"], capture_output=True, check=False)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert pictures(tmp_path / "killed") == pictures(tmp_path / "whole")
    assert len(pictures(tmp_path / "whole")) == 40 * 7


def test_two_runs_at_once_are_one_too_many(cli: Cli, tmp_path: Path) -> None:
    from dataset_dl.thumbnails.database import Database

    write_series(tmp_path / "tree", [slice_of()])
    with Database(tmp_path / "made"):
        done = cli("thumbnails", tmp_path / "tree", "-o", tmp_path / "made")
    assert (done.code, "Another program writes thumbnails to" in done.err) == (5, True), done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "is not a directory"),
        (["."], "There is no DICOM file below"),
        ([".", "--size", "3"], "is not between 8 and 4096"),
        ([".", "--contrast", "nice"], "is no contrast"),
    ],
)
def test_wrong_requests_are_refused(cli: Cli, arguments: list[str], words: str) -> None:
    done = cli("thumbnails", *arguments)
    assert (done.code, words in done.err) == (2, True), done.err


def test_another_database_is_not_touched(cli: Cli, tmp_path: Path) -> None:
    write_series(tmp_path / "tree", [slice_of()])
    (tmp_path / "made").mkdir()
    with closing(sqlite3.connect(tmp_path / "made" / "thumbnails.sqlite")) as connection:
        connection.execute("CREATE TABLE mine (a)")
    done = cli("thumbnails", tmp_path / "tree", "-o", tmp_path / "made")
    assert (done.code, "it is a database of another program" in done.err) == (5, True), done.err


def test_a_draft_is_nearly_the_same(cli: Cli, tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint16)
    made = slice_of(values=ramp, WindowWidth=512, WindowCenter=256)
    data = compressed(made, [imagecodecs.jpeg2k_encode(ramp, level=0, codecformat="j2k")], JPEG2000Lossless)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.dcm").write_bytes(data)
    for name, more in (("exact", []), ("draft", ["--draft"])):
        assert cli("thumbnails", tmp_path / "tree", "-o", name, "--size", 64, *more).code == 0
    exact, draft = (
        shown(cli.directory / name, rows(cli.directory / name)[0]).astype(int) for name in ("exact", "draft")
    )
    assert exact.shape == draft.shape == (64, 64)
    assert np.abs(exact - draft).max() <= 3


def tile(kind: str, size: int, grey: int, tiles: int, uid: str = "1.2.9") -> bytes:
    values = np.full((32 * tiles, 32, 3), grey, np.uint8)
    made = slice_of(
        None, values=values, NumberOfFrames=tiles, SeriesInstanceUID=uid,
        ImageType=["ORIGINAL", "PRIMARY", kind, "NONE"],
    )  # fmt: skip
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    made.Rows = 32
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows = size, 32 * tiles // (size // 32)
    made.DimensionOrganizationType = "TILED_FULL"
    return encoded(made)


def test_a_slide_is_shown_by_its_thumbnail(cli: Cli, tmp_path: Path) -> None:
    for name, data in {
        "with/large.dcm": tile("VOLUME", 128, 10, 16),
        "with/thumb.dcm": tile("THUMBNAIL", 32, 20, 1),
        "with/label.dcm": tile("LABEL", 32, 30, 1),
        "without/large.dcm": tile("VOLUME", 128, 40, 16, "1.2.8"),
        "without/small.dcm": tile("VOLUME", 64, 50, 4, "1.2.8"),
    }.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    done = cli("thumbnails", tmp_path / "tree", "-o", "made")
    assert done.code == 0, done.err
    assert "slide_level: 3" in done.out
    made = {row["path"]: row for row in rows(cli.directory / "made")}
    assert {name for name, row in made.items() if row["picture"]} == {"with/thumb.dcm", "without/small.dcm"}
    small = shown(cli.directory / "made", made["without/small.dcm"])
    assert small.shape == (64, 64, 3)
    assert (small == 50).all()


def test_labels_come_and_go_as_a_table(cli: Cli, tmp_path: Path) -> None:
    assert cli("thumbnails", tree_of(tmp_path / "tree"), "-o", "made").code == 3
    assert cli("label", "set", "made", "1.2.3", "good, “quoted”").code == 0
    exported = cli("label", "export", "made", "--format", "csv")
    found = list(csv.DictReader(io.StringIO(exported.out)))
    assert len(found) == 7
    assert {row["label"] for row in found} == {"good, “quoted”"}
    changed = [{**row, "label": "bad" if number else ""} for number, row in enumerate(found)]
    with (cli.directory / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, changed[0].keys())
        writer.writeheader()
        writer.writerows(changed)
    assert cli("label", "import", "made", "labels.csv").code == 0
    again = cli("label", "export", "made", "--format", "json").json
    assert [row["label"] for row in again] == ["bad"] * 6
    # They stay when the pictures are made anew.
    assert cli("thumbnails", tmp_path / "tree", "-o", "made", "--size", 32, "--format", "jpeg").code == 3
    assert cli("label", "export", "made", "--format", "json").json == again
    table = duckdb.sql(f"SELECT count(label) FROM '{cli.directory / 'made' / 'thumbnails.parquet'}'")
    assert table.fetchone() == (6,)
    (cli.directory / "strange.csv").write_text("id,label\nnobody,x\n")
    done = cli("label", "import", "made", "strange.csv")
    assert (done.code, "There is no picture nobody; no label was set" in done.err) == (2, True)
    done = cli("label", "set", "made", "1.2.99", "x")
    assert (done.code, "has no picture of 1.2.99" in done.err) == (2, True)
    done = cli("label", "export", "nowhere")
    assert (done.code, "has no thumbnails" in done.err) == (2, True)


PARTS = st.lists(st.floats(0.05, 1), min_size=1, max_size=4).map(
    lambda several: {f"part {number}": each / sum(several) for number, each in enumerate(several)}
)


@given(PARTS, st.integers(), st.lists(st.tuples(st.text(max_size=5), st.text(max_size=8)), max_size=30))
def test_a_patient_is_in_one_part_whatever_else_there_is(
    parts: dict[str, float], seed: int, patients: list[tuple[str, str]]
) -> None:
    splits = Splits(parts, seed)
    first = {patient: splits.of(*patient, "1.2") for patient in patients}
    again = Splits.of_json(splits.to_json())
    assert all(again.of(*patient, "1.2") == first[patient] for patient in reversed(patients))
    assert set(first.values()) <= set(parts)


def test_parts_have_their_sizes() -> None:
    splits = Splits({"train": 0.7, "test": 0.3})
    found = [splits.of("c", str(number)) for number in range(5_000)]
    assert 0.67 < found.count("train") / len(found) < 0.73


def test_splits_hold_for_what_comes_later(cli: Cli, tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", patients=12)
    assert cli("thumbnails", tree, "-o", "made").code == 3
    done = cli("label", "split", "made", "train=0.5", "test=0.5", "--seed", 3)
    assert done.code == 0, done.err
    before = {row["PatientID"]: row["split"] for row in rows(cli.directory / "made") if row["PatientID"]}
    assert set(before.values()) == {"train", "test"}
    more = tree_of(tmp_path / "more", patients=30)
    shutil.copytree(more, tree / "more")
    assert cli("thumbnails", tree, "-o", "made").code == 3
    by_patient: dict[str, set[str]] = {}
    for row in rows(cli.directory / "made"):
        if row["PatientID"]:
            by_patient.setdefault(row["PatientID"], set()).add(row["split"])
    assert all(len(parts) == 1 for parts in by_patient.values())
    assert {name: {part} for name, part in before.items()}.items() <= by_patient.items()
    for wrong in (["train=0.5"], ["train=x"], ["a=-1", "b=2"]):
        assert cli("label", "split", "made", *wrong).code == 2


def test_thumbnails_are_made_while_a_download_runs(cli: Cli, bucket: LocalBucket) -> None:
    uuids = [each.crdc_series_uuid for each in bucket.series[:2]]
    arguments = ("idc", "download", *uuids, "--to", "data", "--endpoint-url", bucket.endpoint_url)
    done = cli(*arguments, "--then", "thumbnails:made?size=32", "--evict")
    assert done.code == 0, done.err
    made = rows(cli.directory / "made")
    assert len(made) == sum(each.expected_instances for each in bucket.series[:2])
    assert {row["collection_id"] for row in made} == {bucket.series[0].collection_id}
    assert f"{len(pictures(cli.directory / 'made')):,} thumbnails in {cli.directory / 'made'}." in done.out
    assert (cli.directory / "made" / "index.html").exists()
    before = pictures(cli.directory / "made")
    assert cli(*arguments, "--then", "thumbnails:made?size=32", "--evict").code == 0
    assert pictures(cli.directory / "made") == before
    wrong = cli("deliver", "data", "--to", "thumbnails:made?size=large")
    assert (wrong.code, "“large” is no number of pixels" in wrong.err) == (2, True), wrong.err


def test_without_the_extra_a_sentence_says_so(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "imagecodecs" else real(name, *more)
    )
    done = cli("thumbnails", tmp_path)
    assert (done.code, 'pip install "dataset-dl[thumbnails]"' in done.err) == (2, True), done.err


def test_the_summary_is_a_document(cli: Cli, tmp_path: Path) -> None:
    write_series(tmp_path / "tree", [slice_of()])
    found = json.loads(cli("thumbnails", tmp_path / "tree", "-o", "made", "--json").out)
    assert {"read", "decode", "draw", "write"} == set(found["seconds"])
    with pytest.raises(dd.SelectionError):
        Splits({"a": 0.5})


def test_names_that_are_no_text_are_rows_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / os.fsdecode(b"bad\xffname\n.dcm")).write_bytes(bytes(100))
    (tmp_path / "elsewhere.dcm").write_bytes(encoded(slice_of()))
    (tmp_path / "tree" / "link.dcm").symlink_to(tmp_path / "elsewhere.dcm")
    assert cli("thumbnails", tmp_path / "tree", "-o", "made").code == 3
    assert [row["cause"] for row in rows(cli.directory / "made")] == ["unreadable", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"id,label\n{id}\n", "Line 2 has no label"),
        (b"id,label\n{id},a\n{id},b\n", "a second time"),
        (b"id,label\n{id},caf\xe9\n", "is no CSV in UTF-8"),
        (b"name\nx\n", "has no columns id and label"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(cli: Cli, tmp_path: Path, text: bytes, words: str) -> None:
    write_series(tmp_path / "tree", [slice_of()])
    assert cli("thumbnails", tmp_path / "tree", "-o", "made").code == 0
    (row,) = rows(cli.directory / "made")
    (cli.directory / "labels.csv").write_bytes(text.replace(b"{id}", row["id"].encode()))
    done = cli("label", "import", "made", "labels.csv")
    assert (done.code, words in done.err) == (2, True), done.err
    assert cli("label", "split", "made", "a=0.5", "a=0.5").code == 2
    assert cli("label", "set", "made", "", "x").code == 2


def test_a_series_that_cannot_be_shown_is_not_removed(cli: Cli, bucket: LocalBucket) -> None:
    uuid = bucket.series[0].crdc_series_uuid
    assert cli("idc", "download", uuid, "--to", "data", "--endpoint-url", bucket.endpoint_url).code == 0
    files = sorted((cli.directory / "data").rglob("*.dcm"))
    files[0].write_bytes(bytes(files[0].stat().st_size))
    done = cli("deliver", "data", "--to", "thumbnails:made", "--evict")
    assert (done.code, "1 of its 81 frames or files could not be shown" in done.err) == (3, True), done.err
    assert len(list((cli.directory / "data").rglob("*.dcm"))) == 81
    assert len(rows(cli.directory / "made")) == 81
    # Receipts do not count when what they tell of is gone.
    for name in ("data", "data/.dataset-dl"):
        done = cli("deliver", "data", "--to", f"thumbnails:{name}")
        assert (done.code, "would write into the downloaded data" in done.err) == (2, True), done.err
