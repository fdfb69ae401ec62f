"""Which series of a run belong together for a consumer, and which of them it has not taken yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dataset_dl.model.series import PlannedSeries


class Groups:
    """The groups of one consumer.

    Parameters
    ----------
    rows
        All series of the run.
    group_of
        Returns the name of a series' group.
    """

    def __init__(self, rows: Iterable[PlannedSeries], group_of: Callable[[PlannedSeries], str]) -> None:
        self._group_of = group_of
        self._keys: dict[str, list[str]] = {}
        for row in rows:
            self._keys.setdefault(group_of(row), []).append(row.key)
        self._left = {name: set(keys) for name, keys in self._keys.items()}

    def taken(self, series: PlannedSeries) -> tuple[str, Sequence[str]] | None:
        """Count a series that was taken; return the name and the keys of its group if it was the last one."""
        name = self._group_of(series)
        left = self._left.get(name, set())
        if series.key not in left:
            return None
        left.remove(series.key)
        return None if left else (name, sorted(self._keys[name]))
