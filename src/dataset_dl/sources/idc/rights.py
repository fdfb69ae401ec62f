"""Licences and citations for the data in a plan, from the tables alone."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.model.plan import Plan, Share
from dataset_dl.sources.idc.tables import table_sql

# The paper on IDC itself, to be cited with its data.
IDC_DOI = "10.1148/rg.230180"
_IDC_CITATION = (
    "Fedorov, A., Longabaugh, W. J. R., Pot, D., Clunie, D. A., Pieper, S. D., Gibbs, D. L., et al. (2023)."
    " <i>National Cancer Institute Imaging Data Commons: Toward Transparency, Reproducibility, and"
    " Scalability in Imaging Artificial Intelligence</i>. RadioGraphics."
    f" https://doi.org/{IDC_DOI}"
)
_TERMS = (
    ("CC BY-NC", "credit the source; no commercial use"),
    ("CC BY", "credit the source"),
    ("CC0", "nothing"),
)
# A family name and initials, in a list with commas: “Clunie, D. A., O’Neil, J.-P.”
_PERSON = re.compile(r"([^,.]+(?:\.[^,.]+)*), ((?:[^\W\d_]\.[ -]?)+)(?=,|$|\s*$)")
_TEX = {
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
_WORKS = """
    SELECT DISTINCT ON (lower(doi)) lower(doi), title, citation, license_url FROM (
        SELECT one.source_doi AS doi, one.source_title AS title, one.citation AS citation,
               one.license.license_url AS license_url
        FROM (SELECT unnest(sources) AS one FROM {collections})
        UNION ALL
        SELECT source_DOI, analysis_result_title, citation, license_url FROM {results}
    ) WHERE lower(doi) IN (SELECT unnest($1::VARCHAR[]))
"""


class Work(NamedTuple):
    """A published work that data comes from: DOI, title, citation (APA) and licence."""

    DOI: str
    title: str
    citation: str
    license_url: str


def shares(plan: Plan) -> list[Share]:
    """The shares of a plan: restricted licences first, then the largest."""
    return sorted_shares(plan.rows.shares())


def sorted_shares(found: Iterable[Share]) -> list[Share]:
    """Sort shares: restricted licences first, then the largest."""
    return sorted(found, key=lambda share: (
        not is_restricted(share.license_short_name), -share.size_bytes, str(share.collection_id),
    ))  # fmt: skip


def by_licence(found: Iterable[Share]) -> list[tuple[str | None, int, int]]:
    """Each licence with its series and bytes, in the order of the shares."""
    totals: dict[str | None, tuple[int, int]] = {}
    for share in found:
        count, size_bytes = totals.get(share.license_short_name, (0, 0))
        totals[share.license_short_name] = count + share.series_count, size_bytes + share.size_bytes
    return [(name, *total) for name, total in totals.items()]


def works(dois: Iterable[str]) -> list[Work]:
    """The works of some DOIs, in order, and the paper on IDC itself at the end."""
    wanted = list(dict.fromkeys(doi.lower() for doi in dois))
    sql = _WORKS.format(
        collections=table_sql("collections_index"), results=table_sql("analysis_results_index")
    )
    known = {row[0]: row for row in Database().run(sql, [wanted])}
    found = [
        Work(doi, title or doi, _plain(citation or f"https://doi.org/{doi}"), license_url or "")
        for doi, title, citation, license_url in (known.get(doi, (doi, "", "", "")) for doi in wanted)
    ]
    if IDC_DOI not in wanted:
        found.append(Work(IDC_DOI, _title(_IDC_CITATION), _plain(_IDC_CITATION), ""))
    return found


def terms(license_short_name: str | None) -> str:
    """What a licence requires, in a few words."""
    if license_short_name is None:
        return "not in the tables; ask the collection"
    for beginning, requirement in _TERMS:
        if license_short_name.startswith(beginning):
            return requirement
    return "read its terms"


def is_restricted(license_short_name: str | None) -> bool:
    """Whether a licence forbids commercial use or is unknown."""
    return license_short_name is None or license_short_name.startswith("CC BY-NC")


def licences_like(names: Sequence[str]) -> list[str]:
    """The licences of the index that match: ``CC BY`` matches every version of it, but not CC BY-NC.

    Raises
    ------
    SelectionError
        If the index has no such licence.
    """
    every = Database().column(f"SELECT DISTINCT license_short_name FROM {table_sql()} ORDER BY 1")
    chosen: list[str] = []
    for name in names:
        wanted = name.strip().lower()
        found = [each for each in every if each.lower() == wanted or each.lower().startswith(f"{wanted} ")]
        if not found:
            raise SelectionError(
                name,
                f"No series of IDC has the licence “{name}”, so nothing was started.",
                f"There are {', '.join(every)}.",
            )
        chosen += found
    return chosen


def licences_text(found: Sequence[Share], cited: Iterable[Work]) -> str:
    """The shares as a Markdown page."""
    by_doi = {work.DOI: work for work in cited}
    lines = [
        "# Licences of this data",
        "",
        "Each collection sets its own terms. Cite the works below; `CITATIONS.bib` lists them.",
        "",
        "| licence | it asks | collection | series | MB | work |",
        "|---|---|---|---|---|---|",
    ]
    for share in found:
        name, requirement = share.license_short_name or "unknown", terms(share.license_short_name)
        work = by_doi.get((share.source_DOI or "").lower())
        name = _markdown(name)
        licence = f"[{name}]({_link(work.license_url)})" if work and work.license_url else name
        if is_restricted(share.license_short_name):
            licence, requirement = f"**{licence}**", f"**{requirement}**"
        told = f"[{_markdown(work.title)}]({_link(_doi_url(work))})" if work else "not in the tables"
        lines.append(
            f"| {licence} | {requirement} | {_markdown(str(share.collection_id))} | {share.series_count:,} |"
            f" {share.size_bytes / 1e6:,.1f} | {told} |"
        )
    return "\n".join(lines) + "\n"


def bibtex(found: Iterable[Work]) -> str:
    """Works as BibTeX."""
    return "\n".join(map(_entry, found))


def cited(work: Work, style: str) -> str:
    """A work as ``apa``, ``bibtex`` or ``json``."""
    if style == "json":
        return json.dumps(_csl(work), ensure_ascii=False)
    return _entry(work).strip() if style == "bibtex" else work.citation


def _csl(work: Work) -> dict[str, object]:
    authors, year, publisher = _parts(work.citation)
    return {
        "type": "dataset",
        "id": f"https://doi.org/{work.DOI}",
        "DOI": work.DOI,
        "URL": f"https://doi.org/{work.DOI}",
        "title": work.title,
        "author": _names(authors) or [{"literal": authors}],
        "issued": {"date-parts": [[int(year)]]} if year else {},
        "publisher": publisher,
    }


def _entry(work: Work) -> str:
    authors, year, publisher = _parts(work.citation)
    fields = {
        "author": _tex_authors(authors),
        "title": f"{{{_tex(work.title)}}}",
        "year": year,
        "publisher": _tex(publisher),
        "doi": _tex(work.DOI),
        "url": _tex(_doi_url(work)),
    }
    key = re.sub(r"[^A-Za-z0-9]+", "_", work.DOI)
    told = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@misc{{{key},\n{told}\n}}\n"


def _names(authors: str) -> list[dict[str, str]]:
    """The authors as CSL names; empty if the text is not a list of persons."""
    text = re.sub(r",?\s*(?:&|\band\b|…|\.\.\.)\s*", ", ", authors).strip(" ,")
    text, has_others = re.subn(r",?\s*et al\.?$", "", text)
    persons = _PERSON.findall(text)
    told = ", ".join(f"{family}, {given}" for family, given in persons)
    if not persons or told.replace(" ", "").rstrip(".") != text.replace(" ", "").rstrip("."):
        return []
    found = [{"family": family.strip(), "given": given.strip()} for family, given in persons]
    return [*found, *([{"literal": "others"}] if has_others else [])]


def _tex_authors(authors: str) -> str:
    """The authors for BibTeX, joined with ``and``; if the text is not a list of persons, as one name."""
    if persons := _names(authors):
        return " and ".join(
            f"{_tex(each['family'])}, {_tex(each['given'])}" if "family" in each else "others"
            for each in persons
        )
    return f"{{{_tex(authors)}}}"


def _parts(citation: str) -> tuple[str, str, str]:
    """Authors, year and publisher of an APA citation; each is empty if it is missing."""
    match = re.match(r"(.*?)\s*\((\d{4})[^)]*\)", citation, re.DOTALL)
    end = re.search(r"\.\s+([^.]+)\.\s+https?://", citation)
    return (match[1] if match else "", match[2] if match else "", end[1] if end else "")


def _plain(citation: str) -> str:
    return " ".join(re.sub(r"</?i>", "", html.unescape(citation)).split())


def _title(citation: str) -> str:
    match = re.search(r"<i>(.*?)</i>", citation, re.DOTALL)
    return match[1] if match else ""


def _doi_url(work: Work) -> str:
    return f"https://doi.org/{quote(work.DOI, safe='/().:;-_')}"


def _tex(text: str) -> str:
    """A text on one line, with LaTeX's special characters escaped."""
    return "".join(_TEX.get(each, each) for each in " ".join(text.split()))


def _markdown(text: str) -> str:
    """A text on one line, with Markdown's special characters escaped."""
    return re.sub(r"([\\`*\[\]<>|~])", r"\\\1", " ".join(text.split()))


def _link(url: str) -> str:
    """An address quoted so that no character in it ends a Markdown link."""
    return quote(url, safe="/:?&=#%.,;-_~+@")
