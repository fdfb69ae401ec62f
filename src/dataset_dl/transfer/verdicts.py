"""Judge series: complete by what is on disk, left to the next round, or given up."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from dataset_dl.destination.durable import Durable
from dataset_dl.destination.tree import NOTHING, Found, agrees
from dataset_dl.model.events import EngineEnded, Event, SeriesCompleted, SeriesFailed
from dataset_dl.model.outcome import Cause, SeriesFailure
from dataset_dl.transfer.ledger import Ledger, State
from dataset_dl.transfer.mender import Inspection, Mender
from dataset_dl.transfer.naming import Naming
from dataset_dl.transfer.window import Pending, Window

# The series whose checksums are compared together: enough to keep all cores busy.
_PROOF_SERIES = 200
_PROOF_BYTES = 1_000_000_000
# What another store may do better.
_OF_THE_STORE = {"not_found", "access_denied", "server_error", "network", "truncated", "altered", "excess"}


@dataclass(frozen=True, slots=True)
class Options:
    """How to fetch.

    Attributes
    ----------
    retries
        Number of rounds for series that failed for a transient reason.
    pause_seconds
        Before the first of these rounds; each later pause is four times as long, up to a minute.
    by_name
        Whether files have to be known by name.
    md5
        Whether checksums are compared with the store's.
    durable
        Whether a series is complete only once its files are on the disk itself.
    """

    retries: int
    pause_seconds: float
    by_name: bool
    md5: bool
    durable: bool = False


class Verdicts:
    """Judges the series of a download, and keeps the ledger and the journal.

    Attributes
    ----------
    mender
        The mender of the engine at work.
    attempt, rounds
        How many rounds left failures although the engine did not end early; how many rounds there were.
    ended
        How the engine ended early in this round; None if it did not.
    settled
        How many series were completed or given up in this round.
    left
        How many series were left to the next round.
    arrived
        Files and bytes on disk of the series that are left to the next round.
    unknown_checksums
        Number of files for which the store lists no checksum that can be compared.
    stopped
        Why the download ends before trying everything; empty if it does not.
    """

    mender: Mender

    def __init__(
        self, ledger: Ledger, destination: Path, naming: Naming, options: Options, durable: Durable | None
    ) -> None:
        self._ledger = ledger
        self._destination = destination
        self._naming = naming
        self._journal = naming.journal
        self._options = options
        self._durable = durable
        self._unproven: list[Pending] = []
        self._unproven_bytes = 0
        self.unknown_checksums = 0
        self.attempt = self.rounds = 0
        self.stopped = ""
        self.begin()

    def begin(self) -> None:
        """Reset what counts for one round."""
        self.ended: EngineEnded | None = None
        self.settled = self.left = 0
        self.arrived = NOTHING

    def settle(self, window: Window, given: Set[str] | None = None) -> Iterator[Event]:
        """Judge the series that the engine left unfinished, silently or with a failure.

        If only some were `given` to it, because there was no room for more, the others stay as they are.
        """
        given_up: list[Pending] = []
        # After a stop the plan is not read to its end: the rest was not tried.
        remaining = list(window.open.values()) if self.stopped else window.remaining()
        for pending in remaining:
            if given is not None and pending.series.key not in given:
                continue
            found = pending.look(self._destination)
            if agrees(found, pending.series):
                yield from self.finish(pending, found)
                continue
            failure = pending.failed(found)
            may_pass = self._is_elsewhere(failure) or failure.may_pass
            if self._may_try_again(may_pass) or (self.stopped and pending.failure is None):
                self._leave(pending, found)
            else:
                given_up.append(pending)
                if len(given_up) >= _PROOF_SERIES:
                    yield from self._give_up(given_up)
                    given_up = []
        yield from self._give_up(given_up)

    def _is_elsewhere(self, failure: SeriesFailure) -> bool:
        """Whether the engine can get a series from another store; the next round then does."""
        is_stalled = self.ended is not None and self.ended.stalled
        if failure.cause not in _OF_THE_STORE and not is_stalled:
            return False
        elsewhere = getattr(self.mender.engine, "elsewhere", None)
        return elsewhere is not None and bool(elsewhere(failure.planned.key))

    def _may_try_again(self, may_pass: bool) -> bool:
        # An early end is a fault of the engine or the network, not of the series that are left.
        if self.stopped or not may_pass:
            return False
        return self.ended is not None or self.attempt < self._options.retries

    def _leave(self, pending: Pending, found: Found) -> None:
        """Leave a series to the next round."""
        self.left += 1
        self._ledger.set(pending.row, State.PARTIAL if self._is_begun(pending, found) else State.ABSENT)
        self.arrived = Found(
            self.arrived.instances + found.instances, self.arrived.size_bytes + found.size_bytes
        )

    def _is_begun(self, pending: Pending, found: Found) -> bool:
        # A shared directory may contain more files of the series than those reported.
        return found.instances > 0 or pending.names is not None

    def _give_up(self, several: list[Pending]) -> Iterator[Event]:
        """Give series up, and remove their wrong files."""
        for each in several:
            if each.failure is not None and each.failure.cause == "excess":
                self.mender.remove_new(each.series, each.names)
        spoiled = [each for each in several if each.look(self._destination).instances]
        inspections = self.mender.inspect([each.series for each in spoiled])
        for pending, (_, inspection) in zip(spoiled, inspections, strict=True):
            pending.inspection = inspection
        for pending in several:
            found = pending.look(self._destination)
            if agrees(found, pending.series):  # only surplus files were wrong, and they are gone
                yield from self.finish(pending, found)
            else:
                yield from self._fail(pending, pending.failed(found))

    def _fail(self, pending: Pending, failure: SeriesFailure) -> Iterator[Event]:
        self.settled += 1
        self._ledger.set(pending.row, State.FAILED)
        self._journal.forget(pending.series)
        yield SeriesFailed(failure)

    def finish(self, pending: Pending, found: Found) -> Iterator[Event]:
        """Complete a series whose count and bytes agree, or queue it for a comparison of checksums."""
        inspection = pending.inspection
        if not self._options.md5 or pending.is_proven or (inspection is not None and inspection.is_proof):
            yield from self._complete(pending, inspection)
            return
        self._unproven.append(pending)
        self._unproven_bytes += found.size_bytes
        if len(self._unproven) >= _PROOF_SERIES or self._unproven_bytes >= _PROOF_BYTES:
            yield from self.prove()

    def prove(self) -> Iterator[Event]:
        """Compare the checksums of the queued series."""
        batch, self._unproven, self._unproven_bytes = self._unproven, [], 0
        inspections = self.mender.inspect([each.series for each in batch])
        for pending, (_, inspection) in zip(batch, inspections, strict=True):
            if inspection.is_proof:
                yield from self._complete(pending, inspection)
                continue
            cause: Cause = "altered" if inspection.removed else "network"
            message = (
                f"{inspection.removed:,} of its files differed from the store's checksums and were removed"
                if inspection.removed
                else "the store did not return its checksums"
            )
            found = pending.look(self._destination)
            if self._may_try_again(True):
                self._leave(pending, found)
            else:
                failure = SeriesFailure(pending.series, cause, message, found.instances, found.size_bytes)
                yield from self._fail(pending, failure)

    def _complete(self, pending: Pending, inspection: Inspection | None) -> Iterator[Event]:
        self.settled += 1
        self._ledger.set(pending.row, State.COMPLETE)
        if self._options.md5 and inspection is not None:
            self.unknown_checksums += inspection.unknown
        names = None if pending.names is None else tuple(sorted(set(pending.names)))
        names = self._naming.give(pending.series, names)
        if self._durable is not None:
            self._durable.keep(pending.series.directory, names)
        self._journal.record(pending.series, names)
        fetched = pending.reported > 0 or self.rounds > 0
        yield SeriesCompleted(pending.series, fetched=fetched, names=names)
