"""Hands verified series to consumers while others are fetched, and removes those that all have taken."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from dataset_dl.destination.consumers import Group, Receipt, digest_of
from dataset_dl.destination.journal import Journal
from dataset_dl.destination.tree import instance_paths, remove
from dataset_dl.model.events import (
    DeliveryFailed,
    Event,
    GroupCompleted,
    Noticed,
    SeriesCompleted,
    SeriesDelivered,
    SeriesEvicted,
    Waiting,
)
from dataset_dl.model.outcome import Delivery, DeliveryFailure
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, Series
from dataset_dl.transfer.budget import Budget
from dataset_dl.transfer.crew import Taken, failed
from dataset_dl.transfer.groups import Groups
from dataset_dl.transfer.handing import Again, Hand

_WAIT_SECONDS = 0.005


class Courier:
    """Hands series to consumers, and keeps their receipts.

    Parameters
    ----------
    hands
        The consumers.
    destination
        Where the series are.
    run_id
        The run, for receipts.
    budget
        Counts what is on the disk.
    evict
        Remove a series when every consumer has a receipt for it.
    retries, pause_seconds
        How often a series is handed over again after a transient failure, and the pause before the first
        time; each later one is four times as long, up to a minute.

    Attributes
    ----------
    journal
        The journal of the destination, as soon as there is one.
    """

    journal: Journal

    def __init__(
        self,
        hands: Sequence[Hand],
        destination: Path,
        run_id: str,
        budget: Budget,
        *,
        evict: bool,
        retries: int,
        pause_seconds: float,
    ) -> None:
        self._hands = hands
        self._destination = destination
        self._run_id = run_id
        self.budget = budget
        self._evict = evict
        self._again = Again(retries, pause_seconds)
        # By key: the series, and the names of the consumers that have not taken it.
        self._open: dict[str, tuple[Series, set[str]]] = {}
        # By name of the consumer: its groups; and by it and their keys, those that it has yet to complete.
        self._groups: dict[str, Groups] = {}
        self._completing: dict[tuple[str, str], Group] = {}
        self._delivered = self._before = self._evicted = self._evicted_bytes = 0
        self._failures: list[DeliveryFailure] = []
        self._is_begun = False

    def expect(self, rows: Iterable[PlannedSeries]) -> None:
        """Say which series this run has, for consumers that put them in groups, and let them look first."""
        for hand in self._hands:
            hand.ask("check")
            if hasattr(hand.consumer, "group"):
                self._groups[hand.consumer.name] = Groups(rows, partial(hand.ask, "group"))

    def is_used(self, series: PlannedSeries) -> bool:
        """Whether a series was taken by every consumer and then removed."""
        return self.is_evicted(series) and not self._lacking(series)

    def is_evicted(self, series: PlannedSeries) -> bool:
        """Whether a series was removed after its delivery."""
        return self._evict and self.journal.is_evicted(series)

    def used(self, series: PlannedSeries, names: tuple[str, ...] | None, *, by_name: bool) -> None:
        """Count a series that an earlier run delivered and removed, and remove what that run had left."""
        directory = self._destination / series.directory
        if self.journal.holds(series) and directory.is_dir() and (names is not None or not by_name):
            remove(Series(series, directory, instance_paths(directory, names)), self._destination)
        self._before += len(self._hands)
        self._count_evicted(series)
        for hand in self._hands:
            self._count_in_group(hand, series)

    def offer(self, series: Series) -> Iterator[Event]:
        """Hand a series to the consumers that have no receipt for it."""
        key = series.planned.key
        lacking = self._lacking(series.planned)
        self.budget.hold(key, series.planned.expected_bytes)
        self.budget.landed(key)
        for hand in self._hands:
            if hand.consumer.name not in lacking:
                self._before += 1
                yield SeriesDelivered(hand.consumer.name, key, False)
                self._count_in_group(hand, series.planned)
        if not lacking:
            yield from self._finished(series)
            return
        self._begin()
        self._open[key] = series, lacking
        for hand in self._hands:
            if hand.consumer.name in lacking:
                hand.crew.give(series)

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            for hand in self._hands:
                hand.ask("begin")

    def _lacking(self, series: PlannedSeries) -> set[str]:
        """Return the names of the consumers that have no receipt for a series."""
        return {
            hand.consumer.name
            for hand in self._hands
            if not hand.has_receipt(self.journal, series.key, hand.digest_for(series))
        }

    def _count_in_group(self, hand: Hand, series: PlannedSeries) -> None:
        """Count a series that a consumer has taken, and let it complete the group after the last one."""
        name = hand.consumer.name
        groups = self._groups.get(name)
        if groups is None or (last := groups.taken(series)) is None:
            return
        group_name, keys = last
        receipts = {key: receipt for key in keys if (receipt := self.journal.receipt(name, key)) is not None}
        group = Group(group_name, {key: receipt.made for key, receipt in receipts.items()})
        # A group whose series were taken again after it was completed is completed again.
        since = max((receipt.delivered_at for receipt in receipts.values()), default=0.0)
        if not hand.has_receipt(self.journal, group.key, _digest_of_group(hand, group), since):
            self._begin()
            self._completing[name, group.key] = group
            hand.crew.give(group)

    def admitted(self, fetches: Iterable[Fetch]) -> Iterator[Fetch | Pause]:
        """Give an engine its fetches while there is room for them; see `Budget.admitted`."""
        return self.budget.admitted(fetches, lambda: len(self._open))

    @property
    def _waiting_count(self) -> int:
        return len(self._open) + len(self._completing)

    def arrived(self) -> Iterator[Event]:
        """Yield what has happened since the last call; never waits.

        Raises
        ------
        StorageError
            If a consumer cannot write any more, or a series cannot be removed.
        """
        if not self._waiting_count:
            return
        for hand, task in self._again.due():
            hand.crew.give(task)
        for hand in self._hands:
            for taken in hand.crew.taken():
                yield from self._settle(hand, taken)

    def beside(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield events of a download, and hand over each series that they say is complete."""
        for event in events:
            yield event
            if isinstance(event, SeriesCompleted):
                directory = self._destination / event.series.directory
                yield from self.offer(Series(event.series, directory, instance_paths(directory, event.names)))
            yield from self.arrived()
            if isinstance(event, Waiting):
                time.sleep(_WAIT_SECONDS)

    def room(self, most: int) -> Iterator[Event]:
        """Wait until fewer than so many series wait."""
        yield from self.arrived()
        while self._waiting_count >= most:
            yield Waiting()  # a consumer may be the loop that takes these events
            time.sleep(_WAIT_SECONDS)
            yield from self.arrived()

    def rest(self) -> Iterator[Event]:
        """Wait until every consumer has taken every series or has failed with it."""
        if len(self._open) > 1:
            yield Noticed(f"{len(self._open):,} series are complete and wait for a consumer")
        yield from self.room(1)

    def _settle(self, hand: Hand, taken: Taken) -> Iterator[Event]:
        name = hand.consumer.name
        if taken.error is not None:
            raise taken.error
        if (group := self._completing.get((name, taken.key))) is not None:
            yield from self._settle_group(hand, group, taken)
            return
        series, _ = self._open[taken.key]
        if taken.made is None:
            yield from self._failed(hand, series, taken)
            return
        try:
            made = taken.made
            if (keep := getattr(hand.consumer, "keep", None)) is not None:
                made = keep(series, made)
            json.dumps(made, default=str)  # as a receipt holds it
        except Exception as error:  # of third-party code
            told = failed(taken.key, error)
            if told.error is not None:
                raise told.error from None
            yield from self._failed(hand, series, told)
            return
        digest = hand.digest_for(series.planned)
        self.journal.write_receipt(Receipt(name, taken.key, digest, time.time(), made, self._run_id))
        self._delivered += 1
        yield SeriesDelivered(name, taken.key, True)
        self._count_in_group(hand, series.planned)
        yield from self._taken_by(name, series, is_delivered=True)

    def _settle_group(self, hand: Hand, group: Group, taken: Taken) -> Iterator[Event]:
        name = hand.consumer.name
        if taken.made is None:
            if not self._again.keep(hand, group, taken):
                del self._completing[name, taken.key]
                yield self._given_up(name, taken, None)
            return
        digest = _digest_of_group(hand, group)
        self.journal.write_receipt(Receipt(name, group.key, digest, time.time(), taken.made, self._run_id))
        if taken.is_final:
            del self._completing[name, taken.key]
            yield GroupCompleted(name, group.name)

    def _failed(self, hand: Hand, series: Series, taken: Taken) -> Iterator[Event]:
        if not self._again.keep(hand, series, taken):
            yield self._given_up(hand.consumer.name, taken, series.planned.SeriesInstanceUID)
            yield from self._taken_by(hand.consumer.name, series, is_delivered=False)

    def _given_up(self, name: str, taken: Taken, uid: str | None) -> DeliveryFailed:
        self._failures.append(DeliveryFailure(name, taken.key, uid, taken.cause, taken.message))
        return DeliveryFailed(name, taken.key, taken.message, taken.cause)

    def _taken_by(self, name: str, series: Series, *, is_delivered: bool) -> Iterator[Event]:
        key = series.planned.key
        lacking = self._open[key][1]
        lacking.discard(name)
        if lacking:
            return
        del self._open[key]
        if is_delivered and not self._lacking(series.planned):
            yield from self._finished(series)

    def _finished(self, series: Series) -> Iterator[Event]:
        """A series has every receipt."""
        key = series.planned.key
        if not self._evict or not self._may_go(key):
            self.budget.release(key)
            return
        self.journal.evict(series.planned)
        remove(series, self._destination)
        self.journal.forget(series.planned)
        self.budget.release(key)
        self._count_evicted(series.planned)
        yield SeriesEvicted(key, series.planned.expected_bytes)

    def _may_go(self, key: str) -> bool:
        receipts = ((hand, self.journal.receipt(hand.consumer.name, key)) for hand in self._hands)
        return all(hand.ask("frees", receipt.made, default=True) for hand, receipt in receipts if receipt)

    def _count_evicted(self, series: PlannedSeries) -> None:
        self._evicted += 1
        self._evicted_bytes += series.expected_bytes

    def delivery(self) -> Delivery:
        """Return what was delivered."""
        said = [str(hand.ask("summary", default="")) for hand in self._hands]
        return Delivery(
            consumers=tuple(hand.consumer.name for hand in self._hands),
            delivered=self._delivered,
            delivered_before=self._before,
            failures=tuple(self._failures),
            evicted_series=self._evicted,
            evicted_bytes=self._evicted_bytes,
            summaries=tuple(filter(None, said)),
        )

    def close(self) -> None:
        """End all consumers."""
        for hand in self._hands:
            hand.ask("stop")
            hand.crew.close()
            hand.ask("close")


def _digest_of_group(hand: Hand, group: Group) -> str:
    """Return a digest of what makes a group complete: its series, and the consumer's options."""
    return digest_of({"options": hand.digest, "series": sorted(group.made)})
