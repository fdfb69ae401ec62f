"""Exact totals for any filter over nine facets, without opening the index.

The million series have some 5,000 combinations of values, here called cells. Patients and studies fall into
as many sets of cells; so all of them can be counted without looking at one. The cube of a version is built
once, and kept.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from dataset_dl.errors import SelectionError
from dataset_dl.sources.idc import releases
from dataset_dl.sources.idc.columns import FACETS_OF_COLLECTION, FACETS_OF_SERIES
from dataset_dl.sources.idc.kept import kept

NAME = "cube-1"
_PARTS = {"values", "collections", "cells", "sums", "patients", "studies"}
FACETS = (
    "collection_id",
    "cancer_types",
    *(name for name in FACETS_OF_SERIES if name != "collection_id"),
    "species",
)


class Totals(NamedTuple):
    """How much a filter selects: numbers of patients, studies, series, files and bytes."""

    patients: int
    studies: int
    series: int
    instances: int
    size_bytes: int


Where = Mapping[str, Collection[str]]


class Cube:
    """All combinations of values that occur, with their totals.

    Parameters
    ----------
    document
        From `document`.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.version: str = document["version"]
        self._values: dict[str, list[str]] = document["values"]
        self._of_collection: dict[str, dict[str, list[str]]] = document["collections"]
        self._cells: list[list[int]] = document["cells"]
        self._sums: list[list[int]] = document["sums"]
        self._patients: list[list[Any]] = document["patients"]
        self._studies: list[list[Any]] = document["studies"]

    @cached_property
    def _names(self) -> list[str]:
        return list(FACETS_OF_SERIES)

    def values(self, facet: str) -> list[str]:
        """Return the values of a facet, sorted.

        Raises
        ------
        SelectionError
            If there is no such facet.
        """
        check_facet(facet)
        if facet in self._values:
            return sorted(self._values[facet])
        return sorted({value for each in self._of_collection[facet].values() for value in each})

    def check(self, where: Where) -> None:
        """Refuse values that a facet does not have.

        Raises
        ------
        SelectionError
            If there is one; its hint has the nearest.
        """
        for facet, wanted in where.items():
            known = self.values(facet)
            for value in wanted:
                if value not in known:
                    near = difflib.get_close_matches(value, known, n=3, cutoff=0.5)
                    near += [each for each in known if each.lower() == value.lower() and each not in near]
                    shown = [f'"{each}"' if "," in each else each for each in near[:3]]
                    hint = f"Did you mean {' or '.join(shown)}?" if near else ""
                    raise SelectionError(value, f"No series of IDC has {facet} “{value}”.", hint)

    def totals(self, where: Where | None = None) -> Totals:
        """Return how much a filter selects.

        Parameters
        ----------
        where
            Facet → the values that are wanted, any of them; all facets must hold. An empty text is a missing
            value.

        Raises
        ------
        SelectionError
            If there is no such facet.
        """
        chosen = self._matching(where or {})
        series = instances = size_bytes = 0
        for cell, is_chosen in enumerate(chosen):
            if is_chosen:
                one, two, three = self._sums[cell]
                series, instances, size_bytes = series + one, instances + two, size_bytes + three
        return Totals(
            _having(self._patients, chosen), _having(self._studies, chosen), series, instances, size_bytes
        )

    def counts(self, facet: str, where: Where | None = None) -> dict[str, Totals]:
        """Return how much each value of a facet selects, under a filter of the others; the largest first.

        Raises
        ------
        SelectionError
            If there is no such facet.
        """
        check_facet(facet)
        others = {name: values for name, values in (where or {}).items() if name != facet}
        chosen = self._matching(others)
        of_cell = self._values_of_cells(facet)
        sums: dict[str, list[int]] = {}
        for cell, is_chosen in enumerate(chosen):
            for value in of_cell[cell] if is_chosen else ():
                sums.setdefault(value, [0, 0, 0, 0, 0])
                for place, amount in enumerate(self._sums[cell], 2):
                    sums[value][place] += amount
        for place, sets in enumerate((self._patients, self._studies)):
            for cells, count in sets:
                for value in {value for cell in cells if chosen[cell] for value in of_cell[cell]}:
                    sums[value][place] += count
        found = {value: Totals(*amounts) for value, amounts in sums.items()}
        return dict(sorted(found.items(), key=lambda each: (-each[1].series, each[0])))

    def _matching(self, where: Where) -> list[bool]:
        chosen = [True] * len(self._cells)
        for facet, wanted in where.items():
            check_facet(facet)
            values = set(wanted)
            of_cell = self._values_of_cells(facet)
            for cell, has in enumerate(of_cell):
                if chosen[cell] and not values.intersection(has):
                    chosen[cell] = False
        return chosen

    def _values_of_cells(self, facet: str) -> list[list[str]]:
        """Return the values that each cell has."""
        if facet in FACETS_OF_COLLECTION:
            collections, known = self._values["collection_id"], self._of_collection[facet]
            return [known.get(collections[cell[0]], [""]) for cell in self._cells]
        place, values = self._names.index(facet), [[value] for value in self._values[facet]]
        return [values[cell[place]] for cell in self._cells]


def _having(sets: Iterable[list[Any]], chosen: list[bool]) -> int:
    """Count those that have a chosen cell."""
    return sum(count for cells, count in sets if any(chosen[cell] for cell in cells))


def check_facet(name: str) -> None:
    """Refuse a name that is no facet.

    Raises
    ------
    SelectionError
        If it is none.
    """
    if name not in FACETS:
        raise SelectionError(name, f"“{name}” is no facet.", f"Known are {', '.join(FACETS)}.")


def cube() -> Cube:
    """Return the cube of the version in use; built on first use, which takes some seconds.

    Raises
    ------
    SelectionError
        If the version is not on this machine.
    """
    return _cube(releases.chosen())


@lru_cache(maxsize=2)
def _cube(version: str) -> Cube:
    return Cube(document())


def document() -> dict[str, Any]:
    """Return what a cube is made of, for programs in other languages; see `counting.document`."""

    def make() -> dict[str, Any]:
        from dataset_dl.sources.idc import counting  # late, because loading DuckDB takes long

        return counting.document()

    return kept(NAME, _PARTS, make)
