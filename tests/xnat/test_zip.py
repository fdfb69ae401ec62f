"""Zips that are made while they are sent: as a server reads them, of a length that is known before."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.xnat import sending
from dataset_dl.xnat.consumer import packed, unpacked
from dataset_dl.xnat.sending import Instance, Zip, batches, instances_of
from support.series import downloaded

UIDS = st.from_regex(r"[12](\.[1-9][0-9]{0,9}){1,5}", fullmatch=True)


@given(
    st.dictionaries(UIDS, st.binary(max_size=200), min_size=1, max_size=12),
    st.sampled_from([1, 100, 1 << 20]),
)
def test_a_zip_is_whole_and_as_long_as_it_says(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], small: int
) -> None:
    directory = tmp_path_factory.mktemp("zip")
    with pytest.MonkeyPatch.context() as patched:
        # Files that are read once, and files that are read twice.
        patched.setattr(sending, "_SMALL_BYTES", small)
        instances = []
        for number, (uid, data) in enumerate(files.items()):
            path = directory / str(number)
            path.write_bytes(data)
            instances.append(Instance(uid, path, len(data)))
        made = Zip(instances)
        data = b"".join(made)
        assert len(data) == len(made)
        assert b"".join(made) == data, "it can be sent again"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {
            each.filename.removesuffix(".dcm"): archive.read(each) for each in archive.infolist()
        } == files
        for each in archive.infolist():
            # Java's reader refuses entries that are stored and have their size behind them.
            assert (each.compress_type, each.flag_bits & 8) == (zipfile.ZIP_STORED, 0)


def test_a_large_series_goes_in_several_zips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded(tmp_path, [("P", "1.2", "1.2.3", 9)])
    instances = instances_of(sorted(tmp_path.rglob("*.dcm")), "1.2")
    monkeypatch.setattr(sending, "_BATCH_BYTES", 2 * instances[0].size_bytes + 100)
    several = list(batches(instances))
    assert len(several) == 5
    names = [name for each in several for name in zipfile.ZipFile(io.BytesIO(b"".join(each))).namelist()]
    assert names == [each.name for each in instances]
    monkeypatch.setattr(sending, "_MOST_BYTES", 10)
    with pytest.raises(dd.UnreadableObject, match="too much for a zip"):
        list(batches(instances))


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded(tmp_path, [("P", "1.2", "1.2.3", 2)])
    instances = instances_of(sorted(tmp_path.rglob("*.dcm")), "1.2")
    instances[1].path.write_bytes(b"short")
    for small in (0, 1 << 20):
        monkeypatch.setattr(sending, "_SMALL_BYTES", small)
        with pytest.raises(dd.UnreadableObject, match="changed while it was sent"):
            b"".join(Zip(instances))
    instances[1].path.unlink()
    with pytest.raises(dd.StorageError, match="cannot be read"):
        b"".join(Zip(instances))


def test_files_that_are_no_instances_of_the_study(tmp_path: Path) -> None:
    downloaded(tmp_path, [("P", "1.2", "1.2.3", 2)])
    paths = sorted(tmp_path.rglob("*.dcm"))
    with pytest.raises(dd.UnreadableObject, match=r"belongs to the study 1\.2"):
        instances_of(paths, "1.9")
    twin = paths[0].with_name("9.dcm")
    twin.write_bytes(paths[0].read_bytes())
    with pytest.raises(dd.UnreadableObject, match="are the same instance"):
        instances_of([*paths, twin], "1.2")
    twin.write_text("no DICOM at all")
    with pytest.raises(dd.UnreadableObject, match="is no DICOM file"):
        instances_of([twin], "1.2")


@given(st.sets(UIDS, min_size=1))
def test_uids_are_packed_for_receipts(uids: set[str]) -> None:
    assert unpacked(packed(uids)) == uids
