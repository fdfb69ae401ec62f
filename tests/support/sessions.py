"""Sessions in documents: run as printed, then compared with the printed output or written back.

`python -m support.sessions docs/tutorial.md` (with `tests` on the path) writes the current output.
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
# Output that differs between runs and machines.
_CHANGING = (
    (re.compile(r"[0-9.]+ (m?s|min)\b"), "4.2 s"),
    (re.compile(r"[0-9.]+ [kMG]B/s"), "17.0 MB/s"),
    (re.compile(r"[0-9.,]+ [kMGT]B free"), "512.0 GB free"),
)


class Step(NamedTuple):
    """A command or a program and its output; `place` is the position of the output in the document."""

    kind: str
    source: str
    printed: str
    place: tuple[int, int]


def steps(text: str) -> Iterator[Step]:
    """Yield every step of a document, in order; the output of a program is in its comments after `# →`."""
    for block in _BLOCK.finditer(text):
        start = block.start(2)
        if block[1] == "python":
            yield Step("python", block[2], "", (start, start))
            continue
        for step in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block[2], re.MULTILINE):
            place = start + step.start(2), start + step.end(2)
            yield Step("console", step[1], step[2].rstrip("\n") + "\n" if step[2].strip() else "", place)


def run(step: Step, directory: Path, env: dict[str, str]) -> str:
    """Run a step in a directory; return its output without the parts that change between runs."""
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
    """Return a text without the parts that change between runs."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text


def bucket(directory: Path) -> LocalBucket:
    """Return the bucket that the tutorial downloads from."""
    return LocalBucket("qin_lung_ct", where={"PatientID": ["R0259", "R0263"]}, directory=directory)


def renew(path: Path) -> None:
    """Write the current output of the steps into a document."""
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
