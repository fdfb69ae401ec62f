"""Postgres of Debian, for one test run: in a directory of its own, on the loopback address."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.orthanc import free_port

_START_SECONDS = 30.0


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server with an empty database; yield its address."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    who = pwd.getpwnam("postgres")
    place = Path(tempfile.mkdtemp(prefix="dataset-dl-postgres-"))
    os.chown(place, who.pw_uid, who.pw_gid)
    port = free_port()
    run = {"user": "postgres", "group": who.pw_gid, "cwd": place, "stdout": subprocess.DEVNULL}
    subprocess.run(
        [programs / "initdb", "-D", place / "data", "-A", "trust", "-U", "postgres", "-N"], check=True, **run
    )
    options = f"-k {place} -c listen_addresses=127.0.0.1 -c port={port} -c fsync=off"
    server = subprocess.Popen(
        [programs / "postgres", "-D", place / "data", *options.split()], stderr=subprocess.DEVNULL, **run
    )
    try:
        _wait(programs, port)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(place, ignore_errors=True)


def _wait(programs: Path, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while subprocess.run(
        [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
    ).returncode:
        assert time.monotonic() < deadline, "Postgres has not started"
        time.sleep(0.1)
