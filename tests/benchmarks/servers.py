"""Stand-ins for NBIA and XNAT in a process of their own, so that their work is not ours.

python -m benchmarks.servers nbia SERIES FILES PIXELS DELAY MBPS | xnat DELAY; says where it is, and ends with its input.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from pydicom.uid import generate_uid

from dataset_dl.testing.nbia import LocalNbia
from dataset_dl.testing.xnat import LocalXnat
from support.dicoms import encoded, slice_of


def _nbia(series: int, files: int, pixels: int, delay: float, mbps: float) -> LocalNbia:
    server = LocalNbia(delay_seconds=delay, zip_mbps=mbps or None)
    for number in range(series):
        chance = np.random.default_rng(number)
        uid, study = generate_uid(), generate_uid()
        smooth = np.cumsum(chance.integers(-8, 9, (pixels, pixels)), axis=1)
        for each in range(files):
            values = (smooth + chance.integers(0, 64, (pixels, pixels))).astype(np.int16)
            made = slice_of(
                (0, 0, float(each)), values=values, SeriesInstanceUID=uid, StudyInstanceUID=study,
                PatientID=f"P-{number}", SeriesNumber=1, InstanceNumber=each,
            )  # fmt: skip
            server.add(encoded(made))
    server.keep_zips()
    return server


def main() -> None:
    """Serve until standard input ends."""
    kind, *values = sys.argv[1:]
    if kind == "nbia":
        series, files, pixels = map(int, values[:3])
        server: LocalNbia | LocalXnat = _nbia(series, files, pixels, float(values[3]), float(values[4]))
    else:
        server = LocalXnat("WARD", delay_seconds=float(values[0]))
    with server:
        uids = list(server.series) if isinstance(server, LocalNbia) else []
        print(json.dumps({"url": server.url, "uids": uids}), flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main()
