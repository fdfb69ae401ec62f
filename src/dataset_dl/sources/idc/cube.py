"""Exact totals for any filter over nine facets, without opening the index.

The million series have some 5,000 combinations of values, here called cells. Patients and studies fall into
as many sets of cells; so all of them can be counted without looking at one. The cube of a version is built
once, and kept.
"""

from __future__ import annotations

import difflib
import gzip
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.scratch import written_whole
from dataset_dl.sources.idc import releases
from dataset_dl.sources.idc.columns import SIZE_BYTES
from dataset_dl.sources.idc.tables import cache_directory, table_sql

_FORM = 1
_PARTS = {"values", "collections", "cells", "sums", "patients", "studies"}
# Facet → its SQL in the main index; a missing value is an empty text.
_OF_SERIES = {
    "collection_id": "collection_id",
    "Modality": "coalesce(Modality, '')",
    "BodyPartExamined": "coalesce(BodyPartExamined, '')",
    "license_short_name": "coalesce(license_short_name, '')",
    "Manufacturer": "coalesce(Manufacturer, '')",
    "year": "coalesce(left(StudyDate, 4), '')",
    "origin": "CASE WHEN analysis_result_id IS NULL THEN 'original' ELSE 'analysis result' END",
}
# Facets of a collection, which may have several values.
_OF_COLLECTION = ("cancer_types", "species")
FACETS = (
    "collection_id",
    "cancer_types",
    *(name for name in _OF_SERIES if name != "collection_id"),
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
        What `_built` has made.
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
        return list(_OF_SERIES)

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
        if facet in _OF_COLLECTION:
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
    path = cache_directory() / f"cube-{_FORM}.json.gz"
    found = _kept(path)
    if found is None or found.get("version") != version or not found.keys() >= _PARTS:
        found = {"version": version, **_built()}
        with suppress(OSError, StorageError):  # keeping it only saves time
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as unfinished:
                unfinished.write_bytes(
                    gzip.compress(json.dumps(found, separators=(",", ":")).encode(), mtime=0)
                )
    return Cube(found)


def _kept(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, EOFError):
        document: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        return document if isinstance(document, dict) else None
    return None


def _built() -> dict[str, Any]:
    """Build the cube from the tables."""
    database = Database()
    dimensions = ", ".join(f"{sql} AS {name}" for name, sql in _OF_SERIES.items())
    names = ", ".join(_OF_SERIES)
    database.run(
        f"CREATE TEMP TABLE held AS SELECT {dimensions}, PatientID, StudyInstanceUID, instanceCount,"
        f" {SIZE_BYTES} AS size_bytes FROM {table_sql()}"
    )
    database.run(
        f"CREATE TEMP TABLE cells AS SELECT *, row_number() OVER (ORDER BY {names}) - 1 AS cell FROM ("
        f"SELECT {names}, count(*) AS series, sum(instanceCount)::BIGINT AS instances,"
        f" sum(size_bytes)::BIGINT AS size_bytes FROM held GROUP BY {names})"
    )
    database.run(
        f"CREATE TEMP TABLE placed AS SELECT cell, collection_id, PatientID, StudyInstanceUID"
        f" FROM held JOIN cells USING ({names})"
    )
    rows = list(database.run(f"SELECT {names}, series, instances, size_bytes FROM cells ORDER BY cell"))
    count = len(_OF_SERIES)
    values = {name: sorted({row[place] for row in rows}) for place, name in enumerate(_OF_SERIES)}
    numbers = {
        name: {value: number for number, value in enumerate(several)} for name, several in values.items()
    }
    return {
        "values": values,
        "cells": [[numbers[name][row[place]] for place, name in enumerate(_OF_SERIES)] for row in rows],
        "sums": [list(row[count:]) for row in rows],
        "patients": _sets(database, "collection_id, PatientID"),
        "studies": _sets(database, "StudyInstanceUID"),
        "collections": {name: _of_collections(database, name) for name in _OF_COLLECTION},
    }


def _sets(database: Database, key: str) -> list[list[Any]]:
    """Return each set of cells that somebody has, and how many have it."""
    sql = (
        "SELECT several, count(*) FROM (SELECT list_sort(list(DISTINCT cell)) AS several FROM placed"
        f" GROUP BY {key}) GROUP BY several ORDER BY several"
    )
    return [[list(cells), count] for cells, count in database.run(sql)]


def _of_collections(database: Database, column: str) -> dict[str, list[str]]:
    sql = f"SELECT collection_id, {column} FROM {table_sql('collections_index')} ORDER BY collection_id"
    return {
        collection: sorted({part.strip() for part in (text or "").split(",")})
        for collection, text in database.run(sql)
    }
