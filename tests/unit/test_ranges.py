"""Parts of objects, from servers that behave and servers that do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import retrying
from dataset_dl.store.ranges import Ranges
from dataset_dl.testing import serve_rclone
from support.faults import FaultServer, serve

CONTENT = os.urandom(100_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    root = tmp_path_factory.mktemp("store")
    (root / "bucket").mkdir()
    for number in range(40):
        (root / "bucket" / f"{number}.dcm").write_bytes(CONTENT)
    with serve(root) as made:
        yield made


@pytest.fixture
def ranges(server: FaultServer) -> Iterator[Ranges]:
    server.faults.clear()
    server.gets.clear()
    with Ranges(NetworkSettings(endpoint_url=server.endpoint_url), most_bytes=200_000) as made:
        yield made


def url(server: FaultServer, number: int = 0) -> str:
    return f"{server.endpoint_url}/bucket/{number}.dcm"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 100_000), st.integers(1, 100_000), st.sampled_from(["", "whole"]))
def test_a_part_is_that_of_the_object(
    server: FaultServer, ranges: Ranges, begin: int, length: int, fault: str
) -> None:
    server.faults["0.dcm"] = fault
    part = ranges.read(url(server), begin, begin + length)
    assert part.data == CONTENT[begin : begin + length]
    assert part.total_bytes == len(CONTENT)


def test_many_come_in_order_on_few_connections(server: FaultServer, ranges: Ranges) -> None:
    parts = list(ranges.map(lambda number: ranges.read(url(server, number), number, number + 10), range(40)))
    assert [each.data for each in parts] == [CONTENT[number : number + 10] for number in range(40)]
    assert ranges.requests == 40
    assert ranges.received_bytes == 400


@pytest.mark.parametrize("fault", ["503 once", "close once", "cut once"])
def test_what_passes_is_asked_again(server: FaultServer, ranges: Ranges, fault: str) -> None:
    server.faults["0.dcm"] = fault
    assert ranges.read(url(server), 0, 100_000).data == CONTENT
    assert server.gets["0.dcm"] == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("404", "does not exist"),
        ("403", "without signing in"),
        ("cut", "cannot be reached"),
        ("unsized", "sends no parts"),
        ("400", "answered 400"),
    ],
)
def test_what_stays_is_told_in_a_sentence(
    server: FaultServer, ranges: Ranges, fault: str, words: str
) -> None:
    server.faults["0.dcm"] = fault
    with pytest.raises(dd.NetworkError, match=words):
        ranges.read(url(server), 0, 100)


def test_a_large_object_without_parts_is_refused(server: FaultServer) -> None:
    server.faults["0.dcm"] = "whole"
    with Ranges(NetworkSettings(), most_bytes=99_999) as ranges:
        with pytest.raises(dd.NetworkError, match=r"100.0 kB of it.*--max-bytes"):
            ranges.read(url(server), 0, 100)
    assert ranges.received_bytes == 0


def test_another_version_is_noticed(server: FaultServer, ranges: Ranges) -> None:
    etag = ranges.read(url(server), 0, 10).etag
    assert ranges.read(url(server), 10, 20, etag).data == CONTENT[10:20]
    with pytest.raises(dd.NetworkError, match="was replaced while it was read"):
        ranges.read(url(server), 10, 20, "another")


def test_a_store_that_ignores_if_match_is_noticed_by_its_etag(tmp_path: Path) -> None:
    """rclone answers a range with status 200 and ignores If-Match."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.dcm").write_bytes(CONTENT)
    process, endpoint_url = serve_rclone(tmp_path)
    try:
        with Ranges(NetworkSettings(endpoint_url=endpoint_url)) as ranges:
            part = ranges.read(f"{endpoint_url}/bucket/a.dcm", 500, 1500)
            assert part.data == CONTENT[500:1500]
            assert ranges.received_bytes == 1000
            with pytest.raises(dd.NetworkError, match="was replaced"):
                ranges.read(f"{endpoint_url}/bucket/a.dcm", 500, 1500, "another")
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("endpoint_url", "words"),
    [("http://127.0.0.1:9", "nothing listens"), ("http://no-such-host.invalid", "does not resolve")],
)
def test_why_nothing_is_reached_is_told(endpoint_url: str, words: str) -> None:
    with (
        Ranges(NetworkSettings(endpoint_url=endpoint_url)) as ranges,
        pytest.raises(dd.NetworkError, match=words),
    ):
        ranges._many._retrying = retrying(0)
        ranges.read(f"{endpoint_url}/a", 0, 1)


def test_files_on_the_disk_are_read_alike(tmp_path: Path, ranges: Ranges) -> None:
    (tmp_path / "a.dcm").write_bytes(CONTENT)
    part = ranges.read(str(tmp_path / "a.dcm"), 99_990, 200_000)
    assert (part.data, part.total_bytes) == (CONTENT[99_990:], 100_000)
    with pytest.raises(dd.StorageError, match="cannot be read"):
        ranges.read(str(tmp_path / "b.dcm"), 0, 1)
