"""A stand-in for NBIA with two series that IDC does not have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.uid import generate_uid

from dataset_dl.testing.nbia import LocalNbia
from support.dicoms import encoded, slice_of

COUNT = 12


def made(count: int = COUNT, pixels: int = 64) -> dict[str, bytes]:
    """The files of a series, by SOPInstanceUID."""
    series, study = generate_uid(), generate_uid()
    chance = np.random.default_rng(1)
    found = {}
    for number in range(count):
        values = chance.integers(0, 4000, (pixels, pixels)).astype(np.int16)
        each = slice_of(
            (0, 0, float(number)), values=values, SeriesInstanceUID=series, StudyInstanceUID=study, PatientID="P-1",
            Modality="CT",
        )  # fmt: skip
        found[str(each.SOPInstanceUID)] = encoded(each)
    return found


@pytest.fixture
def nbia(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNbia]:
    """Two series that IDC does not have."""
    server = LocalNbia(collection="LOCAL")
    for _ in range(2):
        for data in made().values():
            server.add(data)
    with server:
        monkeypatch.setenv("DATASET_DL_NBIA_URL", server.url)
        yield server
