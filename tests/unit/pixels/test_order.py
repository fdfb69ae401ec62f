"""The true order of slices, whatever their names and whatever is mixed among them."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.pixels.order import TELLING, Slice, order

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def telling(**values: str) -> tuple[str | None, ...]:
    return tuple(values.get(each) for each in TELLING)


def stack(count: int, orientation: tuple[float, ...] = AXIAL, **values: str) -> list[Slice]:
    """Slices 2.5 mm apart along the normal of an orientation."""
    a, b, c, d, e, f = orientation
    normal = b * f - c * e, c * d - a * f, a * e - b * d
    return [
        Slice(
            f"{random.Random(number).random()}.dcm", tuple(2.5 * number * each for each in normal), orientation,
            (512, 512), count - number, "", telling(**values),
        )
        for number in range(count)
    ]  # fmt: skip


def tilted(degrees: float) -> tuple[float, ...]:
    angle = math.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, math.cos(angle), math.sin(angle))


@given(
    st.sampled_from([AXIAL, SAGITTAL, tilted(17), tilted(-30)]),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_shuffled_slices_come_in_order(
    orientation: tuple[float, ...], count: int, chance: random.Random
) -> None:
    """Names and numbers say nothing, here even the opposite."""
    slices = stack(count, orientation)
    shuffled = chance.sample(slices, count)
    found = order(shuffled)
    assert [shuffled[place] for place in found.order] == slices
    assert found.remarks == ()
    positions = [found.positions[place] for place in found.order]
    assert positions == pytest.approx([2.5 * number for number in range(count)])


def test_directions_that_were_rounded_are_one() -> None:
    slices = stack(10)
    slices[3] = Slice(
        slices[3].name,
        slices[3].position,
        (0.9999, 0.001, 0, -0.001, 0.9999, 0),
        (512, 512),
        7,
        "",
        telling(),
    )
    assert order(slices).remarks == ()


def test_a_localizer_is_a_group_of_its_own() -> None:
    slices = [*stack(2, SAGITTAL), *stack(30)]
    found = order(slices)
    assert "2 orientations" in found.remarks[0]
    assert found.groups == (1, 1, *[0] * 30)
    assert set(found.order[:30]) == set(range(2, 32))


def test_two_reconstructions_are_told_apart() -> None:
    soft, sharp = stack(20, ConvolutionKernel="B30f"), stack(20, ConvolutionKernel="B70f")
    mixed = [each for pair in zip(soft, sharp, strict=True) for each in pair]
    found = order(mixed)
    assert found.remarks == ("20 of 20 positions with up to 2 slices, told apart by ConvolutionKernel",)
    first = [mixed[place] for place in found.order[:20]]
    assert first in (soft, sharp)


def test_a_series_over_time_is_divided_into_its_times() -> None:
    slices = [each for time in range(3) for each in stack(5, TemporalPositionIdentifier=str(time))]
    found = order(slices)
    assert sorted(found.groups) == [0] * 5 + [1] * 5 + [2] * 5
    assert "TemporalPositionIdentifier" in found.remarks[0]


def test_copies_are_reported() -> None:
    slices = stack(5)
    found = order([*slices, slices[2]])
    assert found.remarks == ("1 of 5 positions with up to 2 slices, which nothing tells apart",)
    assert len(found.order) == 6


def test_without_positions_number_and_time_decide() -> None:
    slices = [Slice(f"{3 - number}.dcm", number=number) for number in range(3)]
    assert order(slices[::-1]).order == (2, 1, 0)
    slices = [Slice("a", time="120100"), Slice("b", time="115900")]
    assert order(slices).order == (1, 0)
    assert order([]).order == ()
