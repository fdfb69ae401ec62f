"""Calls of the page that shows a cohort: rights, room, layout, equivalents and files."""

from __future__ import annotations

from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Answer, Call, Given
from dataset_dl.model.plan import DEFAULT_LAYOUT
from dataset_dl.scratch import temporary_file
from dataset_dl.web.equivalents import command, python
from dataset_dl.web.explore import ASKED
from dataset_dl.web.site import Asked, Site

_EXAMPLES = 4
_FILES = {
    "parquet": "application/vnd.apache.parquet",
    "s5cmd": "text/plain",
    "csv": "text/csv",
    "bib": "application/x-bibtex",
}
HOW = {
    "to": "The destination, below a directory that the page may write to.",
    "layout": f"Directories below it, {DEFAULT_LAYOUT} by default.",
    "verify": "`md5`: also compare MD5 sums.",
    "max_rate_mbps": "Fetch no faster than this, in MB/s.",
}


def options_of(given: Given) -> dict[str, Any]:
    """Read the options of a download.

    Raises
    ------
    SelectionError
        If a value cannot be used.
    """
    options: dict[str, Any] = {}
    if layout := given.text("layout", "").strip():
        options["layout"] = layout
    if given.text("verify", ""):
        options["verify"] = given.text("verify")
    if "max_rate_mbps" in given:
        options["max_rate_mbps"] = given.number("max_rate_mbps", least=0.001, most=100_000)
    return options


def about(site: Site, given: Given) -> dict[str, Any]:
    """Tell of a cohort what a person wants to know before a download."""
    import dataset_dl as dd
    from dataset_dl.destination.disk import free_bytes, needed_bytes
    from dataset_dl.sources.idc import asking, rights

    asked, options = Asked.of(given), options_of(given)
    if not asked.what and not asked.where:
        raise SelectionError("", "Nothing is chosen yet.", "Choose a collection or another value first.")
    to = given.text("to", "").strip()
    destination = site.inside(to) if to else site.roots[0]
    found = rights.sorted_shares(asking.shares(asked.what, asked.where))
    works = rights.works(sorted({share.source_DOI for share in found if share.source_DOI}))
    layout = {"layout": options["layout"]} if "layout" in options else {}
    some = dd.plan(asked.what, where=asked.where, limit=_EXAMPLES, into=destination, **layout)
    return {
        "licences": [
            {
                "name": name,
                "asks": rights.terms(name),
                "is_restricted": rights.is_restricted(name),
                "series": count,
                "size_bytes": size_bytes,
            }
            for name, count, size_bytes in rights.by_licence(found)
        ],
        "works": [{"DOI": work.DOI, "citation": work.citation} for work in works],
        "examples": [series.directory or "." for series in some],
        "destination": str(destination),
        "free_bytes": free_bytes(destination),
        "needed_bytes": needed_bytes(
            sum(share.size_bytes for share in found), asking.count_instances(asked.what, asked.where)
        ),
        "rate_mbps": site.jobs.rate_mbps(),
        "command": command(asked.what, asked.where, to or "data", options),
        "python": python(asked.what, asked.where, to or "data", options),
    }


def file(site: Site, given: Given) -> Answer:
    """Make a file of a cohort."""
    import dataset_dl as dd
    from dataset_dl.sources.idc import asking, rights

    asked, form = Asked.of(given), given.text("format", "parquet")
    if form not in _FILES:
        raise SelectionError(form, f"There is no format “{form}”.", f"There are {', '.join(_FILES)}.")
    if form == "bib":
        shares = asking.shares(asked.what, asked.where)
        works = rights.works(sorted({share.source_DOI for share in shares if share.source_DOI}))
        return Answer(rights.bibtex(works).encode(), _FILES[form], "CITATIONS.bib")
    options = options_of(given)
    layout = {"layout": options["layout"]} if "layout" in options else {}
    with temporary_file("cohort", f".{form}") as path:
        dd.plan(asked.what, where=asked.where, **layout).save(path)
    return Answer(path, _FILES[form], f"cohort.{form}")


CALLS = (
    Call("cohort", about, "Licences, citations, room and layout of a cohort.", {**ASKED, **HOW}, "POST"),
    Call(
        "cohort/file",
        file,
        "A cohort as a file.",
        {**ASKED, "layout": HOW["layout"], "format": "parquet (a lockfile), s5cmd, csv or bib."},
    ),
)
