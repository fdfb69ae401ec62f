"""A consumer of a run: what runs it, what it has receipts for, and what it is asked once more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

from dataset_dl.destination.consumers import Consumer, Group, digest_of
from dataset_dl.destination.journal import Journal
from dataset_dl.errors import DatasetDlError, TransferError
from dataset_dl.model.outcome import PASSING_CAUSES
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.transfer.crew import Crew, Taken
from dataset_dl.transfer.pauses import pause_before


@dataclass(frozen=True)
class Hand:
    """A consumer, and what runs it."""

    consumer: Consumer
    crew: Crew

    @cached_property
    def digest(self) -> str:
        """A digest of the consumer's options."""
        return digest_of(self.consumer.options)

    def digest_for(self, series: PlannedSeries) -> str:
        """A digest of the options and of the files, if the row names them: such a series may grow."""
        if (names := series.wanted()) is None:
            return self.digest
        return digest_of({"options": self.digest, "files": sorted(names)})

    def ask(self, method: str, *arguments: object, default: Any = None) -> Any:
        """Call a method that the consumer may have; an error of third-party code is told as one of it."""
        if (asked := getattr(self.consumer, method, None)) is None:
            return default
        try:
            return asked(*arguments)
        except DatasetDlError:
            raise
        except Exception as error:
            name = self.consumer.name
            raise TransferError(
                name,
                f"The consumer {name} failed ({type(error).__name__}: {error}); what it has taken before is"
                " on record.",
                "Mend it, then run the same command again.",
            ) from error

    def has_receipt(self, journal: Journal, key: str, digest: str, since: float = 0.0) -> bool:
        """Whether a journal has a receipt with a digest since a time, which the consumer says still holds."""
        receipt = journal.receipt(self.consumer.name, key)
        return (
            receipt is not None
            and receipt.options_digest == digest
            and receipt.delivered_at >= since
            and bool(self.ask("confirms", key, receipt.made, default=True))
        )


@dataclass
class Again:
    """What failed for a passing reason, and is handed over once more later.

    Attributes
    ----------
    retries, pause_seconds
        How often at most, and the pause before the first time; each later one is four times as long, up to a
        minute.
    """

    retries: int
    pause_seconds: float
    _later: list[tuple[float, int, Hand, Series | Group]] = field(default_factory=list)
    _tries: dict[tuple[str, str], int] = field(default_factory=dict)
    _turn: int = 0

    def keep(self, hand: Hand, task: Series | Group, taken: Taken) -> bool:
        """Keep what failed; return whether it will be handed over again."""
        which = hand.consumer.name, taken.key
        tries = self._tries[which] = self._tries.get(which, 0) + 1
        if taken.cause not in PASSING_CAUSES or tries > self.retries:
            return False
        self._turn += 1
        at = time.monotonic() + pause_before(tries - 1, self.pause_seconds)
        heappush(self._later, (at, self._turn, hand, task))
        return True

    def due(self) -> Iterator[tuple[Hand, Series | Group]]:
        """Yield what is to be handed over now."""
        while self._later and self._later[0][0] <= time.monotonic():
            *_, hand, task = heappop(self._later)
            yield hand, task
