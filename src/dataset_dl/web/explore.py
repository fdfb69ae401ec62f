"""Calls of the page that explores IDC."""

from __future__ import annotations

from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Answer, Call, Given
from dataset_dl.model.selection import Condition
from dataset_dl.sources.idc import cube as cubes
from dataset_dl.sources.idc import kept, listing
from dataset_dl.web.site import Asked, Site

MOST_ROWS = 500
ASKED = {
    **{facet: f"Values of {facet}, any of them; may be repeated." for facet in cubes.FACETS},
    "where": "A condition like `instanceCount>=100`; may be repeated, all must hold.",
    "id": "An identifier of a collection, patient, study or series; may be repeated.",
}


def cube(site: Site, given: Given) -> Answer:
    """Return the document of the cube."""
    cubes.document()
    path = kept.path_of(cubes.NAME)
    if path.is_file():
        return Answer(path.read_bytes(), "application/json+gzip", fresh_seconds=60)
    import msgspec

    return Answer(msgspec.json.encode(cubes.document()), "application/json")


def collections(site: Site, given: Given) -> list[dict[str, Any]]:
    """Return the collections with their totals."""
    return [each._asdict() for each in listing.collections(given.text("search", ""))]


def count(site: Site, given: Given) -> dict[str, Any]:
    """Count what a cohort has, exactly."""
    from dataset_dl.sources.idc import asking

    asked = Asked.of(given)
    found = asking.count(asked.what, asked.where)
    return {"totals": found.totals._asdict(), "cells": found.cells}


def series(site: Site, given: Given) -> list[dict[str, Any]]:
    """List the series of a cohort."""
    from dataset_dl.sources.idc import asking

    asked = Asked.of(given)
    limit = int(given.number("limit", 50, least=1, most=MOST_ROWS))
    offset = int(given.number("offset", 0, most=10_000_000))
    return asking.series(asked.what, asked.where, limit=limit, offset=offset)


def suggest(site: Site, given: Given) -> list[dict[str, Any]]:
    """Say what a text may mean: an identifier, a condition, or words in descriptions."""
    from dataset_dl.sources.idc import asking
    from dataset_dl.sources.idc.known import known_column

    text = given.text("text").strip()[:500]
    if not text:
        return []
    try:
        condition = Condition.parse(text)
    except SelectionError:
        return _meanings(text, asking)
    try:
        known_column(condition.column)
        found = asking.count([], [condition])
    except SelectionError as error:
        return [{"hint": str(error), "series": 0}]
    return [{"where": str(condition), "series": found.totals.series}]


def _meanings(text: str, asking: Any) -> list[dict[str, Any]]:
    """Return what has a text as its identifier, and how many series have it in a description."""
    several: list[dict[str, Any]] = []
    try:
        several.append({"id": text, "series": asking.count([text], []).totals.series})
    except SelectionError as error:
        hint = error.message.replace("Nothing was started.", "").strip()
        several.append({"hint": hint, "series": 0})
    for column in ("SeriesDescription", "StudyDescription"):
        condition = Condition(column, "~", (text,))
        found = asking.count([], [condition])
        if found.totals.series:
            several.append({"where": str(condition), "series": found.totals.series})
    return several


CALLS = (
    Call("cube", cube, "All combinations of facets with their totals, see `dd.facets`."),
    Call("collections", collections, "Collections with their totals.", {"search": "Only those with this."}),
    Call("count", count, "Exact totals of a cohort, under conditions on any column.", ASKED),
    Call(
        "series",
        series,
        "Series of a cohort.",
        {**ASKED, "limit": f"At most so many, up to {MOST_ROWS}.", "offset": "Leave out so many."},
    ),
    Call("suggest", suggest, "What a text may mean.", {"text": "What was typed."}),
)
