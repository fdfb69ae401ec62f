"""A newer index than that of the package, and an older one: brought, checked, chosen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import duckdb
import pytest

import dataset_dl as dd
from dataset_dl.model.events import Event, Working
from dataset_dl.sources.idc import releases, tables
from support.cli import Cli
from support.web import serving

PACKAGED = releases.packaged_version()
NEWER, OLDER = "99.0.1", "3.0.0"


def make(directory: Path, version: str) -> None:
    """A version with one collection, in which a series was added to RIDER Pilot by another name."""
    directory.mkdir(parents=True)
    idc = int(version.split(".", maxsplit=1)[0])
    for name in releases.CORE:
        table = tables.tables()[name]
        assert table.parquet_path is not None
        shutil.copy(table.schema_path, directory)
        select = f"FROM '{table.parquet_path}'"
        if name == "idc_index":
            select = f"SELECT * {select} WHERE collection_id = 'rider_pilot' LIMIT 7"
        if name == "version_metadata_index":
            select = f"SELECT * REPLACE ({idc} AS idc_version) {select} LIMIT 1"
        duckdb.sql(f"COPY ({select}) TO '{directory / name}.parquet' (FORMAT parquet)")
    shutil.copy(tables.tables()["sm_index"].schema_path, directory)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("releases") / "download"
    make(root / NEWER, NEWER)
    make(root / OLDER, OLDER)
    return root


@pytest.fixture
def site(published: Path, tmp_path: Path) -> Iterator[str]:
    """The releases as GitHub serves them: files in folders, and a redirection to the page of the newest."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/latest":
                self.send_response(302)
                self.send_header("Location", f"/tag/{NEWER}")
                self.end_headers()
                return
            path = published.parent / self.path.lstrip("/")
            data = (
                b"a page" if self.path.startswith("/tag/") else path.read_bytes() if path.is_file() else None
            )
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

    with serving(Handler) as url:
        yield url


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    yield
    tables.look_again()


def test_the_newest_is_brought_and_used(cli: Cli, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_ASSETS_URL", f"{site}/download")
    done = cli("idc", "indices", "update")
    assert (done.code, done.out) == (
        0,
        f"The index version {NEWER} (IDC v99) is installed; it is in use now.\n",
    ), done.err
    plan = dd.plan("rider_pilot")
    assert (plan.series_count, plan.idc_version) == (7, 99)
    assert dd.collections().id.tolist() == ["rider_pilot"]
    assert dd.IDCClient().get_idc_version() == "v99"
    assert len(dd.IDCClient().index) == 7
    assert "sm_index" in set(dd.indices().name)
    with dd.use_index(PACKAGED):
        assert dd.plan("rider_pilot").series_count == 774
    assert dd.plan("rider_pilot").series_count == 7
    doctor = cli("doctor")
    assert f"IDC v99, idc-index-data {NEWER}" in doctor.out
    assert PACKAGED in doctor.out
    # What is here is not fetched again.
    monkeypatch.setenv("DATASET_DL_ASSETS_URL", "http://127.0.0.1:9")
    assert dd.update_index(NEWER).is_used


def test_it_is_seen_growing(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_ASSETS_URL", f"{site}/download")
    seen: list[Event] = []
    assert dd.update_index(OLDER, observers=[seen.append]).version == OLDER
    working = [event for event in seen if isinstance(event, Working)]
    assert len(working) >= len(releases.CORE)
    assert all(event.activity == "fetching the index" for event in working)
    assert sum(event.done_bytes == event.total_bytes for event in working) >= len(releases.CORE)


def test_an_older_one_is_chosen(cli: Cli, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_DL_ASSETS_URL", f"{site}/download")
    done = cli("idc", "indices", "update", "--version", OLDER)
    assert f"--index-version {OLDER} selects it" in done.out
    count = "SELECT count(*) AS n FROM idc_index"
    assert cli("idc", "query", count, "--format", "json").json[0]["n"] > 1_000_000
    assert cli("idc", "query", count, "--format", "json", "--index-version", OLDER).json == [{"n": 7}]
    assert cli("idc", "--index-version", OLDER, "query", count, "--format", "json").json == [{"n": 7}]
    env = {"DATASET_DL_INDEX_VERSION": OLDER}
    assert cli("idc", "query", count, "--format", "json", env=env).json == [{"n": 7}]
    (cli.directory / "c.toml").write_text(f'[index]\nversion = "{OLDER}"\n')
    env = {"DATASET_DL_CONFIG": str(cli.directory / "c.toml")}
    assert cli("idc", "query", count, "--format", "json", env=env).json == [{"n": 7}]
    missing = cli("idc", "query", count, "--index-version", "1.2.3")
    assert missing.code == 2
    assert "indices update --version 1.2.3" in missing.err


def test_what_is_not_whole_is_not_used(
    cli: Cli, site: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_ASSETS_URL", f"{site}/download")
    path = published / NEWER / "prior_versions_index.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    try:
        done = cli("idc", "indices", "update")
    finally:
        path.write_bytes(whole)
    assert done.code == 4
    assert "is not the file that was asked for" in done.err
    assert releases.versions_here() == (PACKAGED,)
    assert cli("idc", "indices", "update").code == 0
    assert releases.chosen() == NEWER


def test_a_directory_serves_a_machine_that_cannot_fetch(cli: Cli, published: Path, tmp_path: Path) -> None:
    done = cli("idc", "indices", "update", "--from", published / NEWER)
    assert done.code == 0, done.err
    assert releases.chosen() == NEWER
    wrong = cli("idc", "indices", "update", "--from", published / NEWER, "--version", "98.0.1")
    assert (wrong.code, "are of IDC v99" in wrong.err) == (2, True)
    assert cli("idc", "indices", "update", "--from", tmp_path).code == 2
    copy = tmp_path / "97.0.0"
    shutil.copytree(published / NEWER, copy)
    shutil.copy(copy / "collections_index.parquet", copy / "idc_index.parquet")
    wrong = cli("idc", "indices", "update", "--from", copy)
    assert "is not the table idc_index: it lacks the columns" in wrong.err
    assert releases.versions_here() == (PACKAGED, NEWER)
    assert [each.name for each in (tmp_path / "cache" / "idc-index-data").iterdir()] == [NEWER]


@pytest.mark.parametrize("version", ["x", "../25.0.5", "25", "25.0.5/..", ""])
def test_what_is_no_version_is_refused(cli: Cli, version: str) -> None:
    done = cli("idc", "indices", "update", f"--version={version}")
    assert done.code == 2
    assert not (cli.directory / "cache").exists()
