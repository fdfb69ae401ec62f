"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sysconfig.get_path("scripts")) / "dataset-dl"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(
        self, *arguments: object, stdin: str | bytes = b"", env: dict[str, str] | None = None
    ) -> Outcome:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=self.directory,
            env=os.environ | (env or {}),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=90,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
