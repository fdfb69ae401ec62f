"""Thumbnails, volumes and a bounded stream, beside what a user would write or run instead.

The peer for thumbnails is the usual script: read the file, `pixel_array`, modality LUT, VOI LUT, 8 bits, shrink, PNG;
for several frames it reads the file again for each. MONAI is measured where `bin/test training` has installed it,
and dcmj2pnm where dcmtk is on the machine.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.uid import JPEG2000Lossless

from benchmarks import measure
from benchmarks.measure import Row, Run
from benchmarks.moves import real_series
from benchmarks.stores import Store, fill, serve
from dataset_dl.plans.file import PlanFile
from support.corporate import Authority
from support.dicoms import compressed, corpus, encoded, saved, slice_of

_MONAI = Path(__file__).parents[2] / ".cache" / "training" / "bin" / "python"
_OURS = """
import sys
from pathlib import Path
from dataset_dl.thumbnails.making import Maker
from dataset_dl.thumbnails.settings import Settings
root, out, draft = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "draft"
made = Maker(root, out, Settings(draft=draft)).make(sorted(root.iterdir()))
assert all(not row.cause for row in made.rows), made.rows[0]
print(len(made.rows))
"""
_PEER = """
import sys
from pathlib import Path
import numpy as np, pydicom
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
root, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
count = 0
for path in sorted(root.iterdir()):
    frames = int(pydicom.dcmread(path, stop_before_pixels=True).get("NumberOfFrames", 1)) if sys.argv[3] == "frames" else 1
    for number in range(frames):
        found = pydicom.dcmread(path)
        array = found.pixel_array
        array = array[number] if array.ndim == 3 else array
        values = apply_voi_lut(apply_modality_lut(array, found), found).astype(float)
        low, high = values.min(), values.max()
        picture = Image.fromarray(((values - low) / max(high - low, 1) * 255).astype(np.uint8))
        picture.thumbnail((256, 256))
        picture.save(out / f"{path.stem}-{number}.png")
        count += 1
print(count)
"""
_IMPORTS = {
    "ours": "import dataset_dl.thumbnails.making, imagecodecs, dataset_dl.pixels.codecs",
    "peer": "import numpy, pydicom, PIL.Image, pydicom.pixels.processing",
}
_VOLUME = """
import sys
import dataset_dl
found = dataset_dl.volume(sys.argv[1])
print(found.array.dtype, found.array.shape)
"""
_SIMPLE_ITK = """
import sys
import SimpleITK
reader = SimpleITK.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames(sys.argv[1]))
found = SimpleITK.GetArrayFromImage(reader.Execute())
print(found.dtype, found.shape)
"""
_PYDICOM_READER = """
import sys
from monai.data import PydicomReader
reader = PydicomReader()
found, _ = reader.get_data(reader.read(sys.argv[1]))
print(found.dtype, found.shape)
"""
_STREAM = """
import json, sys, time
import dataset_dl as dd
orders = json.loads(sys.argv[1])
plan = dd.plan(orders["plan"])
began, first, count = time.monotonic(), None, 0
for series in dd.stream(
    plan, orders["into"], endpoint_url=orders["endpoint"], engine=orders["engine"], **orders["bound"]
):
    count += series.planned.size_bytes
print(json.dumps(count / (time.monotonic() - began)))
"""


def rows(scratch: Path, *, times: int) -> Iterator[Row]:
    """All of them."""
    root = scratch / "images"
    yield from _thumbnails(root, times)
    yield from _volumes(root, times)
    yield from _streams(root, times)


def _thumbnails(root: Path, times: int) -> Iterator[Row]:
    loads = {
        "raw": (_ct(root / "raw", 400), "exact", ""),
        "JPEG 2000": (_jpeg_2000(root / "j2k", 100), "exact", ""),
        "JPEG 2000, draft": (root / "j2k", "draft", ""),
        "objects of 30 frames": (_frames(root / "frames", 6), "exact", "frames"),
    }
    nothing = {name: measure.python(["-c", code]) for name, code in _IMPORTS.items()}
    for work, (files, exact, kind) in loads.items():
        ours, peer = measure.repeat(
            times,
            lambda files=files, exact=exact: _fresh(root, _OURS, files, exact),  # type: ignore[misc]
            lambda files=files, kind=kind: _fresh(root, _PEER, files, kind),  # type: ignore[misc]
        )
        rates = [
            int(run.stdout) / (run.cpu_seconds - nothing[name].cpu_seconds)
            for run, name in ((ours, "ours"), (peer, "peer"))
        ]
        bound = None if work == "JPEG 2000" else 2.0
        yield Row(f"thumbnails, {work}", "images a CPU second", *rates, "script", bound, True)
        yield Row(f"thumbnails, {work}", "memory MB", ours.peak_mb, 400, "target", 1.0)
    if shutil.which("dcmj2pnm"):
        files = root / "raw"
        ours, peer = measure.repeat(
            times, lambda: _fresh(root, _OURS, files, "exact"), lambda: _dcmtk(root, files)
        )
        rates = [
            int(ours.stdout) / (ours.cpu_seconds - nothing["ours"].cpu_seconds),
            len(list(files.iterdir())) / peer.cpu_seconds,
        ]
        yield Row("thumbnails, raw", "images a CPU second", *rates, "dcmj2pnm", 5.0, True)


def _fresh(root: Path, code: str, files: Path, kind: str) -> Run:
    shutil.rmtree(root / "out", ignore_errors=True)
    return measure.python(["-c", code, files, root / "out", kind])


def _dcmtk(root: Path, files: Path) -> Run:
    shutil.rmtree(root / "out", ignore_errors=True)
    (root / "out").mkdir()
    line = f'for file in {files}/*; do dcmj2pnm --write-png --use-window 1 --scale-x-size 256 "$file" {root}/out/$(basename "$file").png; done'
    return measure.command(["sh", "-c", line])


def _volumes(root: Path, times: int) -> Iterator[Row]:
    files = _ct(root / "volume", 300)
    ours, peer = measure.repeat(
        times,
        lambda: measure.python(["-c", _VOLUME, files]),
        lambda: measure.python(["-c", _SIMPLE_ITK, files]),
    )
    yield Row("volume of 300 slices", "CPU s", ours.cpu_seconds, peer.cpu_seconds, "SimpleITK", 1.2)
    yield Row("volume of 300 slices", "memory MB", ours.peak_mb, peer.peak_mb, "SimpleITK")
    if _MONAI.exists():
        ours, peer = measure.repeat(
            times,
            lambda: measure.python(["-c", _VOLUME, files]),
            lambda: measure.python(["-c", _PYDICOM_READER, files], interpreter=_MONAI),
        )
        yield Row("volume of 300 slices", "CPU s", ours.cpu_seconds, peer.cpu_seconds, "MONAI", 0.3)
        yield Row("volume of 300 slices", "memory MB", ours.peak_mb, peer.peak_mb, "MONAI", 0.3)


def _streams(root: Path, times: int) -> Iterator[Row]:
    """60 series of 80 objects of 512 KiB from the fastest store there is here, over TLS."""
    rows = fill(root / "store", real_series(60), [[512 << 10] * 80] * 60)
    plan = root / "plan.parquet"
    PlanFile.of(rows).plan(None).save(plan)
    total = sum(each.expected_bytes for each in rows)
    authority = Authority.make(root / "authority", "benchmark")
    with serve(root / "store", root / "tls", authority) as store:
        for engine in ("s5cmd", "curl"):

            def run(bound: dict[str, object], engine: str = engine, store: Store = store) -> Run:
                shutil.rmtree(root / "into", ignore_errors=True)
                orders = {
                    "plan": str(plan), "into": str(root / "into"), "endpoint": store.endpoint_url,
                    "engine": engine, "bound": bound,
                }  # fmt: skip
                return measure.python(["-c", _STREAM, json.dumps(orders)], environment=store.environment)

            bounded, unbounded = measure.repeat(
                times,
                functools.partial(run, {"evict": True, "disk_budget": total // 4}),
                functools.partial(run, {}),
            )
            rates = [json.loads(each.stdout) / 1e6 for each in (bounded, unbounded)]
            work = f"stream of {total / 1e9:.1f} GB in a quarter, {engine}"
            yield Row(work, "MB/s", *rates, "unbounded", 0.9, True)
            yield Row(work, "memory MB", bounded.peak_mb, 400, "target", 1.0)


def _ct(directory: Path, count: int) -> Path:
    """Slices of 512 × 512 pixels, made of a real one."""
    directory.mkdir(parents=True, exist_ok=True)
    found = _real()
    array = found.pixel_array
    for number in range(count):
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        found.ImagePositionPatient = [0, 0, 2.0 * number]
        found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        found.InstanceNumber = number
        found.PixelData = np.roll(array, number).tobytes()
        (directory / f"{number:04}.dcm").write_bytes(saved(found))
    return directory


def _real() -> pydicom.Dataset:
    (path,) = [each for each in corpus() if each.name == "693_UNCI.dcm"]
    return pydicom.dcmread(path)


def _jpeg_2000(directory: Path, count: int) -> Path:
    directory.mkdir(parents=True)
    array = np.clip(_real().pixel_array, 0, 4095).astype(np.uint16)
    for number in range(count):
        values = np.roll(array, number)
        made = slice_of(values=values, WindowWidth=400, WindowCenter=1064, SOPInstanceUID=f"1.2.3.{number}")
        packed = imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k", reversible=True)
        (directory / f"{number:04}.dcm").write_bytes(compressed(made, [packed], JPEG2000Lossless))
    return directory


def _frames(directory: Path, count: int) -> Path:
    directory.mkdir(parents=True)
    array = np.clip(_real().pixel_array, 0, 4095).astype(np.uint16)
    for number in range(count):
        values = np.concatenate([np.roll(array, number + place) for place in range(30)])
        made = slice_of(values=values, NumberOfFrames=30, SOPInstanceUID=f"1.2.3.{number}")
        made.Rows = 512
        (directory / f"{number}.dcm").write_bytes(encoded(made))
    return directory
