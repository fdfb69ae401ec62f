"""How many connections are used: a simulated network says what each number brings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataset_dl.engines.curl.tuning import Tuning

MB = 1_000_000


def settled(tuning: Tuning, rate_of: Callable[[int], float], seconds: float = 10.0) -> int:
    """Run a simulated download; return the connections at its end."""
    received, now = 0.0, 0.0
    while now < seconds:
        tuning.note(now, int(received), 0, tuning.connections)
        now += 0.1
        received += 0.1 * rate_of(tuning.connections)
    return tuning.connections


@pytest.mark.parametrize(
    ("name", "rate_of"),
    [
        ("a slow line", lambda count: 10 * MB),
        ("far and wide", lambda count: count * MB),
        ("enough at 50", lambda count: min(count, 50) * MB),
        ("enough at 100, worse beyond", lambda count: min(count, 100) * MB - max(0, count - 100) * 0.3 * MB),
        ("a busy proxy", lambda count: 40 * MB / (1 + abs(count - 20) / 200)),
    ],
)
@pytest.mark.parametrize("first", [4, 16, 120])
def test_it_settles_near_the_best_within_ten_seconds(
    name: str, rate_of: Callable[[int], float], first: int
) -> None:
    most = 256
    tuning = Tuning(first, most)
    best = max(rate_of(count) for count in range(1, most + 1))
    assert rate_of(settled(tuning, rate_of)) >= 0.9 * best


def test_a_fixed_number_stays() -> None:
    tuning = Tuning(7, 256, fixed=True)
    assert settled(tuning, lambda count: count * MB) == 7


def test_it_does_not_grow_while_there_is_not_enough_to_do() -> None:
    tuning = Tuning(16, 256)
    for step in range(100):
        tuning.note(step / 10, step * MB, step, 3)
    assert tuning.connections == 16


def test_it_tries_again_when_the_network_changes() -> None:
    tuning = Tuning(16, 256)
    settled(tuning, lambda count: 10 * MB)
    received, now, before = 100 * MB, 10.0, tuning.connections
    while now < 60:
        tuning.note(now, int(received), 0, tuning.connections)
        now += 0.1
        received += int(0.1 * tuning.connections * MB)
    assert tuning.connections > 3 * before
