"""Series on disk as a download leaves them, for what takes them from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import numpy as np

import dataset_dl as dd
from dataset_dl.destination import paths
from dataset_dl.destination.records import Records
from dataset_dl.plans.file import PlanFile
from support.dicoms import encoded, slice_of
from support.plans import row

# Of each series: patient, study, series, number of files.
Wanted = Sequence[tuple[str, str, str, int]]


def downloaded(target: Path, wanted: Wanted, *, pixels: int = 8) -> list[dd.PlannedSeries]:
    """Write series and the records of their download; return their rows."""
    rows = []
    for number, (patient, study, series, count) in enumerate(wanted):
        directory = f"{patient}/{study}/{series}"
        (target / directory).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            made = slice_of(
                (0, 0, 2.0 * place), values=np.full((pixels, pixels), place, np.int16),
                SOPInstanceUID=f"{series}.{place + 1}", SeriesInstanceUID=series, StudyInstanceUID=study,
                PatientID=patient, InstanceNumber=place, SeriesNumber=number + 1, Modality="CT",
            )  # fmt: skip
            (target / directory / f"{place}.dcm").write_bytes(encoded(made))
        size = sum(path.stat().st_size for path in (target / directory).iterdir())
        rows.append(
            row(number)._replace(
                key=(key := str(uuid5(NAMESPACE_OID, series))),
                address=f"s3://idc-open-data/{key}/*",
                PatientID=patient,
                StudyInstanceUID=study,
                SeriesInstanceUID=series,
                Modality="CT",
                directory=directory,
                instanceCount=count,
                size_bytes=size,
            )
        )
    paths.prepare(target)
    with Records(target) as records:
        records.keep(PlanFile.of(rows).plan(target))
    return rows
