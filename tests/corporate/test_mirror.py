"""A mirror inside the wall that wants signed requests; files that Python itself fetches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.errors import NetworkError
from dataset_dl.network import NetworkSettings
from dataset_dl.network.files import obtain
from dataset_dl.network.session import session
from dataset_dl.sources.idc import tables
from dataset_dl.testing import LocalBucket
from support import indices, web
from support.cli import Cli
from support.corporate import signing_store


def test_a_store_that_wants_signatures(held: LocalBucket, cli: Cli, engine: str) -> None:
    uuid = held.series[0].crdc_series_uuid
    keys = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "planted-secret"}
    with signing_store(held.root, "reader", "planted-secret") as endpoint_url:
        command = ["idc", "download", uuid, "--to", "d", "--endpoint-url", endpoint_url]
        unsigned = cli(*command, env=keys)
        assert unsigned.code == 4
        assert "--sign" in unsigned.err
        wrong = cli(*command, "--sign", env=keys | {"AWS_SECRET_ACCESS_KEY": "x"})
        assert wrong.code == 4
        none = cli(*command, "--sign", env={"HOME": str(cli.directory), "AWS_EC2_METADATA_DISABLED": "true"})
        assert none.code == 4
        signed = cli(*command, "--sign", env=keys)
        assert signed.code == 0, signed.err
        said = "".join(each.out + each.err for each in (unsigned, wrong, none, signed))
        assert "planted-secret" not in said
        assert (
            cli("idc", "verify", "d", "--md5", "--sign", "--endpoint-url", endpoint_url, env=keys).code == 0
        )


class Files:
    """A server of one file that misbehaves as told, request by request."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.etag = '"one"'
        self.script: list[Callable[[BaseHTTPRequestHandler], bool]] = []
        self.asked: list[dict[str, str]] = []
        self.url = ""


@contextmanager
def serving(data: bytes) -> Iterator[Files]:
    files = Files(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.asked.append(dict(self.headers))
            if files.script and files.script.pop(0)(self):
                return
            start = 0
            if self.headers.get("If-Range") == files.etag and "Range" in self.headers:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(files.data) - start))
            self.send_header("ETag", files.etag)
            if start:
                total = len(files.data)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            self.wfile.write(files.data[start:])

    with web.serving(Handler) as address:
        files.url = f"{address}/file"
        yield files


@pytest.fixture
def files() -> Iterator[Files]:
    with serving(bytes(range(256)) * 20_000) as running:
        yield running


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], bool]:
    def act(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    return act


def cut(files: Files, after: int) -> Callable[[BaseHTTPRequestHandler], bool]:
    def act(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(files.data)))
        handler.send_header("ETag", files.etag)
        handler.end_headers()
        handler.wfile.write(files.data[:after])
        return True

    return act


def test_a_file_comes_whole_and_once(files: Files, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "file"
    assert obtain(files.url, target, NetworkSettings()).read_bytes() == files.data
    obtain(files.url, target, NetworkSettings())
    assert len(files.asked) == 1
    assert files.asked[0]["User-Agent"].startswith("dataset-dl/")
    assert {path.name for path in target.parent.iterdir()} <= {"file", "file.lock"}


def test_a_cut_file_is_resumed_where_it_was(files: Files, tmp_path: Path) -> None:
    files.script = [cut(files, 3_000_000)]
    assert obtain(files.url, tmp_path / "file", NetworkSettings()).read_bytes() == files.data
    assert 1_000_000 < int(files.asked[1]["Range"].removeprefix("bytes=").rstrip("-")) <= 3_000_000


def test_a_file_that_has_changed_begins_anew(files: Files, tmp_path: Path) -> None:
    def changes(handler: BaseHTTPRequestHandler) -> bool:
        done = cut(files, 3_000_000)(handler)
        files.etag, files.data = '"two"', b"new" * 1_000_000
        return done

    files.script = [changes]
    assert obtain(files.url, tmp_path / "file", NetworkSettings()).read_bytes() == b"new" * 1_000_000


@pytest.mark.parametrize("fault", ["other", "elsewhere"])
def test_a_rest_of_something_else_is_not_put_to_what_is_here(
    files: Files, tmp_path: Path, fault: str
) -> None:
    def rest(handler: BaseHTTPRequestHandler) -> bool:
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        handler.send_response(206)
        handler.send_header("Content-Length", str(len(files.data) - start))
        handler.send_header("ETag", '"two"' if fault == "other" else files.etag)
        shown = start if fault == "other" else 0
        handler.send_header("Content-Range", f"bytes {shown}-{len(files.data) - 1}/{len(files.data)}")
        handler.end_headers()
        handler.wfile.write(b"?" * (len(files.data) - start))
        return True

    files.script = [cut(files, 3_000_000), rest]
    assert obtain(files.url, tmp_path / "file", NetworkSettings()).read_bytes() == files.data


def test_a_busy_server_is_asked_again(files: Files, tmp_path: Path) -> None:
    files.script = [status(503), status(429, Retry_After="1"), status(500)]
    assert obtain(files.url, tmp_path / "file", NetworkSettings()).read_bytes() == files.data
    assert len(files.asked) == 4


@pytest.mark.parametrize("code", [404, 403, 500])
def test_what_is_not_to_be_had_is_told(files: Files, tmp_path: Path, code: int) -> None:
    files.script = [status(code)] * 9
    with pytest.raises(NetworkError, match=str(code)):
        obtain(files.url, tmp_path / "file", NetworkSettings())
    assert not (tmp_path / "file").exists()


def test_what_is_not_what_it_should_be_is_not_kept(files: Files, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="is not the file"):
        obtain(files.url, tmp_path / "file", NetworkSettings(), check=lambda path: "it is a sign-in page")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_two_who_want_the_same_file_fetch_it_once(files: Files, tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=obtain, args=(files.url, tmp_path / "file", NetworkSettings()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files.asked) == 1


def test_a_redirect_is_followed_without_the_proxy_of_the_first_address(files: Files) -> None:
    files.script = [status(302, Location=files.url)]
    network = NetworkSettings(http_proxy="http://127.0.0.1:9")  # this machine is reached directly
    with session(network) as requesting:
        assert requesting.get(files.url).content == files.data


def test_an_optional_table_is_fetched_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    table = indices.make("sm_index", tmp_path / "made.parquet", {"SeriesInstanceUID": ["1.2", "1.3"]})
    with serving(table.read_bytes()) as files:
        env = {"DATASET_DL_ASSETS_URL": files.url, "DATASET_DL_CACHE": str(tmp_path / "cache")}
        missing = cli("idc", "query", "SELECT count(*) FROM sm_index", env=env)
        assert missing.code == 2
        assert "indices fetch sm_index" in missing.err
        fetched = cli("idc", "indices", "fetch", "sm_index", env=env)
        assert fetched.code == 0, fetched.err
        listed = cli("idc", "indices", "--format", "json", env=env)
        assert {row["name"]: row["here"] for row in listed.json}["sm_index"]
        assert cli(
            "idc", "query", "SELECT count(*) AS n FROM sm_index", "--format", "json", env=env
        ).json == [{"n": 2}]
        assert len(files.asked) == 1
        assert cli("idc", "indices", "fetch", "no_index", env=env).code == 2
        other = cli("idc", "indices", "fetch", "ct_index", env=env)
        assert other.code == 4
        assert "it lacks the columns" in other.err
    with serving(b"<html>Sign in</html>") as page:
        env["DATASET_DL_ASSETS_URL"] = page.url
        refused = cli("idc", "indices", "fetch", "ct_index", env=env)
        assert refused.code == 4
        assert "sign-in page" in refused.err


def test_python_fetches_a_table_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = indices.make("seg_index", tmp_path / "made.parquet", {"SeriesInstanceUID": ["1.2"]})
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path))
    with serving(table.read_bytes()) as files:
        monkeypatch.setenv("DATASET_DL_ASSETS_URL", files.url)
        tables.look_again()
        path = dd.fetch_index("seg_index")
        assert path.parent.parent.name == "idc-index-data"
        assert len(dd.query("SELECT * FROM seg_index")) == 1
    tables.look_again()
