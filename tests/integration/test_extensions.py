"""A package that is installed beside this one adds a source, an engine, a command and an option by entry points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import PROGRAM

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"
MORE = """
import click
from dataset_dl.doors import Extension

SOURCE = WardSource()


def engine(settings, network):
    return WardEngine()


@click.command()
def ward():
    "Say how the ward is."
    click.echo("The ward is quiet.")


class Saying:
    def __init__(self, word):
        self.word = word

    def __call__(self, event):
        if isinstance(event, SeriesCompleted):
            print(self.word, event.series.key)


OPTION = Extension("--say", help="A word for each series.", metavar="WORD", multiple=True,
                   observers=lambda words: [Saying(word) for word in words])
"""
ENTRY_POINTS = """
[dataset_dl.sources]
ward = ward_archive:SOURCE

[dataset_dl.engines]
ward.ward = ward_archive:engine

[dataset_dl.commands]
ward = ward_archive:ward
idc.ward = ward_archive:ward

[dataset_dl.options]
idc.download.say = ward_archive:OPTION
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ward of docs/extending.md, as a package that is installed."""
    folder = tmp_path_factory.mktemp("site")
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "ward_archive.py").write_text("\n".join(blocks[:-1]) + MORE)
    metadata = folder / "ward_archive-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ward-archive\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def run(package: Path, cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        cwd=cwd, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_adds_commands(package: Path, tmp_path: Path) -> None:
    for words in (["ward"], ["idc", "ward"]):
        assert run(package, tmp_path, *words).stdout == "The ward is quiet.\n"
        assert "Say how the ward is." in run(package, tmp_path, *words[:-1], "--help").stdout


def test_it_adds_an_option_a_source_and_an_engine(package: Path, tmp_path: Path) -> None:
    assert "--say WORD" in run(package, tmp_path, "idc", "download", "--help").stdout
    done = run(package, tmp_path, "idc", "download", "ward://all", "--to", "to", "--say", "a", "--say", "b")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line[:2] in ("a ", "b ")] == [
        "a head-1", "b head-1", "a head-2", "b head-2",
    ]  # fmt: skip
    assert run(package, tmp_path, "idc", "verify", "to").returncode == 0
    wrong = run(package, tmp_path, "idc", "download", "ward://all", "--to", "x", "--engine", "other")
    assert wrong.returncode == 2
    assert "no engine “other”" in wrong.stderr


def test_without_it_nobody_knows_of_it(tmp_path: Path) -> None:
    assert "There is no command “ward”" in run(tmp_path, tmp_path, "ward").stderr
    done = run(tmp_path, tmp_path, "idc", "download", "ward://all", "--to", "to")
    assert (done.returncode, "No installed source handles" in done.stderr) == (2, True)
