"""Room for another series: in bytes on the disk, and in the number of those that nobody has taken yet."""

from __future__ import annotations

from dataset_dl.model.series import Fetch, Pause
from dataset_dl.transfer.budget import Budget
from support.plans import row


def test_the_number_of_waiting_series_is_bounded_whatever_was_seen_on_the_disk() -> None:
    rows = [row(number, size=10) for number in range(4)]
    budget, waiting = Budget(None, 2), 0
    for each in rows:
        budget.hold(each.key, 0)
    given = budget.admitted(map(Fetch, rows), lambda: waiting)
    assert [next(given), next(given), next(given)] == [Fetch(rows[0]), Fetch(rows[1]), Pause(is_idle=False)]
    budget.landed(rows[0].key)
    waiting = 1  # it is complete, and with a consumer
    assert next(given) == Pause(is_idle=False)
    waiting = 0  # taken, or failed; in either case it holds nobody up
    assert next(given) == Fetch(rows[2])


def test_failures_stop_nothing_that_has_room() -> None:
    rows = [row(number, size=10) for number in range(5)]
    budget = Budget(None, 2)
    for each in budget.admitted(map(Fetch, rows), lambda: 0):
        assert isinstance(each, Fetch)
        budget.landed(each.series.key)
    assert not budget.is_stuck


def test_bytes_are_bounded_and_a_full_disk_ends_it() -> None:
    rows = [row(number, size=10) for number in range(3)]
    budget = Budget(20)
    given = budget.admitted(map(Fetch, rows), lambda: 0)
    assert [next(given), next(given)] == [Fetch(rows[0]), Fetch(rows[1])]
    for each in rows[:2]:
        budget.landed(each.key)
    assert list(given) == []
    assert budget.is_stuck
