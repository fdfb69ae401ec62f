"""Web addresses that name data: of the IDC portal, a viewer, a DOI, a collection's page at TCIA."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

from dataset_dl.errors import ManifestError

_WEB = re.compile(r"https?://", re.IGNORECASE)
_DOI_HOSTS = ("doi.org", "dx.doi.org")
# Query parameters that name series, studies and collections, the most exact first.
_NAMING = (
    ("seriesinstanceuid", "seriesinstanceuids", "initialseriesinstanceuid"),
    ("studyinstanceuid", "studyinstanceuids"),
    ("collection_id",),
)
# Query parameters of the portal and the viewers that select no data.
_IDLE = re.compile(r".*_op|sort|page|view|hangingprotocolId|configUrl|names|url", re.IGNORECASE)
_PATHS = (
    re.compile(r"/studies/(?P<study>[0-9.]+)(?:/series/(?P<series>[0-9.]+))?"),  # of Slim, and DICOMweb
    re.compile(r"/viewer/(?P<study>[0-9.]+)"),  # of OHIF 2
    re.compile(r"/collections?/(?P<collection>[A-Za-z0-9_.-]+)/?$"),  # of a collection's page
)
_S3 = re.compile(r"s3://[a-z0-9.-]+/[0-9a-f-]{36}", re.IGNORECASE)


def is_web(text: str) -> bool:
    """Whether a text is a web address."""
    return _WEB.match(text) is not None


def named(address: str) -> tuple[str, ...]:
    """The identifiers, or addresses of series in a store, in a web address.

    Raises
    ------
    ManifestError
        If it names none, or has filters that cannot be read from it.
    """
    parts = urlsplit(address)
    if (parts.hostname or "").lower() in _DOI_HOSTS:
        return (unquote(parts.path.strip("/")),)
    parameters = parse_qs(parts.query)
    query = {name.lower(): values for name, values in parameters.items()}
    if stored := _S3.findall(unquote(parts.query)):  # of VolView
        return tuple(dict.fromkeys(stored))
    if series := _values(query, _NAMING[0]):
        return series
    fragment = urlsplit(parts.fragment)
    for path in (unquote(parts.path), unquote(fragment.path)):
        for pattern in _PATHS:
            if match := pattern.search(path):
                found = match.groupdict()
                return (found.get("series") or found.get("study") or found["collection"],)
    for names in _NAMING[1:]:
        if values := _values(query, names):
            known = {name for several in _NAMING for name in several}
            _refuse_filters(address, {name for name in parameters if name.lower() not in known})
            return values
    raise ManifestError(
        address,
        f"{address} names no collection, study or series, so nothing was started.",
        "Give an address of the IDC portal or of its viewer, a DOI, or an identifier.",
    )


def _values(query: dict[str, list[str]], names: tuple[str, ...]) -> tuple[str, ...]:
    several = (value for name in names for each in query.get(name, ()) for value in each.split(","))
    return tuple(dict.fromkeys(value for value in several if value))


def _refuse_filters(address: str, names: set[str]) -> None:
    filters = sorted(name for name in names if not _IDLE.fullmatch(name))
    if filters:
        raise ManifestError(
            address,
            f"{address} also chooses by {', '.join(filters)}, which cannot be read from an address;"
            " nothing was started.",
            "Give the collection, and add the rest with --where; or download the manifest from the portal.",
        )
