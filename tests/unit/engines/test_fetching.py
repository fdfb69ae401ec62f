"""The loop that fetches series, on real sockets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataset_dl.engines.curl.fetching import Fetching
from dataset_dl.engines.curl.pool import Pool
from dataset_dl.engines.curl.route import Route
from dataset_dl.engines.curl.tasks import Task
from dataset_dl.engines.curl.tuning import Tuning
from support.faults import serve


class Nobody:
    def file(self, key: str, path: str, size_bytes: int, *, proven: bool) -> None: ...
    def failed(self, key: str, cause: str, words: str) -> None: ...
    def tick(self, received_bytes: int, connections: int) -> None: ...


def test_while_there_is_enough_to_do_all_connections_count_as_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise their number would never be adapted."""
    directory = tmp_path / "store" / "bucket" / "series"
    directory.mkdir(parents=True)
    for number in range(200):
        (directory / f"{number}.dcm").write_bytes(os.urandom(1000))
    (tmp_path / "to").mkdir()
    monkeypatch.chdir(tmp_path / "to")
    seen: list[int] = []
    tuning = Tuning(4, 4)
    monkeypatch.setattr(tuning, "note", lambda now, received, completed, active: seen.append(active))
    with serve(tmp_path / "store") as server, Pool(Route(), 4, 10.0) as pool:
        server.each_nth = 1, "slow"
        tasks = [Task("series", "series", f"{server.endpoint_url}/bucket", "series/", 200)]
        Fetching(pool, iter(tasks), Nobody(), tuning).run()
    assert len(list((tmp_path / "to" / "series").iterdir())) == 200
    assert seen.count(4) > len(seen) / 2
