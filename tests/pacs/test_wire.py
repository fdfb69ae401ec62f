"""Bytes on the wire: command sets, PDUs and bodies in several parts, as the standard and other programs have them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from email.message import Message as MimeMessage
from email.parser import BytesParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom.dsutils import decode, encode

from dataset_dl.pacs import commandsets, multipart, pdus
from dataset_dl.pacs.arriving import meta
from dataset_dl.pixels.identity import identity_of
from dataset_dl.pixels.unreadable import Unreadable

TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=16)
UIDS = st.lists(st.integers(0, 99999), min_size=2, max_size=8).map(lambda parts: ".".join(map(str, parts)))
COMMANDS = st.fixed_dictionaries(
    {
        "CommandField": st.sampled_from([0x0001, 0x8001, 0x0020, 0x0021, 0x0010, 0x0030]),
        "CommandDataSetType": st.sampled_from([0x0101, 0x0001]),
    },
    optional={
        "AffectedSOPClassUID": UIDS, "AffectedSOPInstanceUID": UIDS, "MoveDestination": TEXTS, "ErrorComment": TEXTS,
        "MessageID": st.integers(0, 65535), "MessageIDBeingRespondedTo": st.integers(0, 65535),
        "Priority": st.integers(0, 2), "Status": st.integers(0, 65535),
        "NumberOfRemainingSuboperations": st.integers(0, 65535),
    },
)  # fmt: skip


@given(COMMANDS)
def test_command_sets_are_those_of_pynetdicom(command: dict[str, object]) -> None:
    data = commandsets.encoded(command)
    assert commandsets.decoded(data) == command
    known = decode(io.BytesIO(data), True, True)
    assert known.CommandGroupLength == len(data) - 12
    assert {keyword: known[keyword].value for keyword in command} == command
    again = encode(known, True, True)
    assert again is not None and commandsets.decoded(again) == command


@given(st.binary(max_size=200))
def test_noise_is_no_command_set_or_one(noise: bytes) -> None:
    try:
        commandsets.decoded(noise)
    except Unreadable:
        return


@given(st.binary(max_size=200))
def test_noise_is_no_pdu_or_one(noise: bytes) -> None:
    try:
        _, body = pdus.read_pdu(io.BytesIO(noise))
        list(pdus.fragments(body))
    except (Unreadable, EOFError, struct.error):
        return


def test_a_pdu_that_is_far_too_long_is_refused() -> None:
    with pytest.raises(Unreadable, match="far too long"):
        pdus.read_pdu(io.BytesIO(struct.pack(">BxI", 4, 0xFFFFFFFF)))


def in_chunks(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({min(each, len(data)) for each in cuts} | {0, len(data)})
    for begin, end in pairwise(places):
        yield data[begin:end]


def parts_of(pieces: Iterator[multipart.Piece]) -> list[bytes]:
    parts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            parts[-1] += piece
        elif piece is not None:
            parts.append(b"")
    return parts


PARTS = st.lists(st.binary(max_size=300), min_size=1, max_size=5)
CUTS = st.lists(st.integers(0, 2000), max_size=30)


@given(PARTS, CUTS)
def test_a_body_is_split_wherever_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(multipart.Body(parts, "border-x"))
    assert len(multipart.Body(parts, "border-x")) == len(body)
    assert parts_of(multipart.split(in_chunks(body, cuts), b"border-x")) == parts


@given(PARTS)
def test_python_reads_the_same_body(parts: list[bytes]) -> None:
    body = b"".join(multipart.Body(parts, "border-x"))
    whole = b'Content-Type: multipart/related; boundary="border-x"\r\n\r\n' + body
    read = BytesParser().parsebytes(whole)
    assert len(read.get_payload()) == len(parts)
    assert all(
        isinstance(each, MimeMessage) and each.get_content_type() == "application/dicom"
        for each in read.get_payload()
    )


@given(PARTS, CUTS, st.data())
def test_a_body_that_ends_early_is_never_whole(
    parts: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    body = b"".join(multipart.Body(parts, "border-x"))
    # The last line break is not needed.
    end = data.draw(st.integers(0, len(body) - 3))
    with pytest.raises(Unreadable):
        parts_of(multipart.split(in_chunks(body[:end], cuts), b"border-x"))


@pytest.mark.parametrize("kind", ["text/html", "", "application/dicom", "multipart/related"])
def test_what_is_no_body_of_several_parts(kind: str) -> None:
    with pytest.raises(Unreadable):
        multipart.boundary_of(kind)


def test_boundaries() -> None:
    assert multipart.boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    assert multipart.boundary_of("multipart/related;boundary=xyz; start=1") == b"xyz"


@given(UIDS, UIDS, TEXTS)
def test_file_meta_information_is_read_by_pydicom(sop_class: str, uid: str, title: str) -> None:
    from support.dicoms import quietly_read

    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    made = Dataset()
    made.SOPInstanceUID = uid
    write_dataset(file, made)
    data = meta(sop_class, uid, "1.2.840.10008.1.2.1", title) + file.getvalue()
    read = quietly_read(data)
    assert read.file_meta.MediaStorageSOPClassUID == sop_class
    assert read.file_meta.MediaStorageSOPInstanceUID == uid == read.SOPInstanceUID
    assert read.file_meta.SourceApplicationEntityTitle == title
    assert identity_of(data).SOPInstanceUID == uid
