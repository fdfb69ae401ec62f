"""Which instance a file is: as pydicom says, and never of a file that is cut off."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dataset_dl.pixels.identity import identify, identity_of
from dataset_dl.pixels.unreadable import Unreadable
from support.dicoms import corpus, quietly_read

NAMES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID")
# Cut off, or not what their header says; pydicom reads them all the same.
STRANGE = {
    "emri_small_jpeg_2k_lossless_too_short.dcm": "cut off",
    "MR_truncated.dcm": "cut off",
    "rtplan_truncated.dcm": "cut off",
    "SC_rgb_jpeg.dcm": "not encoded as its transfer syntax",
    "meta_missing_tsyntax.dcm": "no TransferSyntaxUID",
}


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.name)
def test_it_is_what_pydicom_says(path: Path) -> None:
    if path.name in STRANGE:
        with pytest.raises(Unreadable, match=STRANGE[path.name]):
            identify(path)
        return
    expected, found = quietly_read(path.read_bytes()), identify(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        texts = {name: str(expected.get(name, "") or "").strip() for name in NAMES}
    assert {name: getattr(found, name) for name in NAMES} == texts
    assert found.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID


def written(syntax: str, *, is_undefined: bool = False) -> bytes:
    made, item = Dataset(), Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientID = "1.4", "1.5", "Müller^1"
    made.SpecificCharacterSet = "ISO_IR 192"
    item.SOPInstanceUID, item.PatientID = "9.9", "other"
    made.ReferencedImageSequence = Sequence([item, Dataset()])
    made["ReferencedImageSequence"].is_undefined_length = is_undefined
    item.is_undefined_length_sequence_item = is_undefined
    made.add_new(0x00110010, "LO", "PRIVATE")
    made.add_new(0x7FE00010, "OW", bytes(range(64)))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize("is_undefined", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_encoding(syntax: str, is_undefined: bool) -> None:
    found = identity_of(written(syntax, is_undefined=is_undefined))
    assert (found.SOPInstanceUID, found.StudyInstanceUID, found.SeriesInstanceUID) == ("1.2.3", "1.4", "1.5")
    assert found.PatientID == "Müller^1"


@given(st.sampled_from([ImplicitVRLittleEndian, ExplicitVRLittleEndian]), st.booleans(), st.data())
def test_what_is_cut_off_is_never_whole(syntax: str, is_undefined: bool, data: st.DataObject) -> None:
    whole = written(syntax, is_undefined=is_undefined)
    at = data.draw(st.integers(0, len(whole) - 1))
    try:
        found = identity_of(whole[:at])
    except Unreadable:
        return
    # Only a cut between two elements cannot be seen; then some are lacking, and none is another one.
    again = Dataset.from_json(quietly_read(whole[:at]).to_json())
    assert found.SOPInstanceUID == str(again.get("SOPInstanceUID", ""))


@given(st.binary(max_size=400), st.integers(0, 700))
def test_noise_is_unreadable_or_read(noise: bytes, at: int) -> None:
    whole = written(ExplicitVRLittleEndian)
    with suppress(Unreadable):
        identity_of(whole[:at] + noise + whole[at + len(noise) :])
