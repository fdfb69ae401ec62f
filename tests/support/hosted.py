"""The server for several people, as a program of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from support.cli import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
# Of ADIT (AGPL): only here, only run; its newest version calls for Python 3.12, but works with 3.11.
_ADIT = "adit-client==0.52.0"


@dataclass
class Hosted:
    """A running server."""

    child: subprocess.Popen[str]
    address: str

    def session(self, token: str) -> requests.Session:
        made = requests.Session()
        made.headers["Authorization"] = f"Token {token}"
        return made


@contextmanager
def hosted(root: Path, environment: Mapping[str, str], *options: str) -> Iterator[Hosted]:
    """Run the server; accounts must be there."""
    command = [
        str(PROGRAM),
        "web",
        "--host",
        "127.0.0.1",
        "--name",
        "localhost",
        "--root",
        str(root),
        *options,
    ]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    said: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            said.append(line)
            if re.search(r"https?://\S+", line):
                ready.set()

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        deadline = time.monotonic() + 60
        while not ready.wait(0.1):
            assert child.poll() is None and time.monotonic() < deadline, "".join(said)
        found = re.search(r"https?://[^\s/]+", "".join(said))
        assert found
        yield Hosted(child, found[0])
    finally:
        child.terminate()
        child.wait(30)
        reading.join(10)
        if child.stdout is not None:
            child.stdout.close()


def adit_client() -> Path:
    """Return a directory with ADIT's client, which is fetched once."""
    place = ROOT / ".cache" / "adit-client"
    if not (place / "adit_client").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run(
            [*command, "--ignore-requires-python", "--target", place, _ADIT, "dicognito"], check=True
        )
    return place
