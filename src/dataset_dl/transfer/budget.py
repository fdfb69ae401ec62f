"""Room for another series: on a disk with a bound, and in the queue of series that wait for a consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dataset_dl.model.series import Fetch, Pause, PlannedSeries

# Series that were begun and not yet taken by every consumer, at most; enough for any engine.
MOST_SERIES = 1_000


class Budget:
    """Counts what is on the disk, and what is on its way to it.

    Parameters
    ----------
    most_bytes
        The bound; None without one.
    most_series
        How many series may be on their way or wait for a consumer at most.

    Attributes
    ----------
    held_bytes
        Bytes of all series that are on the disk or on their way.
    is_closed, is_stuck
        Whether there was no room when an engine last asked; and whether nobody will make room.
    given
        Keys of the series that were given to the engine at work.
    """

    def __init__(self, most_bytes: int | None, most_series: int = MOST_SERIES) -> None:
        self.most_bytes = most_bytes
        self._most_series = most_series
        self._held: dict[str, int] = {}
        self._flying: set[str] = set()
        self.held_bytes = 0
        self.is_closed = self.is_stuck = False
        self.given: set[str] = set()

    def begin(self) -> None:
        """Forget which series were given to an engine: another run of one begins."""
        self.given.clear()
        self._flying.clear()
        self.is_closed = self.is_stuck = False

    def hold(self, key: str, size_bytes: int) -> None:
        """Count a series that is on the disk, or set its size."""
        self.held_bytes += size_bytes - self._held.get(key, 0)
        self._held[key] = size_bytes

    def release(self, key: str) -> None:
        """Count a series no more, because it is gone."""
        self.held_bytes -= self._held.pop(key, 0)
        self._flying.discard(key)

    def landed(self, key: str) -> None:
        """Count a series as no longer on its way: it is complete, or the engine failed with it."""
        self._flying.discard(key)

    def admitted(self, fetches: Iterable[Fetch], waiting: Callable[[], int]) -> Iterator[Fetch | Pause]:
        """Give an engine its fetches while there is room; the end comes early if there will be none.

        Parameters
        ----------
        fetches
            What is to be fetched.
        waiting
            Returns how many series a consumer has yet to take, which may then make room.
        """
        for fetch in fetches:
            while not self._has_room(fetch.series, waiting()):
                self.is_closed = True
                if not self._flying and not waiting():
                    self.is_stuck = True
                    return
                yield Pause(is_idle=not self._flying)
            self.is_closed = False
            self._admit(fetch)
            yield fetch

    def _has_room(self, series: PlannedSeries, waiting: int) -> bool:
        if len(self._flying) + waiting >= self._most_series:
            return False
        if self.most_bytes is None:
            return True
        more = max(0, series.expected_bytes - self._held.get(series.key, 0))
        return self.held_bytes + more <= self.most_bytes

    def _admit(self, fetch: Fetch) -> None:
        series = fetch.series
        self.hold(series.key, max(series.expected_bytes, self._held.get(series.key, 0)))
        self.given.add(series.key)
        if fetch.missing != ():
            self._flying.add(series.key)
