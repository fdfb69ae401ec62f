"""From NBIA, and to XNAT, beside what people script today: curl, unzip and zip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row, Run
from dataset_dl.xnat.sending import Zip, instances_of
from support.series import downloaded

_FILES, _PIXELS = 60, 512
_DELAY_SECONDS = 0.05
# NBIA deflates each zip while it sends it; a core does so much (docs/performance.md).
_ZIP_MBPS = 29.0
_AT_ONCE = """
set -eu
cd "$1"
printf '%s\\n' $2 | xargs -P 4 -n 1 sh -c '
    curl -sf -o $1.zip "$0/nbia-api/services/v4/getImage?SeriesInstanceUID=$1&NewFileNames=Yes&IncludeMD5=Yes"
    mkdir $1 && unzip -q $1.zip -d $1 && rm $1.zip' "$3"
"""
# One series after the other: fetched, unpacked, zipped again without what XNAT would not take, sent, archived.
_SERIAL = """
set -eu
cd "$1"
for uid in $2; do
    curl -sf -o in.zip "$3/nbia-api/services/v4/getImage?SeriesInstanceUID=$uid&NewFileNames=Yes&IncludeMD5=Yes"
    rm -rf series && mkdir series && unzip -q in.zip -d series && rm series/LICENSE series/md5hashes.csv
    rm -f out.zip && (cd series && zip -q -r ../out.zip .)
    uri=$(curl -sf -u ward:key -H 'Content-Type: application/zip' --data-binary @out.zip \
        "$4/data/services/import?import-handler=DICOM-zip&inbody=true&dest=/prearchive/projects/WARD&session=$uid" \
        | tr -d '\\r')
    curl -s -o /dev/null -u ward:key -X POST "$4/data$uri?action=commit&AA=true"
done
"""
_SEND = """
import sys
import time
from pathlib import Path
from dataset_dl.network import NetworkSettings
from dataset_dl.xnat.project import Account, Project
from dataset_dl.xnat.sending import Zip, batches, instances_of
from dataset_dl.xnat.service import Xnat
xnat = Xnat(NetworkSettings.gather(), Project.of(sys.argv[1]), Account("ward", "key"))
xnat.log_in()
paths = sorted(Path(sys.argv[2]).rglob("*.dcm"))
b"".join(Zip(instances_of(paths[:1], None)))
began = time.monotonic()
for each in batches(instances_of(paths, None)):
    xnat.send(each, "S", sys.argv[3])
print(time.monotonic() - began)
"""


def rows(scratch: Path, *, times: int, full: bool) -> Iterator[Row]:
    """Each from the command to its end."""
    root = scratch / "deliver"
    root.mkdir()
    for count, mbps, work, bound in (
        (24, _ZIP_MBPS, "NBIA: 24 series, 750 MB, zipped while sent", 1.15),
        (12, 0.0, "NBIA: 12 series, 380 MB, zipped before", None),
    ):
        with _server("nbia", count, _FILES, _PIXELS, 0.0, mbps) as nbia:
            ours, theirs = measure.repeat(
                times, lambda: _unpacked(root, nbia), lambda: _script(root, _AT_ONCE, nbia, nbia["url"])
            )
        yield Row(work, "seconds", ours.seconds, theirs.seconds, "curl and unzip", bound)
    with _server("xnat", 0.0) as xnat:
        yield from _uploads(root, xnat, times)
    with _server("xnat", 0.0) as xnat:
        yield _memory(root, xnat, 8_000 if full else 2_000)
    with (
        _server("nbia", 20, _FILES, _PIXELS, _DELAY_SECONDS, _ZIP_MBPS) as nbia,
        _server("xnat", _DELAY_SECONDS) as xnat,
    ):
        ours, theirs = measure.repeat(
            times,
            lambda: _delivered(root, nbia, xnat),
            lambda: _script(root, _SERIAL, nbia, nbia["url"], xnat["url"]),
        )
    yield Row(
        "20 series, NBIA to XNAT, 50 ms", "series a second", 20 / ours.seconds, 20 / theirs.seconds,
        "download, zip, upload", 3.0, more_is_better=True,
    )  # fmt: skip
    shutil.rmtree(root)


@contextmanager
def _server(*words: object) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.servers", *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _environment(root: Path, *, nbia: str = "", xnat: str = "") -> dict[str, str]:
    shutil.rmtree(root / "state", ignore_errors=True)
    return {
        "DATASET_DL_NBIA_URL": nbia, "XNAT_HOST": xnat, "XNAT_USER": "ward", "XNAT_PASS": "key",
        "DATASET_DL_STATE": str(root / "state"),
    }  # fmt: skip


def _unpacked(root: Path, nbia: dict[str, Any]) -> Run:
    shutil.rmtree(root / "ours", ignore_errors=True)
    words = ["-m", "dataset_dl", "tcia", "download", *nbia["uids"], "--to", root / "ours"]
    run = measure.python(words, environment=_environment(root, nbia=nbia["url"]))
    assert len(list((root / "ours").rglob("*.dcm"))) == len(nbia["uids"]) * _FILES
    return run


def _script(root: Path, script: str, nbia: dict[str, Any], *urls: str) -> Run:
    shutil.rmtree(root / "theirs", ignore_errors=True)
    (root / "theirs").mkdir()
    return measure.command(["sh", "-c", script, "script", root / "theirs", " ".join(nbia["uids"]), *urls])


def _delivered(root: Path, nbia: dict[str, Any], xnat: dict[str, Any]) -> Run:
    shutil.rmtree(root / "ours", ignore_errors=True)
    # Another session than in any run before, so that everything is sent.
    session = f"s{time.monotonic_ns()}-%25StudyInstanceUID"
    words = [
        "-m", "dataset_dl", "tcia", "download", *nbia["uids"], "--to", root / "ours", "--evict",
        "--then", f"xnat:WARD?session={session}",
    ]  # fmt: skip
    return measure.python(words, environment=_environment(root, nbia=nbia["url"], xnat=xnat["url"]))


def _uploads(root: Path, xnat: dict[str, Any], times: int) -> Iterator[Row]:
    data, zipped = root / "series", root / "series.zip"
    downloaded(data, [("P", "1.2", "1.2.3", 1)], pixels=512)
    _many(data, 800)
    with zipped.open("wb") as file:
        file.writelines(Zip(instances_of(sorted(data.rglob("*.dcm")), None)))
    ours, theirs = measure.repeat(
        times,
        lambda: _sent(["-c", _SEND, f"{xnat['url']}/WARD", data, _label()], root, xnat),
        lambda: measure.command([
            "curl", "-sf", "-o", os.devnull, "-u", "ward:key", "-H", "Content-Type: application/zip", "-T", zipped,
            "-X", "POST", f"{xnat['url']}/data/services/import?import-handler=DICOM-zip&inbody=true"
            f"&dest=/prearchive/projects/WARD&project=WARD&session={_label()}",
        ]),
    )  # fmt: skip
    yield Row("a series of 420 MB to XNAT", "seconds", ours.seconds, theirs.seconds, "curl of the zip", 1.1)
    zipped.unlink()


def _sent(words: list[Any], root: Path, xnat: dict[str, Any]) -> Run:
    """Time the sending alone: a run sends many series after it has started and loaded its modules."""
    run = measure.python(words, environment=_environment(root, xnat=xnat["url"]))
    return replace(run, seconds=float(run.stdout))


def _memory(root: Path, xnat: dict[str, Any], files: int) -> Row:
    data = root / "series"
    shutil.rmtree(data, ignore_errors=True)
    downloaded(data, [("P", "1.2", "1.2.3", files)], pixels=512)
    words = ["-m", "dataset_dl", "xnat", "deliver", data, "--to", "xnat:WARD"]
    run = measure.python(words, environment=_environment(root, xnat=xnat["url"]))
    shutil.rmtree(data)
    size_gb = files * 0.524288 / 1000
    return Row(f"a series of {size_gb:.1f} GB to XNAT", "MB resident", run.peak_mb, 150, "target", 1.0)


def _many(data: Path, count: int) -> None:
    """Make more slices of the series that is there."""
    from support.dicoms import encoded, slice_of

    (first,) = data.rglob("*.dcm")
    chance = np.random.default_rng(1)
    for number in range(2, count + 1):
        values = chance.integers(0, 4000, (512, 512)).astype(np.int16)
        made = slice_of(
            (0, 0, float(number)), values=values, SOPInstanceUID=f"1.2.3.{number}", SeriesInstanceUID="1.2.3",
            StudyInstanceUID="1.2", PatientID="P", SeriesNumber=1,
        )  # fmt: skip
        first.with_name(f"{number}.dcm").write_bytes(encoded(made))


def _label() -> str:
    return f"s{time.monotonic_ns()}"
