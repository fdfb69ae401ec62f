"""Sessions in documents: run as printed, compared with what is printed, or printed anew.

`python -m support.sessions docs/tutorial.md` (with `tests` on the path) writes what they print now.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM
from support.quick_index import environment_without

HOME = "/home/ada"
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What differs from run to run and from machine to machine.
_CHANGING = (
    (re.compile(r"[0-9.]+ (m?s|min)\b"), "4.2 s"),
    (re.compile(r"[0-9.]+ [kMG]B/s"), "17.0 MB/s"),
    (re.compile(r"[0-9.,]+ [kMGT]B free"), "512.0 GB free"),
)


class Step(NamedTuple):
    """A command, or a program, and what it prints; `place` is where that stands in the document."""

    kind: str
    source: str
    printed: str
    place: tuple[int, int]


def steps(text: str) -> Iterator[Step]:
    """Every step of a document, in its order; a program prints what its comments behind `# →` say."""
    for block in _BLOCK.finditer(text):
        start = block.start(2)
        if block[1] == "python":
            yield Step("python", block[2], "", (start, start))
            continue
        for step in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block[2], re.MULTILINE):
            place = start + step.start(2), start + step.end(2)
            yield Step("console", step[1], step[2].rstrip("\n") + "\n" if step[2].strip() else "", place)


def run(step: Step, directory: Path, env: dict[str, str]) -> str:
    """What a step prints when it is run in a directory, without what changes from run to run."""
    command: list[str | Path] = [sys.executable, "-c", step.source]
    if step.kind == "console":
        program, *arguments = shlex.split(step.source)
        command = [PROGRAM if program == "dataset-dl" else program, *arguments]
    done = subprocess.run(
        command, cwd=directory, env=environment_without() | env, capture_output=True, text=True, check=False
    )
    text = done.stdout if done.returncode == 0 else done.stdout + done.stderr
    return plain(text.replace(str(directory), HOME))


def plain(text: str) -> str:
    """A text without what changes from run to run."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text


def bucket(directory: Path) -> LocalBucket:
    """The store that the tutorial downloads from."""
    return LocalBucket("qin_lung_ct", where={"PatientID": ["R0259", "R0263"]}, directory=directory)


def renew(path: Path) -> None:
    """Write what the steps print now into a document."""
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch, bucket(Path(scratch) / "bucket") as served:
        home = Path(scratch) / "home"
        home.mkdir()
        printed = [
            (step, run(step, home, {"DATASET_DL_ENDPOINT_URL": served.endpoint_url})) for step in steps(text)
        ]
    for step, output in reversed(printed):
        if step.kind == "console":
            begin, end = step.place
            text = f"{text[:begin]}{output}\n{text[end:]}" if output else text[:begin] + text[end:]
    path.write_text(re.sub(r"\n\n```$", "\n```", text, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    renew(Path(sys.argv[1]))
