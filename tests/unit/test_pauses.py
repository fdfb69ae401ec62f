"""The pauses before retries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.transfer.pauses import pause_before


def test_each_pause_is_four_times_the_one_before_up_to_a_minute() -> None:
    assert [pause_before(number, 1.0) for number in range(5)] == [1, 4, 16, 60, 60]


@given(st.integers(0, 100_000), st.floats(0, 1e6))
def test_a_pause_is_bounded_and_never_shrinks(retry: int, first_seconds: float) -> None:
    first, second = (pause_before(number, first_seconds) for number in (retry, retry + 1))
    assert 0 <= first <= second <= 60
