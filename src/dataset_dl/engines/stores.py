"""Two stores with the same series: the nearer one first, the other for what that one cannot give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import NetworkError
from dataset_dl.model.events import BytesWritten, Event
from dataset_dl.model.series import Fetch, Pause, PlannedSeries, StoredObject


class TwoStores:
    """An engine that fetches each series from one of several stores; implements `engines.protocol.Engine`.

    Parameters
    ----------
    engines
        The engine for each store.
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = dict(engines)
        self._failed: dict[str, set[str]] = {}
        self._set_first()

    def _set_first(self) -> None:
        first = next(iter(self._engines.values()))
        self.name, self.workers, self.lists_objects = first.name, first.workers, first.lists_objects

    def probe(self, address: str) -> None:
        """Ask each store once; the one that answers first is the first choice from now on.

        Raises
        ------
        NetworkError
            If none answers: the reason of the first.
        """
        seconds: dict[str, float] = {}
        errors: list[NetworkError] = []
        for store, engine in self._engines.items():
            began = time.monotonic()
            try:
                engine.probe(address)
            except NetworkError as error:
                errors.append(error)
            else:
                seconds[store] = time.monotonic() - began
        if not seconds:
            raise errors[0]
        nearest_first = sorted(seconds, key=lambda each: seconds[each])
        self._engines = {store: self._engines[store] for store in nearest_first}
        self._set_first()

    def limit(self, rate_mbps: float) -> None:
        """Change the limit of the rate; one store at a time is asked."""
        for engine in self._engines.values():
            if (limit := getattr(engine, "limit", None)) is not None:
                limit(rate_mbps)

    def objects(self, series: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the objects that the store of each series lists, by key."""
        found: dict[str, list[StoredObject]] = {}
        for store, engine in self._engines.items():
            if own := [each for each in series if self._store_of(each.key) == store]:
                found |= engine.objects(own)
        return found

    def run(self, fetches: Iterable[Fetch | Pause], destination: Path) -> Iterator[Event]:
        """Fetch series from the store of each, one store after the other."""
        before = 0
        share = _Share(self._store_of, iter(fetches))
        while share.goes_on():
            for store, engine in list(self._engines.items()):
                written = 0
                for event in engine.run(share.of(store), destination):
                    if isinstance(event, BytesWritten):
                        written = event.size_bytes
                        yield replace(event, size_bytes=before + written)
                    else:
                        yield event
                self._set_workers(engine)
                before += written

    def is_unfinished(self, name: str) -> bool:
        """Whether a file of this name is unfinished."""
        return any(engine.is_unfinished(name) for engine in self._engines.values())

    def elsewhere(self, key: str) -> bool:
        """Note that a series failed at its store; return whether another store can be tried next."""
        failed = self._failed.setdefault(key, set())
        failed.add(self._store_of(key))
        return len(failed) < len(self._engines)

    def leave(self) -> bool:
        """Leave the first store, because nothing can be had there; return whether another is left."""
        if len(self._engines) < 2:
            return False
        del self._engines[next(iter(self._engines))]
        self._set_first()
        return True

    def _set_workers(self, engine: Engine) -> None:
        self.workers = max(self.workers, engine.workers)

    def _store_of(self, key: str) -> str:
        failed = self._failed.get(key, ())
        return next((store for store in self._engines if store not in failed), next(iter(self._engines)))


class _Share:
    """Gives each store its fetches: the first one reads them, and puts aside those of the others.

    Parameters
    ----------
    store_of
        The store of a key.
    fetches
        All of them.
    """

    def __init__(self, store_of: Callable[[str], str], fetches: Iterator[Fetch | Pause]) -> None:
        self._store_of = store_of
        self._fetches = fetches
        self._waiting: Iterable[Fetch | Pause] = fetches
        self._is_cut = True

    def goes_on(self) -> bool:
        """Whether the first store has to be given more, after the others."""
        was_cut, self._is_cut = self._is_cut, False
        self._waiting = self._fetches
        return was_cut

    def of(self, store: str) -> Iterator[Fetch | Pause]:
        """Yield the fetches for a store."""
        waiting: Iterable[Fetch | Pause] = self._waiting
        aside: list[Fetch | Pause] = []
        self._waiting = aside
        for each in waiting:
            if isinstance(each, Pause):
                if aside:
                    self._is_cut = True  # they hold the room that this store waits for
                    return
                yield each
            elif self._store_of(each.series.key) == store:
                yield each
            else:
                aside.append(each)
