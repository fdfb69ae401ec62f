"""Series of NBIA as rows of a plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.plan import Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.network import NetworkSettings
from dataset_dl.plans.file import PlanFile
from dataset_dl.tcia.service import HOSTS, Nbia, NbiaAddress, is_uid

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/)?(10\.[0-9]{4,9}/\S+)", re.IGNORECASE)


_URI = re.compile(r"creativecommons\.org/licenses/(by[a-z-]*)/([0-9.]+)", re.IGNORECASE)
_NAME = re.compile(
    r"Creative Commons Attribution(-Non-?Commercial)? ([0-9.]+)(?: International| Unported)?( Licen[sc]e)?$",
    re.IGNORECASE,
)


class _Nbia:
    """Implements `sources.protocol.Source`, and gives what IDC does not have."""

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        wanted = NbiaAddress.of(address)
        found = list(_rows([wanted.SeriesInstanceUID], Nbia(NetworkSettings.gather(), wanted.host)))
        if not found:
            raise SelectionError(address, f"NBIA does not have {address}; nothing was started.")
        return found

    def rest(self, identifiers: Sequence[str], servers: Sequence[str] = ()) -> Iterator[PlannedSeries]:
        """Return the rows of those identifiers that are series of NBIA.

        Raises
        ------
        NetworkError
            If it does not answer.
        """
        left = [each for each in identifiers if is_uid(each)]
        for host in sorted(HOSTS, key=lambda each: each not in servers):
            if left:
                found = list(_rows(left, Nbia(NetworkSettings.gather(), host)))
                yield from found
                known = {row.SeriesInstanceUID for row in found}
                left = [each for each in left if each not in known]

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        for number, row in enumerate(rows, 1):
            if row.scheme == "nbia" and (reason := _problem(row)):
                yield number, reason

    def rights(self, rows: PlanFile) -> Rights:
        several = [row for row in rows if row.scheme == "nbia"]
        licences = sorted({f"{row.collection_id}: {row.license_short_name or 'unknown'}" for row in several})
        lines = ["# From The Cancer Imaging Archive", "", *(f"- {each}" for each in licences), ""]
        dois = sorted({row.source_DOI for row in several if row.source_DOI})
        cited = (f"@misc{{{re.sub('[^A-Za-z0-9]+', '_', doi)},\n  doi = {{{doi}}}\n}}\n" for doi in dois)
        return Rights("\n".join(lines), "\n".join(cited))


def _rows(uids: Sequence[str], nbia: Nbia) -> Iterator[PlannedSeries]:
    for uid, facts in nbia.metadata(uids).items():
        yield _row(uid, facts, nbia.host)


def _row(uid: str, facts: Mapping[str, Any], host: str) -> PlannedSeries:
    doi = _DOI.fullmatch(str(facts.get("DataDescriptionURI") or "").strip())
    count, size_bytes = _number(facts.get("ImageCount")), _number(facts.get("FileSize"))
    return PlannedSeries(
        collection_id=_text(facts.get("Collection")),
        PatientID=_text(facts.get("PatientID")),
        StudyInstanceUID=_text(facts.get("StudyInstanceUID")),
        SeriesInstanceUID=uid,
        Modality=_text(facts.get("Modality")),
        license_short_name=_licence(facts),
        source_DOI=doi[1] if doi else None,
        key=f"nbia:{uid}",
        address=str(NbiaAddress(host, uid)),
        directory="",
        instanceCount=count or None,
        # What NBIA says is not what arrives to the byte; the zip tells.
        size_bytes=None,
        estimated_bytes=size_bytes or None,
    )


def _licence(facts: Mapping[str, Any]) -> str | None:
    """Return a licence by IDC's short name if it is one of Creative Commons, else as NBIA calls it."""
    name = _text(facts.get("LicenseName"))
    if by_uri := _URI.search(str(facts.get("LicenseURI") or "")):
        return f"CC {by_uri[1].upper()} {by_uri[2]}"
    if by_name := _NAME.match(name or ""):
        return f"CC BY{'-NC' if by_name[1] else ''} {by_name[2]}"
    return name


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None


def _number(value: object) -> int:
    try:
        return max(0, int(float(str(value))))
    except (ValueError, OverflowError):
        return 0


def _problem(row: PlannedSeries) -> str | None:
    """Return why this source would not have made a row."""
    try:
        address = NbiaAddress.of(row.address)
    except SelectionError as error:
        return error.message.rpartition(";")[0]
    if str(address) != row.address or row.SeriesInstanceUID != address.SeriesInstanceUID:
        return f"{row.address} is not the address of {row.SeriesInstanceUID}"
    if row.key != f"nbia:{address.SeriesInstanceUID}" or row.files is not None:
        return f"{row.key} is not what {row.address} is called"
    return None


SOURCE = _Nbia()
