"""Verification against a bare walk, and checksums against md5sum."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.again import generated
from benchmarks.measure import Row

_VERIFY = """
import sys, time
from dataset_dl import verify
began = time.monotonic()
assert verify(sys.argv[1]).ok
print(time.monotonic() - began)
"""
_WALK = """
import os, sys, time
began = time.monotonic()
def walk(directory):
    count = size = 0
    folders = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                size += entry.stat(follow_symlinks=False).st_size
                count += 1
    for each in folders:
        more = walk(each)
        count, size = count + more[0], size + more[1]
    return count, size
walk(sys.argv[1])
print(time.monotonic() - began)
"""
_MD5 = """
import os, sys, time
from pathlib import Path
from dataset_dl.destination import checksums
from dataset_dl.model.series import StoredObject
began = time.monotonic()
paths = sorted(Path(sys.argv[1]).rglob("*.dcm"))
outcomes = list(checksums.compare((path, StoredObject(path.name, path.stat().st_size, "0" * 32)) for path in paths))
assert len(outcomes) == len(paths)
print(time.monotonic() - began)
"""


def rows(scratch: Path, *, times: int) -> Iterator[Row]:
    """100,000 files by size, 2.7 GB by MD5."""
    root = scratch / "check"
    root.mkdir()
    tree = generated(root, 1000, 100)
    ours, walk = measure.repeat(
        times,
        lambda: _told(measure.python(["-c", _VERIFY, tree])),
        lambda: _told(measure.python(["-c", _WALK, tree])),
    )
    yield Row("verify 100,000 files by size", "seconds", ours.seconds, walk.seconds, "bare scandir walk", 1.5)
    large = root / "large"
    for number in range(40):
        path = large / f"{number}" / "x.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(1 << 20) * 64)
    cores = os.cpu_count() or 1
    command = f"find {large} -name '*.dcm' -print0 | xargs -0 -n 1 -P {cores} md5sum"
    ours, theirs = measure.repeat(
        times,
        lambda: _told(measure.python(["-c", _MD5, large])),
        lambda: measure.command(["sh", "-c", command]),
    )
    yield Row("2.7 GB by MD5", "MB a second", 2684 / ours.seconds, 2684 / theirs.seconds,
              f"md5sum, {cores} at once", 0.8, True)  # fmt: skip


def _told(run: measure.Run) -> measure.Run:
    return measure.Run(float(run.stdout), run.cpu_seconds, 0.0, run.peak_mb, "")
