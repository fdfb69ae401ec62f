"""What the tests stand on: a command run in this process is the command of a process."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import pytest

from support import quick_index
from support.cli import Cli


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["idc", "--help"],
        ["idc", "columns", "idc_index"],
        ["idc", "download", "qin_pet_phantom", "--to", "d", "--json", "--workers", "0"],
        ["idc", "download", "nosuch\x1b[2J", "--to", "d"],
        ["idc", "collections", "--search", "phantom"],
        ["idc", "manifest", "m.s5cmd", "-o", "p.csv"],
        ["idc", "verify", "nowhere"],
        ["idc", "cite", "-", "--offline"],
    ],
)
def test_it_says_and_ends_as_a_process_does(cli: Cli, words: list[str]) -> None:
    uuid = "085e85b3-3780-47f6-8538-585bcca95336"
    (cli.directory / "m.s5cmd").write_text(f"the column\ncp s3://idc-open-data/{uuid}/* .\n")
    made = cli(*words, stdin=uuid)
    (cli.directory / "p.csv").unlink(missing_ok=True)
    assert made == cli.process(*words, stdin=uuid)


def test_it_leaves_this_process_as_it_was(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> tuple[object, ...]:
        streams = sys.stdin, sys.stdout, sys.stderr
        handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return Path.cwd(), dict(os.environ), streams, handlers, list(warnings.filters), warnings.showwarning

    before = state()
    assert cli("idc", "nonsense", env={"DATASET_DL_CACHE": str(cli.directory)}).code == 2
    assert state() == before


def test_the_quick_tables_hold_what_is_published(cli: Cli) -> None:
    assert quick_index._is_ours(quick_index._published())
    published = Cli(cli.directory, quick_index.environment_without())
    question = [
        "idc",
        "query",
        "SELECT count(*), count(DISTINCT crdc_series_uuid), sum(hash(idc_index)) FROM idc_index",
    ]
    assert cli(*question) == published.process(*question)
