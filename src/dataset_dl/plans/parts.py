"""Cut a plan into parts of equal cost: every machine that has the plan cuts it alike."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from heapq import heapreplace
from typing import NamedTuple

from dataset_dl.duck import Database
from dataset_dl.errors import PlanError
from dataset_dl.model.part import Cut, Part
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import USUAL_INSTANCES
from dataset_dl.plans.file import PlanFile


class Size(NamedTuple):
    """What a part holds, and what it costs: its bytes, and what its objects cost besides."""

    series: int
    instances: int
    size_bytes: int
    cost_bytes: int


def cut(plan: Plan, count: int, object_bytes: int | None = None) -> Plan:
    """Return a plan that knows into how many parts it is cut.

    Raises
    ------
    PlanError
        If the plan is a part itself.
    """
    if (known := plan.origin.cut) is not None and known.number:
        raise PlanError(
            "part",
            f"This plan is part {Part(known.number, known.total)} of another one, so it is not cut again;"
            " nothing was started.",
            "Cut the whole plan.",
        )
    made = Cut(count) if object_bytes is None else Cut(count, object_bytes)
    made = made._replace(series_count=plan.series_count, digest=digest(plan.rows))
    return replace(plan, origin=plan.origin._replace(cut=made))


def part_of(plan: Plan, part: Part) -> Plan:
    """Return a part of a plan.

    What IDC lacks is left to the first part, so that it is reported once.

    Raises
    ------
    PlanError
        If the plan was cut into another number of parts, or is another part.
    """
    known = plan.origin.cut
    if known is not None and (known.total, known.number or part.number) != (part.total, part.number):
        what = f"cut into {known.total} parts" if not known.number else f"part {known.number}/{known.total}"
        raise PlanError(
            "part",
            f"This plan is {what}, so it has no part {part}; nothing was started.",
            f"Name one of its {known.total} parts, or cut the plan anew.",
        )
    if known is not None and known.number:
        return plan
    whole = plan if known is not None and known.digest else cut(plan, part.total)
    made = whole.origin.cut
    assert made is not None, "it has just been cut"
    numbers = dealt(costs(plan.rows, made.object_bytes), part.total)
    rows = [row for row, number in enumerate(numbers) if number == part.number]
    select = f"""
        SELECT * EXCLUDE (file_row_number) FROM {plan.rows.numbered_sql}
        WHERE file_row_number IN (SELECT unnest($1::BIGINT[]))
    """
    origin = whole.origin._replace(
        cut=made._replace(number=part.number), missing=plan.missing if part.number == 1 else ()
    )
    own = PlanFile.create(Database(), select, [rows], origin)
    return replace(own.plan(plan.into), idc_version=plan.idc_version)


def costs(rows: PlanFile, object_bytes: int) -> list[int]:
    """Return what each row costs, in bytes, if an object costs so many bytes besides its own."""
    return Database().column(
        f"""SELECT (coalesce(size_bytes, estimated_bytes, 0)
                    + coalesce(instanceCount, {USUAL_INSTANCES}) * {int(object_bytes)})::BIGINT
            FROM {rows.sql}"""
    )


def dealt(costs: Sequence[int], count: int) -> array[int]:
    """Return the part of each row, from 1: the most expensive row first, each to the part that has the least.

    No part costs more than the average and the row that came last to it.
    """
    parts = array("i", bytes(array("i").itemsize * len(costs)))
    heap = [(0, number) for number in range(1, count + 1)]
    for row in sorted(range(len(costs)), key=lambda row: (-costs[row], row)):
        spent, number = heap[0]
        parts[row] = number
        heapreplace(heap, (spent + costs[row], number))
    return parts


def sizes(plan: Plan) -> list[Size]:
    """Return what each part of a plan that is cut holds."""
    made = plan.origin.cut
    assert made is not None, "only a plan that is cut has parts"
    found = [[0, 0, 0, 0] for _ in range(made.total)]
    several = costs(plan.rows, made.object_bytes)
    known = Database().run(
        f"SELECT coalesce(instanceCount, 0), coalesce(size_bytes, estimated_bytes, 0) FROM {plan.rows.sql}"
    )
    for number, cost, (instances, size_bytes) in zip(dealt(several, made.total), several, known, strict=True):
        own = found[number - 1]
        own[0] += 1
        own[1] += instances
        own[2] += size_bytes
        own[3] += cost
    return [Size(*each) for each in found]


def digest(rows: PlanFile) -> str:
    """Return what identifies the series of a plan and their directories, in any order."""
    one = "md5_number_lower(key || ' ' || directory)"
    found = Database().column(f"SELECT coalesce(bit_xor({one}), 0) FROM {rows.sql}")
    return f"{found[0]:016x}"
