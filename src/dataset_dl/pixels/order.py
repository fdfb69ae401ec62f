"""The true order of slices: along the normal of their planes, then by time, then by number. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Directions that differ by less than this are the same; rounding in the field goes up to some thousandths.
_SAME_DIRECTION = 0.005
# Positions that differ by less than this many mm are the same.
_SAME_MM = 0.01
# What may tell apart slices at one position, in the order in which it is tried.
TELLING = (
    "AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "EchoNumbers", "DiffusionBValue",
    "TriggerTime", "ConvolutionKernel", "ImageType", "KVP", "AcquisitionTime", "ContentTime",
)  # fmt: skip

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Slice:
    """What is known of one instance.

    Attributes
    ----------
    name
        Its file name; the last tie-breaker.
    position, orientation
        ImagePositionPatient in mm, and ImageOrientationPatient; None if it has none.
    size
        Rows and columns.
    number
        InstanceNumber.
    time
        AcquisitionTime or ContentTime, as text.
    telling
        The values of `TELLING`.
    """

    name: str
    position: Vector | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    size: tuple[int, int] = (0, 0)
    number: int | None = None
    time: str = ""
    telling: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Ordering:
    """The order of the slices of a series.

    Attributes
    ----------
    order
        Indices of the slices: group by group, each in order.
    groups
        For each slice, in the order given, the number of its group from 0; the largest is 0.
    positions
        For each slice, in the order given, its place along the normal in mm; None without a position.
    remarks
        What is mixed, as sentences.
    """

    order: tuple[int, ...]
    groups: tuple[int, ...]
    positions: tuple[float | None, ...]
    remarks: tuple[str, ...] = ()


@dataclass
class _Plane:
    """Slices of one orientation and size."""

    normal: Vector | None
    members: list[int] = field(default_factory=list)


def order(slices: Sequence[Slice]) -> Ordering:
    """Sort slices, and tell what is mixed."""
    planes = _planes(slices)
    remarks = []
    if len(planes) > 1:
        counts = " and ".join(str(len(each.members)) for each in planes)
        remarks.append(f"slices of {len(planes)} orientations or sizes ({counts})")
    positions: list[float | None] = [None] * len(slices)
    groups: list[list[int]] = []
    for plane in planes:
        for index in plane.members:
            position = slices[index].position
            if plane.normal is not None and position is not None:
                positions[index] = _dot(plane.normal, position)
        parts, remark = _parts(slices, plane, positions)
        groups += parts
        if remark:
            remarks.append(remark)
    groups.sort(key=len, reverse=True)
    number_of = {index: number for number, members in enumerate(groups) for index in members}
    sequence = [
        index
        for members in groups
        for index in sorted(members, key=lambda each: _key(slices[each], positions[each]))
    ]
    return Ordering(
        tuple(sequence),
        tuple(number_of[index] for index in range(len(slices))),
        tuple(positions),
        tuple(remarks),
    )


def _planes(slices: Sequence[Slice]) -> list[_Plane]:
    found: list[tuple[tuple[int, int], tuple[float, ...] | None, _Plane]] = []
    for index, each in enumerate(slices):
        plane = next(
            (
                plane
                for size, orientation, plane in found
                if size == each.size and _same(orientation, each.orientation)
            ),
            None,
        )
        if plane is None:
            plane = _Plane(None if each.orientation is None else _normal(each.orientation))
            found.append((each.size, each.orientation, plane))
        plane.members.append(index)
    return sorted((plane for _, _, plane in found), key=lambda plane: -len(plane.members))


def _parts(
    slices: Sequence[Slice], plane: _Plane, positions: Sequence[float | None]
) -> tuple[list[list[int]], str]:
    """Divide the slices of a plane where several have one position, by what tells them apart."""
    members = plane.members
    places = Counter(round(place / _SAME_MM) for index in members if (place := positions[index]) is not None)
    most = max(places.values(), default=1)
    if most == 1:
        return [members], ""
    double = sum(count > 1 for count in places.values())
    where = f"{double} of {len(places)} positions with up to {most} slices"
    for place, keyword in enumerate(TELLING):
        by_value: dict[Any, list[int]] = defaultdict(list)
        for index in members:
            telling = slices[index].telling
            by_value[telling[place] if place < len(telling) else None].append(index)
        if 1 < len(by_value) <= len(members) // 2 and all(
            _are_distinct(each, positions) for each in by_value.values()
        ):
            return list(by_value.values()), f"{where}, told apart by {keyword}"
    return [members], f"{where}, which nothing tells apart"


def _are_distinct(members: Sequence[int], positions: Sequence[float | None]) -> bool:
    places = [round(place / _SAME_MM) for index in members if (place := positions[index]) is not None]
    return len(set(places)) == len(places)


def _key(each: Slice, position: float | None) -> tuple[Any, ...]:
    return (
        position is None, round((position or 0.0) / _SAME_MM), each.time,
        each.number is None, each.number or 0, each.name,
    )  # fmt: skip


def _same(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) < _SAME_DIRECTION for a, b in zip(one, other, strict=True))


def _normal(orientation: tuple[float, float, float, float, float, float]) -> Vector | None:
    a, b, c, d, e, f = orientation
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    length = (x * x + y * y + z * z) ** 0.5
    return (x / length, y / length, z / length) if length > 0.1 else None


def _dot(one: Vector, other: Vector) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
