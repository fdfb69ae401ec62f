"""A package of a stranger, with consumers, that every process finds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_MODULE = '''
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dataset_dl.errors import NetworkError, StorageError


class Copies:
    """Writes a file for each series, and fails as its options say."""

    def __init__(self, request):
        request.refuse("slow", "fails", "tag")
        self.name = f"copies:{request.where}"
        self.options = dict(request.options)
        self._target = Path(request.where)
        self._target.mkdir(parents=True, exist_ok=True)

    def take(self, series):
        key = series.planned.key
        print("a consumer may print")
        time.sleep(float(self.options.get("slow", "0")))
        how = self.options.get("fails", "")
        marker = self._target / f"tried-{key}"
        if how == "reads":
            assert sys.stdin.read() == ""
        if how == "forks":
            subprocess.Popen(["sleep", "5"])
        if how == "always":
            raise ValueError("the other side refuses it")
        if how == "full":
            raise StorageError("/x", "The other disk is full.", "Make room.")
        if how in ("once", "killed") and not marker.exists():
            marker.touch()
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise NetworkError("x", "The other side does not answer.")
        size = sum(path.stat().st_size for path in series.paths)
        with (self._target / key).open("a") as file:
            file.write(f"{size}\\n")
        return {"bytes": size}
'''


def install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install it for this test and the processes that it starts."""
    package = directory / "stranger-1.0.dist-info"
    package.mkdir(parents=True)
    (directory / "stranger_consumers.py").write_text(_MODULE)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[dataset_dl.consumers]\ncopies = stranger_consumers:Copies\n")
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]))
    from dataset_dl.doors import CONSUMERS

    monkeypatch.setattr(CONSUMERS, "_found", None)
    monkeypatch.setattr(CONSUMERS, "_loaded", {})
    sys.modules.pop("stranger_consumers", None)
