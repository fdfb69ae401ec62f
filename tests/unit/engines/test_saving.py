"""How objects become files: whole or not at all, and large ones piece by piece across runs."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.engines.curl import large as of_pieces
from dataset_dl.engines.curl.large import Large
from dataset_dl.engines.curl.saving import Differs, Excess, Small, Whole
from dataset_dl.engines.leftovers import is_begun, is_resumable

ETAG = "0123456789abcdef0123456789abcdef"
BOOT = "1700000000"


def names(directory: str | Path) -> list[str]:
    return sorted(each.name for each in Path(directory).iterdir())


def chunks_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("kind", [Small, Whole])
@pytest.mark.parametrize("length", [1, 1000, 3 << 20])
def test_what_comes_is_in_the_file(kind: type[Small | Whole], length: int, tmp_path: Path) -> None:
    data = random.Random(length).randbytes(length)
    sink = kind(str(tmp_path / "x.dcm"), length, hashed=True)
    for chunk in chunks_of(data, 16_000):
        sink.take(chunk)
    assert not (tmp_path / "x.dcm").exists()
    assert sink.save(hashlib.md5(data).hexdigest())
    assert (tmp_path / "x.dcm").read_bytes() == data
    assert names(tmp_path) == ["x.dcm"]


def test_a_small_object_may_be_empty_or_of_unknown_size(tmp_path: Path) -> None:
    Small(str(tmp_path / "a.dcm"), 0, hashed=False).save()
    assert (tmp_path / "a.dcm").read_bytes() == b""
    sink = Small(str(tmp_path / "b.dcm"), None, hashed=True)
    data = bytes(range(256)) * 10_000
    for chunk in chunks_of(data, 300_000):
        sink.take(chunk)
    assert sink.save(hashlib.md5(data).hexdigest())
    assert (tmp_path / "b.dcm").read_bytes() == data


@pytest.mark.parametrize("kind", [Small, Whole])
def test_more_than_was_listed_is_refused(kind: type[Small | Whole], tmp_path: Path) -> None:
    sink = kind(str(tmp_path / "x.dcm"), 3, hashed=False)
    with pytest.raises(Excess):
        sink.take(b"1234")
    sink.drop()
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", [Small, Whole])
def test_what_is_dropped_leaves_nothing(kind: type[Small | Whole], tmp_path: Path) -> None:
    sink = kind(str(tmp_path / "x.dcm"), 2 << 20, hashed=True)
    sink.take(bytes(1 << 20))
    sink.drop()
    assert names(tmp_path) == []
    for chunk in (b"a" * (1 << 20), b"b" * (1 << 20)):
        sink.take(chunk)
    assert sink.save(hashlib.md5(b"a" * (1 << 20) + b"b" * (1 << 20)).hexdigest())


@given(size=st.integers(1, 40), runs=st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=3))
def test_a_large_object_is_complete_after_any_interruptions(size: int, runs: list[list[int]]) -> None:
    """Each run fetches some of the missing pieces, in any order, and is interrupted; the last one fetches the rest."""
    content = random.Random(size).randbytes(size)
    etag = hashlib.md5(content).hexdigest()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(of_pieces, "PIECE_BYTES", 8)
        path = Path(directory) / "x.dcm"
        for number, order in enumerate([*runs, range(5)]):
            large = Large(str(path), size, etag, hashed=True, boot=BOOT, token=f"{number // 2}")
            missing = list(large.missing())
            is_over = not missing
            for begin, end in dict.fromkeys(missing[place] for place in order if place < len(missing)):
                for at in range(begin, end, 3):
                    large.write(at, [content[at : min(at + 3, end)]])
                is_over = large.finish((begin, end))
            if is_over:
                break
            large.close()
            assert not path.exists()
            assert all(is_resumable(name) for name in names(directory))
        assert large.save()
        assert path.read_bytes() == content
        assert names(directory) == ["x.dcm"]


def test_nothing_is_written_once_it_is_closed(tmp_path: Path) -> None:
    """Other pieces of it may still be arriving, and its descriptors belong to other files by then."""
    large = Large(str(tmp_path / "x.dcm"), 100, ETAG, hashed=False, boot=BOOT)
    large.close()
    with (tmp_path / "a").open("wb"), (tmp_path / "b").open("wb"):
        with pytest.raises(OSError, match="Bad file descriptor"):
            large.write(0, [b"x"])
        with pytest.raises(OSError, match="Bad file descriptor"):
            large.finish((0, 100))
        large.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b""


def test_a_run_that_was_replaced_cannot_name_what_the_other_one_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen run wakes up after its successor has taken its pieces over."""
    monkeypatch.setattr(of_pieces, "PIECE_BYTES", 4)
    path, data = tmp_path / "x.dcm", b"abcdefghij"
    frozen = Large(str(path), 10, ETAG, hashed=False, boot=BOOT, token="a")
    frozen.write(0, [data[:4]])
    frozen.finish((0, 4))
    successor = Large(str(path), 10, ETAG, hashed=False, boot=BOOT, token="b")
    assert list(successor.missing()) == [(4, 8), (8, 10)]
    for begin, end in ((4, 8), (8, 10)):
        frozen.write(begin, [data[begin:end]])
        frozen.finish((begin, end))
    with pytest.raises(FileNotFoundError):
        frozen.save()
    assert not path.exists()
    successor.write(4, [data[4:8]])
    assert not successor.finish((4, 8))
    successor.write(8, [data[8:]])
    assert successor.finish((8, 10))
    successor.save()
    assert path.read_bytes() == data
    assert names(tmp_path) == ["x.dcm"]


@pytest.mark.parametrize("kind", [Small, Whole])
def test_two_runs_never_write_to_the_same_unfinished_file(kind: type[Small | Whole], tmp_path: Path) -> None:
    one, other = (kind(str(tmp_path / "x.dcm"), 1 << 20, hashed=False, token=token) for token in "ab")
    one.take(bytes(1 << 19))
    other.take(bytes(1 << 20))
    other.save()
    one.drop()
    assert (tmp_path / "x.dcm").stat().st_size == 1 << 20


@pytest.mark.parametrize("other", ["etag", "boot", "size", "truncated", "garbage"])
def test_pieces_of_anything_else_are_not_used(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_pieces, "PIECE_BYTES", 4)
    path = str(tmp_path / "x.dcm")
    first = Large(path, 10, ETAG, hashed=False, boot=BOOT)
    first.write(0, [b"abcd"])
    first.finish((0, 4))
    first.close()
    (pieces,) = tmp_path.glob("*.pieces")
    (partial,) = tmp_path.glob("*.large")
    if other == "truncated":
        os.truncate(partial, 7)
    if other == "garbage":
        pieces.write_bytes(b"\xff nonsense\n")
    again = Large(
        path,
        12 if other == "size" else 10,
        "f" * 32 if other == "etag" else ETAG,
        hashed=False,
        boot="later" if other == "boot" else BOOT,
    )
    assert next(again.missing()) == (0, 4)
    again.close()
    assert len(list(tmp_path.iterdir())) == 2  # nothing of the first is left


def test_a_line_that_was_not_finished_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_pieces, "PIECE_BYTES", 4)
    first = Large(str(tmp_path / "x.dcm"), 10, ETAG, hashed=False, boot=BOOT)
    first.finish((0, 4))
    first.close()
    (pieces,) = tmp_path.glob("*.pieces")
    with pieces.open("ab") as file:
        file.write(b"4 8")
    again = Large(str(tmp_path / "x.dcm"), 10, ETAG, hashed=False, boot=BOOT)
    assert list(again.missing()) == [(4, 8), (8, 10)]
    again.close()


@pytest.mark.parametrize(
    ("name", "begun", "resumable"),
    [
        ("1.2.dcm", False, False),
        ("1.2.dcm.part", True, False),
        ("1.2.dcm.0a1b2c.part", True, False),
        ("36f7a8cb-0ddd-44a3-8646-df10344c49d7.dcm123", True, False),
        ("1.2.dcm123", False, False),
        (f"1.2.dcm.{ETAG}.0a1b2c.large", False, True),
        (f"1.2.dcm.{ETAG}-7.0a1b2c.pieces", False, True),
        ("notes.part", False, False),
    ],
)
def test_leftovers_are_told_by_their_names(name: str, begun: bool, resumable: bool) -> None:
    assert (is_begun(name), is_resumable(name)) == (begun, resumable)


@pytest.mark.parametrize("kind", [Small, Whole])
def test_only_a_plain_etag_is_a_checksum(kind: type[Small | Whole], tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    for etag in ("", f"{ETAG}-3", "x"):
        sink = kind(str(path), 3, hashed=True)
        sink.take(b"abc")
        assert not sink.save(etag)
    path.unlink()
    sink = kind(str(path), 3, hashed=False)
    sink.take(b"abc")
    assert not sink.save(ETAG)


@pytest.mark.parametrize("kind", [Small, Whole, Large])
@pytest.mark.parametrize("length", [3, 1 << 20])
def test_what_differs_never_gets_its_name(
    kind: type[Small | Whole | Large], length: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.dcm"
    sink = (
        Large(str(path), length, ETAG, hashed=True, boot=BOOT)
        if kind is Large
        else kind(str(path), length, hashed=True)
    )
    if isinstance(sink, Large):
        sink.write(0, [bytes(length)])
        with pytest.raises(Differs):
            sink.save()
    else:
        sink.take(bytes(length))
        with pytest.raises(Differs):
            sink.save(ETAG)
    assert not path.exists()
    sink.drop()
    assert names(tmp_path) == []
