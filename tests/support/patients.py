"""Files of invented patients, as scanners and discs hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.dicoms import encoded, slice_of


def write_series(
    directory: Path,
    patient: str,
    study: str,
    series: str,
    count: int,
    *,
    pixels: int = 32,
    **elements: object,
) -> list[Path]:
    """Write the files of a series; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    given = {
        "PatientID": patient, "PatientName": f"DOE^{patient}", "StudyInstanceUID": study,
        "SeriesInstanceUID": series, "StudyDate": "20240115", "StudyTime": "101500", "AccessionNumber": f"A{patient}",
        "StudyID": "1", "SeriesNumber": "1", "StudyDescription": "Thorax", "SeriesDescription": "axial", **elements,
    }  # fmt: skip
    paths = []
    for number in range(1, count + 1):
        made = slice_of(
            (0, 0, 2.0 * number), values=np.full((pixels, pixels), number, np.int16),
            **{"SOPInstanceUID": f"{series}.{number}", "InstanceNumber": number, **given},
        )  # fmt: skip
        path = directory / f"{series}.{number}.dcm"
        path.write_bytes(encoded(made))
        paths.append(path)
    return paths
