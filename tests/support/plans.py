"""Plans of given rows, and made-up rows."""

from __future__ import annotations

import uuid
from pathlib import Path

from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.file import PlanFile


def row(number: int = 0, *, directory: str | None = None, count: int = 2, size: int = 20) -> PlannedSeries:
    name = str(uuid.UUID(int=number))
    return PlannedSeries(
        "collection", "patient", f"1.2.{number}", f"1.2.{number}.1", "CT", "CC BY 4.0", "10.7937/x", name,
        f"s3://idc-open-data/{name}/*", f"d/{number}" if directory is None else directory, count, size,
    )  # fmt: skip


def plan_of(rows: list[PlannedSeries], into: Path | None = None) -> Plan:
    return PlanFile.of(rows, idc_version=25).plan(into)
