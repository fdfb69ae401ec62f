"""Series from NBIA beside what people script today: curl and unzip, four at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from benchmarks import measure
from benchmarks.measure import Row, Run
from dataset_dl.testing.nbia import LocalNbia
from support.dicoms import encoded, slice_of

_SERIES, _FILES, _PIXELS = 12, 60, 512
_SCRIPT = """
set -eu
cd "$1"
printf '%s\\n' $2 | xargs -P 4 -n 1 sh -c '
    curl -sf -o $1.zip "$0/nbia-api/services/v4/getImage?SeriesInstanceUID=$1&NewFileNames=Yes&IncludeMD5=Yes"
    mkdir $1 && unzip -q $1.zip -d $1 && rm $1.zip' "$3"
"""


def rows(scratch: Path, *, times: int) -> Iterator[Row]:
    """As a whole, from the command to files that are proven."""
    root = scratch / "nbia"
    root.mkdir()
    server = LocalNbia()
    for number in range(_SERIES):
        _add(server, number)
    server.keep_zips()
    with server:
        uids = list(server.series)
        environment = {"DATASET_DL_NBIA_URL": server.url, "DATASET_DL_STATE": str(root / "state")}
        ours, theirs = measure.repeat(
            times, lambda: _ours(root, uids, environment), lambda: _theirs(root, uids, server.url)
        )
    yield Row("NBIA: 12 series, 380 MB", "seconds", ours.seconds, theirs.seconds, "curl and unzip", 1.15)
    shutil.rmtree(root)


def _ours(root: Path, uids: list[str], environment: dict[str, str]) -> Run:
    shutil.rmtree(root / "ours", ignore_errors=True)
    words = ["-m", "dataset_dl", "tcia", "download", *uids, "--to", root / "ours"]
    run = measure.python(words, environment=environment)
    assert len(list((root / "ours").rglob("*.dcm"))) == _SERIES * _FILES
    return run


def _theirs(root: Path, uids: list[str], url: str) -> Run:
    shutil.rmtree(root / "theirs", ignore_errors=True)
    (root / "theirs").mkdir()
    began = time.monotonic()
    subprocess.run(
        ["sh", "-c", _SCRIPT, "script", root / "theirs", " ".join(uids), url],
        check=True,
        env=dict(os.environ),
    )
    seconds = time.monotonic() - began
    assert len(list((root / "theirs").rglob("*.dcm"))) == _SERIES * _FILES
    return Run(seconds, 0.0, 0.0, 0.0, "")


def _add(server: LocalNbia, number: int) -> None:
    chance = np.random.default_rng(number)
    series, study = generate_uid(), generate_uid()
    smooth = np.cumsum(chance.integers(-8, 9, (_PIXELS, _PIXELS)), axis=1)
    for each in range(_FILES):
        noise = chance.integers(0, 64, (_PIXELS, _PIXELS))
        values = (smooth + noise).astype(np.int16)
        made = slice_of(
            (0, 0, float(each)),
            values=values,
            SeriesInstanceUID=series,
            StudyInstanceUID=study,
            PatientID="P",
        )
        server.add(encoded(made))
