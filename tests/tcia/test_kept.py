"""Trees of zips: written as older pipelines expect, and opened again, checked."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread

import dataset_dl as dd
from dataset_dl.tcia.kept import address_of, path_of
from dataset_dl.testing import LocalBucket
from dataset_dl.testing.nbia import LocalNbia
from support.cli import Cli
from support.series import downloaded

SERIES = [("P-1", "1.2.1", "1.2.1.1", 4), ("P-1", "1.2.1", "1.2.1.2", 3), ("P.2", "1.2.2", "1.2.2.1", 5)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three zips of series."""
    downloaded(tmp_path / "data", SERIES)
    dd.deliver(tmp_path / "data", to=f"zips:{tmp_path / 'tree'}")
    return tmp_path / "tree"


def contents(root: Path) -> dict[str, bytes]:
    """SOPInstanceUID → bytes of its file."""
    return {str(dcmread(path).SOPInstanceUID): path.read_bytes() for path in root.rglob("*.dcm")}


def test_zips_are_as_older_pipelines_expect(tree: Path, tmp_path: Path) -> None:
    found = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    assert found == [f"{study}/{series}/img.zip" for _, study, series, _ in SERIES]
    for path in tree.rglob("img.zip"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert (names[0], names[-1]) == ("LICENSE", "md5hashes.csv")
            rows = list(csv.reader(io.StringIO(archive.read("md5hashes.csv").decode())))
            assert rows[0] == ["Filename", "MD5Hash"]
            for name, md5 in rows[1:]:
                assert hashlib.md5(archive.read(name)).hexdigest() == md5


def test_from_both_archives_into_zips_and_back(
    cli: Cli,
    nbia: LocalNbia,
    bucket: LocalBucket,
    tmp_path: Path,
) -> None:
    of_idc = str(bucket.series[0].SeriesInstanceUID)
    words = ["tcia", "download", of_idc, *nbia.series, "--keep-zips", "--to", tmp_path / "tree"]
    done = cli(*words, "--endpoint-url", bucket.endpoint_url)
    assert done.code == 0, done.err
    assert len(list((tmp_path / "tree").rglob("img.zip"))) == 3
    assert not list((tmp_path / "tree").rglob("*.dcm"))
    before = len(nbia.requests)
    assert cli(*words, "--endpoint-url", bucket.endpoint_url).code == 0
    assert not [each for each in nbia.requests[before:] if each.startswith("getImage")]
    done = cli("tcia", "unzip", tmp_path / "tree", "--to", tmp_path / "back")
    assert done.code == 0, done.err
    found = contents(tmp_path / "back")
    for each in nbia.series.values():
        assert each.files.items() <= found.items()
    assert len(found) == 81 + 2 * 12
    assert cli("idc", "verify", tmp_path / "back").code == 0


def test_opened_again_it_is_the_same(cli: Cli, tree: Path, tmp_path: Path) -> None:
    done = cli("tcia", "unzip", tree, "--to", tmp_path / "back")
    assert done.code == 0, done.err
    assert contents(tmp_path / "back") == contents(tmp_path / "data")
    assert (tmp_path / "back/1.2.1/1.2.1.1").is_dir()
    again = cli("tcia", "unzip", tree, "--to", tmp_path / "back")
    assert again.code == 0 and "nothing was fetched" in again.out


@pytest.mark.parametrize(
    ("harm", "words"),
    [("cut", "ended early"), ("no sums", "no md5hashes.csv"), ("changed", "not what its"), ("lacks", "not what its"),
     ("text", "ended early")],
)  # fmt: skip
def test_a_zip_that_is_not_whole_is_never_opened(
    cli: Cli, tree: Path, tmp_path: Path, harm: str, words: str
) -> None:
    path = tree / "1.2.1/1.2.1.1/img.zip"
    with zipfile.ZipFile(path) as archive:
        entries = [(each.filename, archive.read(each)) for each in archive.infolist()]
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif harm == "text":
        path.write_text("<html>Sign in</html>")
    else:
        if harm == "no sums":
            entries = entries[:-1]
        elif harm == "lacks":
            del entries[2]
        else:
            name, data = entries[2]
            entries[2] = name, data[:-1] + bytes([data[-1] ^ 1])
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries:
                archive.writestr(name, data)
    done = cli("tcia", "unzip", tree, "--to", tmp_path / "back")
    assert done.code == 3, done.err
    assert words in done.out + done.err
    assert not list((tmp_path / "back").rglob("1.2.1.1/*.dcm"))
    assert len(contents(tmp_path / "back")) == 8


def test_strange_zips_fail_alone(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tree / "1.2.7/1.2.7.1").mkdir(parents=True)
    (tree / "1.2.7/1.2.7.1/img.zip").symlink_to("nowhere")
    (tree / "1.2.8/1.2.8.1/img.zip").mkdir(parents=True)
    encrypted = bytearray((tree / "1.2.1/1.2.1.1/img.zip").read_bytes())
    encrypted[6] |= 1
    (tree / "1.2.1/1.2.1.1/img.zip").write_bytes(encrypted)
    shutil.copytree(tree / "1.2.2", tree / "copy")
    done = cli("tcia", "unzip", tree, "--to", tmp_path / "back")
    assert done.code == 3, done.err
    assert "3 series failed" in done.out or "3 of 5 series failed" in done.err
    assert len(contents(tmp_path / "back")) == 8
    (tree / "1.2.8").chmod(0)


def test_no_zip_of_another_is_replaced(tree: Path, tmp_path: Path) -> None:
    place = tree / "1.2.1/1.2.1.1/img.zip"
    place.write_bytes(b"of another program")
    with pytest.raises(dd.DeliveryIncomplete, match="is there already and is another zip"):
        dd.deliver(tmp_path / "data", to=f"zips:{tree}")
    assert place.read_bytes() == b"of another program"


def test_series_of_zips_may_share_a_directory(cli: Cli, tree: Path, tmp_path: Path) -> None:
    done = cli("tcia", "unzip", tree, "--to", tmp_path / "back", "--layout", ".")
    assert done.code == 0, done.err
    assert contents(tmp_path / "back") == contents(tmp_path / "data")


def test_a_directory_that_no_consumer_can_name(cli: Cli, nbia: LocalNbia, tmp_path: Path) -> None:
    done = cli("tcia", "download", *nbia.series, "--keep-zips", "--to", tmp_path / "what?")
    assert (done.code, "holds “?”" in done.err) == (2, True)
    assert not [each for each in nbia.requests if each.startswith("getImage")]


def test_what_is_no_tree_of_zips(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("tcia", "unzip", tmp_path / "empty", "--to", tmp_path / "back")
    assert (done.code, "no img.zip in" in done.err) == (2, True)
    (tmp_path / "empty/somewhere").mkdir()
    (tmp_path / "empty/somewhere/img.zip").write_text("no zip")
    done = cli("tcia", "unzip", tmp_path / "empty", "--to", tmp_path / "back")
    assert (done.code, "does not say which series it is" in done.err) == (2, True)


def test_a_path_is_its_address(tmp_path: Path) -> None:
    for name in ("a b", "ä%20?#", "[x]"):
        assert path_of(address_of(tmp_path / name)) == tmp_path / name
    for wrong in ("zip://host/x", "zip:relative", "zip:///a/../b"):
        with pytest.raises(dd.SelectionError, match="names no zip"):
            path_of(wrong)


def test_a_zip_that_changed_is_another_one(cli: Cli, tree: Path, tmp_path: Path) -> None:
    plan = dd.plan(address_of(tree))
    shutil.rmtree(tree / "1.2.1/1.2.1.1")
    report = dd.download(plan, tmp_path / "back", check=False)
    assert [each.cause for each in report.failures] == ["not_found"]
