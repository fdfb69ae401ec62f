"""Zips of any content: a series that is proven, or a failure in words; never a file elsewhere."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_dl.engines.threads import Failed
from dataset_dl.tcia.unpacking import UNFINISHED, unpack
from support.dicoms import encoded, slice_of

UID = "1.2.3"


def instance(number: int) -> bytes:
    return encoded(
        slice_of((0, 0, float(number)), SeriesInstanceUID=UID, SOPInstanceUID=f"{UID}.{number + 1}")
    )


INSTANCES = [instance(number) for number in range(4)]
NAMES = st.one_of(
    st.sampled_from(
        ["1-001.dcm", "1-002.dcm", "LICENSE", "md5hashes.csv", "../x.dcm", "/etc/x", "a\\b", "C:x", "."]
    ),
    st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable()),
)
CONTENTS = st.one_of(st.sampled_from(INSTANCES), st.binary(max_size=300))


def packed(entries: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries:
                archive.writestr(name, data)
    return out.getvalue()


@settings(suppress_health_check=list(HealthCheck), max_examples=150)
@given(st.lists(st.tuples(NAMES, CONTENTS), max_size=5), st.integers(0, 400), st.booleans())
def test_any_zip(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes]], cut: int, is_cut: bool
) -> None:
    root = tmp_path_factory.mktemp("any")
    directory = root / "series"
    directory.mkdir()
    data = packed(entries)
    data = data[: max(0, len(data) - cut)] if is_cut else data
    try:
        found = unpack([data], directory, UID, 10_000_000)
    except Failed as error:
        assert error.words
    else:
        assert all(
            hashlib.md5(each.path.read_bytes()).hexdigest() == each.md5 for each in found.parts.values()
        )
        assert not found.is_whole or found.named == len(found.parts)
    assert {path.parent for path in root.rglob("*") if path.is_file()} <= {directory}
    assert all(path.name.endswith(UNFINISHED) for path in directory.iterdir())


def test_a_whole_series_is_proven_and_one_that_differs_is_left_out(tmp_path: Path) -> None:
    named = {f"1-{number:03d}.dcm": data for number, data in enumerate(INSTANCES, 1)}
    lines = [f"{name},{hashlib.md5(data).hexdigest()}" for name, data in named.items()]
    entries = [("LICENSE", b"x"), *named.items()]
    listed = packed([*entries, ("md5hashes.csv", "\n".join(["Filename,MD5Hash", *lines]).encode())])
    found = unpack([listed], tmp_path, UID, None)
    assert found.is_whole and len(found.parts) == 4
    wrong = [lines[0].replace(lines[0][-4:], "0000"), *lines[1:]]
    differing = packed([*entries, ("md5hashes.csv", "\r\n".join(["Filename,MD5Hash", *wrong]).encode())])
    found = unpack([differing], tmp_path, UID, None)
    assert (found.is_whole, found.wrong, len(found.parts)) == (False, ["1-001.dcm"], 3)
    assert not unpack([packed(entries)], tmp_path, UID, None).is_whole
    with pytest.raises(Failed, match="far more bytes"):
        unpack([listed], tmp_path, UID, 100)
