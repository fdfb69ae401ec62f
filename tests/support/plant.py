"""Plants each fault of `plants` in a copy of the code, and runs the tests that must notice it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support.plants import PLANTS, Plant

ROOT = Path(__file__).resolve().parents[2]


def main(words: list[str]) -> int:
    unnoticed = []
    for plant in PLANTS:
        if words and not any(word.lower() in plant.promise.lower() for word in words):
            continue
        noticed = is_noticed(plant)
        print(f"{'noticed    ' if noticed else 'NOT NOTICED'}  {plant.promise}", flush=True)  # noqa: T201
        if not noticed:
            unnoticed.append(plant)
    return 1 if unnoticed else 0


def is_noticed(plant: Plant) -> bool:
    """Return whether the tests run and fail with the fault planted."""
    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        copy = Path(scratch)
        for name in ("src", "tests", "docs", "bin", "third_party"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in ROOT.glob("*.*"):
            if path.is_file():
                shutil.copy(path, copy)
        file = copy / "src" / "dataset_dl" / plant.file
        file.write_text(planted(file.read_text(encoding="utf-8"), plant), encoding="utf-8")
        # Takes precedence over the editable install of the package.
        environment = os.environ | {"PYTHONPATH": str(copy / "src")}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *plant.tests]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        return done.returncode == 1 and " failed" in done.stdout


def planted(text: str, plant: Plant) -> str:
    """Return the code with the fault in it."""
    if text.count(plant.old) != 1:
        raise SystemExit(f"{plant.file} does not hold once: {plant.old.strip()}")
    return text.replace(plant.old, plant.new)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
