"""Counts the combinations of facets in the tables, for the cube."""

from __future__ import annotations

from typing import Any

from dataset_dl.duck import Database
from dataset_dl.sources.idc.columns import FACETS_OF_COLLECTION, FACETS_OF_SERIES, SIZE_BYTES
from dataset_dl.sources.idc.tables import table_sql


def document() -> dict[str, Any]:
    """Count everything, which takes some seconds.

    Returns
    -------
    dict
        ``values``: facet of a series → its values; a cell has the number of one of each, in this order.
        ``collections``: facet of a collection → collection → its values.
        ``cells``: each combination that occurs. ``sums``: series, instances and bytes of each cell.
        ``patients``, ``studies``: each set of cells that somebody has, and how many have it.
    """
    database = Database()
    dimensions = ", ".join(f"{sql} AS {name}" for name, sql in FACETS_OF_SERIES.items())
    names = ", ".join(FACETS_OF_SERIES)
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
    count = len(FACETS_OF_SERIES)
    values = {name: sorted({row[place] for row in rows}) for place, name in enumerate(FACETS_OF_SERIES)}
    numbers = {
        name: {value: number for number, value in enumerate(several)} for name, several in values.items()
    }
    return {
        "values": values,
        "cells": [[numbers[name][row[place]] for place, name in enumerate(FACETS_OF_SERIES)] for row in rows],
        "sums": [list(row[count:]) for row in rows],
        "patients": _sets(database, "collection_id, PatientID"),
        "studies": _sets(database, "StudyInstanceUID"),
        "collections": {name: _of_collections(database, name) for name in FACETS_OF_COLLECTION},
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
