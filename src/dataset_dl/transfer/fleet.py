"""The engines of a transfer: one for each scheme of addresses, made and probed on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dataset_dl.engines.protocol import Engine
from dataset_dl.model.series import PlannedSeries, StoredObject


class Fleet:
    """Provides the engine for each series.

    Parameters
    ----------
    engine_for
        Makes the engine for a scheme; called once per scheme.
    """

    def __init__(self, engine_for: Callable[[str], Engine]) -> None:
        self._engine_for = engine_for
        self._engines: dict[str, Engine] = {}

    def of(self, series: PlannedSeries) -> Engine:
        """Return the engine for a series; make and probe it on first use.

        Raises
        ------
        EngineMissing
            If there is none.
        NetworkError
            If nothing can be fetched.
        """
        scheme = series.scheme
        if scheme not in self._engines:
            engine = self._engine_for(scheme)
            engine.probe(series.address)
            self._engines[scheme] = engine
        return self._engines[scheme]

    def reach(self, several: Iterable[PlannedSeries], schemes: Iterable[str]) -> None:
        """Make and probe the engine of each scheme, with the first series that has it."""
        left = set(schemes) - self._engines.keys()
        for series in several:
            if not left:
                return
            if series.scheme in left:
                self.of(series)
                left.discard(series.scheme)

    def objects(self, several: Sequence[PlannedSeries]) -> dict[str, list[StoredObject]]:
        """Return the objects that the stores list, by key; leave out series without a full list."""
        found: dict[str, list[StoredObject]] = {}
        by_scheme: dict[str, list[PlannedSeries]] = {}
        for series in several:
            by_scheme.setdefault(series.scheme, []).append(series)
        for same in by_scheme.values():
            found |= self.of(same[0]).objects(same)
        return found

    @property
    def schemes(self) -> list[str]:
        """The schemes that have an engine."""
        return list(self._engines)

    def engine(self, scheme: str) -> Engine:
        """Return the engine of a scheme that was reached."""
        return self._engines[scheme]

    @property
    def name(self) -> str:
        """The names of all engines."""
        return ", ".join(dict.fromkeys(each.name for each in self._engines.values()))

    @property
    def workers(self) -> int:
        """The workers of the engine with the most."""
        return max(each.workers for each in self._engines.values())
