from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataset_dl.destination import disk, lock, paths
from dataset_dl.errors import InsufficientDiskSpace, StorageError


def test_a_destination_may_not_exist_yet(tmp_path: Path) -> None:
    disk.check(tmp_path / "a" / "b")
    assert disk.free_bytes(tmp_path / "a" / "b") > 0
    assert not (tmp_path / "a").exists()


def test_what_is_needed_has_a_margin() -> None:
    assert disk.needed_bytes(0, 0) == 0
    assert disk.needed_bytes(10**9, 1000) > 10**9 * 1.01


def test_too_little_space(tmp_path: Path) -> None:
    with pytest.raises(InsufficientDiskSpace):
        disk.check_space(tmp_path, 10**18, 1)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    paths.prepare(tmp_path)
    with lock.hold(tmp_path):
        with pytest.raises(StorageError, match=f"process {os.getpid()} on") as caught:
            with lock.hold(tmp_path):
                pass
        assert caught.value.exit_code == 5
    with lock.hold(tmp_path):
        pass


def test_the_hold_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    paths.prepare(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from dataset_dl.destination.lock import hold\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match=f"process {other.pid} on"):
            with lock.hold(tmp_path):
                pass
        other.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with lock.hold(tmp_path):
                return
        except StorageError:
            time.sleep(0.05)
    pytest.fail("the lock outlived its owner")
