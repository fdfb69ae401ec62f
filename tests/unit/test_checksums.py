from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.destination.checksums import compare
from dataset_dl.model.series import StoredObject

MIB = 1 << 20


def of_parts(data: bytes, part_bytes: int) -> str:
    parts = [data[start : start + part_bytes] for start in range(0, len(data), part_bytes)]
    return f"{hashlib.md5(b''.join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checksums") / "a.dcm"
    path.write_bytes(bytes(range(251)) * (17 * MIB // 251))
    return path


def stored(path: Path, etag: str) -> StoredObject:
    return StoredObject(path.name, path.stat().st_size, etag)


def test_a_plain_sum(file: Path) -> None:
    same = stored(file, hashlib.md5(file.read_bytes()).hexdigest())
    other = stored(file, "0" * 32)
    assert compare([(file, same), (file, other)]) == ["same", "different"]


@pytest.mark.parametrize("mib", [5, 8, 16, 50])
def test_a_sum_of_parts(file: Path, mib: int) -> None:
    etag = of_parts(file.read_bytes(), mib * MIB)
    assert compare([(file, stored(file, etag))]) == ["same"]


@pytest.mark.parametrize("mib", [6, 7, 12])
def test_a_sum_of_parts_of_an_unusual_size(file: Path, mib: int) -> None:
    assert compare([(file, stored(file, of_parts(file.read_bytes(), mib * MIB)))]) == ["same"]


def test_another_sum_of_parts_is_not_called_different(file: Path) -> None:
    odd = stored(file, of_parts(file.read_bytes(), 5 * MIB + 1))
    assert compare([(file, odd), (file, stored(file, "0" * 32 + "-3"))]) == ["unknown", "unknown"]


def test_a_crc32c(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = tmp_path / "known.svs"
    known.write_bytes(b"123456789")
    right = stored(known, "crc32c-e3069283")  # the check value of CRC-32C in every catalogue
    assert compare([(known, right), (known, stored(known, "crc32c-e3069284"))]) == ["same", "different"]
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert compare([(known, right)]) == ["unknown"]


@pytest.mark.parametrize("etag", ["", "x", "0" * 31, "CJ3v+aTn3ooDEAE=", "0" * 32 + "-"])
def test_what_is_no_sum_is_said_to_be_none(file: Path, etag: str) -> None:
    assert compare([(file, stored(file, etag))]) == ["unknown"]


def test_another_length_or_no_file_is_different(file: Path, tmp_path: Path) -> None:
    etag = hashlib.md5(file.read_bytes()).hexdigest()
    longer = StoredObject("a.dcm", file.stat().st_size + 1, etag)
    missing = stored(file, etag)
    assert compare([(file, longer), (tmp_path / "none", missing)]) == ["different", "different"]


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_same_means_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, here: bytes, there: bytes
) -> None:
    path = tmp_path_factory.mktemp("same") / "a"
    path.write_bytes(here)
    object_ = StoredObject("a", len(there), hashlib.md5(there).hexdigest())
    (outcome,) = compare([(path, object_)])
    assert (outcome == "same") == (here == there)
