"""Headers from the beginnings of objects: whole, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_dl.pixels.headers import Header, parse_header, read_header
from dataset_dl.pixels.unreadable import Unreadable
from support.dicoms import corpus, encoded, quietly_read, slice_of

FILES = corpus()
CUT_IN_THE_CORPUS = {"rtplan_truncated.dcm"}


def header_of(data: bytes, first_bytes: int) -> Header:
    return read_header(lambda begin, end: (data[begin:end], len(data)), first_bytes=first_bytes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_elements_are_those_of_the_whole_file(path: Path) -> None:
    data = path.read_bytes()
    if path.name in CUT_IN_THE_CORPUS:
        with pytest.raises(Unreadable, match="ends in the middle"):
            header_of(data, 1)
        return
    whole = quietly_read(data, stop_before_pixels=True)
    for first_bytes in (1, 1000, 16 << 10):
        found = header_of(data, first_bytes)
        assert set(found.dataset.keys()) == set(whole.keys())
        assert set(found.dataset.file_meta.keys()) == set(whole.file_meta.keys())


def test_the_corpus_is_there() -> None:
    assert len(FILES) > 250


@settings(max_examples=150)
@given(st.data())
def test_a_header_that_is_cut_is_never_taken_for_a_whole_one(data: st.DataObject) -> None:
    """Only a cut between two elements cannot be seen, without the size that the store lists."""
    path = data.draw(st.sampled_from([each for each in FILES if each.stat().st_size < 20_000]))
    content = path.read_bytes()
    if path.name in CUT_IN_THE_CORPUS:
        return
    whole = parse_header(content, len(content))
    end = whole.pixels_at or len(content)
    cut = data.draw(st.integers(1, end - 1))
    # The object is as long as it was, but its server sends less.
    with pytest.raises((Unreadable, EOFError)):
        read_header(lambda begin, until: (content[begin : min(until, cut)], len(content)), first_bytes=600)
    # The object itself was cut.
    try:
        found = parse_header(content[:cut], cut)
    except Unreadable:
        return
    assert found.pixels_at is None
    assert set(found.dataset.keys()) <= set(whole.dataset.keys())
    for tag in list(found.dataset.keys()):
        assert len(found.dataset.get_item(tag).value or b"") == len(whole.dataset.get_item(tag).value or b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<html>Sign in</html>" * 50, "web page"),
        (b'  <?xml version="1.0"?><Error/>' * 50, "web page"),
        (b"\x89PNG\r\n" + bytes(1000), "is not DICOM"),
        (bytes(128) + b"DICM" + b"\xff" * 500, "no DICOM|no elements|middle"),
    ],
)
def test_what_is_no_dicom_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        header_of(content, 16 << 10)


def test_a_header_has_a_limit() -> None:
    made = slice_of()
    made.add_new(0x00091001, "OB", bytes(200_000))
    data = encoded(made)
    assert 0x00091001 in header_of(data, 512).dataset
    with pytest.raises(Unreadable, match="more than"):
        read_header(lambda begin, end: (data[begin:end], len(data)), most_bytes=100_000)


def test_a_first_range_that_is_enough_is_the_only_one() -> None:
    data, asked = encoded(slice_of()), []

    def read(begin: int, end: int) -> tuple[bytes, int]:
        asked.append((begin, end))
        return data[begin:end], len(data)

    found = read_header(read, first_bytes=1024)
    assert asked == [(0, 1024)]
    assert found.pixels_at == data.index(b"\xe0\x7f\x10\x00")
