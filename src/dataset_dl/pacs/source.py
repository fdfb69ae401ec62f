"""Series of archives as rows of a plan: the instances of each are asked for first, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataset_dl.errors import SelectionError
from dataset_dl.model.plan import Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.address import Address
from dataset_dl.pacs.archives import Archive, archive_of
from dataset_dl.pacs.dicomweb import Row
from dataset_dl.pacs.intake import name_of
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.pacs.query import Query
from dataset_dl.pixels.identity import is_uid
from dataset_dl.plans.file import PlanFile

_INSTANCE = ("SOPInstanceUID",)
# Archives do not say how large instances are; these are usual sizes without compression.
_BYTES = {
    "CR": 10_000_000, "CT": 530_000, "DX": 15_000_000, "MG": 30_000_000, "MR": 300_000, "NM": 500_000,
    "PT": 50_000, "SM": 100_000_000, "SR": 50_000, "US": 2_000_000, "XA": 20_000_000,
}  # fmt: skip
_USUAL_BYTES = 500_000


class _Archives:
    """Implements `sources.protocol.Source` for one scheme."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        wanted = Address.of(address)
        node = Nodes().find(wanted.node)
        query = Query.of(wanted.conditions, "series")
        if wanted.scheme == "dicomweb" and not node.dicomweb:
            raise SelectionError(
                address,
                f"The node {node.name} ({node.address}) does not speak DICOMweb; nothing was started.",
                f"Write dimse://{node.name}/… instead.",
            )
        node.refuse_now("nothing was asked")
        asked = node if wanted.scheme == "dicomweb" else node.by_dimse
        with archive_of(asked, NetworkSettings.gather()) as archive:
            found = list(query.rows(archive))
            if not found:
                raise SelectionError(address, f"{node.name} has nothing for {address}; nothing was started.")
            rows = [_row(each, node, archive, self._scheme) for each in found]
        several: dict[str, PlannedSeries] = {}
        for row in rows:
            if (known := several.setdefault(row.key, row)).StudyInstanceUID != row.StudyInstanceUID:
                raise SelectionError(
                    address,
                    f"{node.name} has the series {row.SeriesInstanceUID} in two studies,"
                    f" {known.StudyInstanceUID} and {row.StudyInstanceUID}, so one would be taken for the"
                    " other; nothing was started.",
                    "Fetch the studies into a directory each.",
                )
        return several.values()

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        for number, row in enumerate(rows, 1):
            if row.scheme == self._scheme and (reason := _problem(row)):
                yield number, reason

    def rights(self, rows: PlanFile) -> Rights:
        nodes = sorted({Address.of(row.address).node for row in rows if row.scheme == self._scheme})
        lines = ["# From archives", "", *(f"- {name}: ask its owner what is allowed" for name in nodes), ""]
        return Rights("\n".join(lines), "")


def key_of(node: str, series: str) -> str:
    """Return the key of a series of an archive: another one may have other contents."""
    return f"pacs:{node}:{series}"


def uids_of(row: PlannedSeries) -> set[str]:
    """Return the SOPInstanceUIDs of a row."""
    return {name.removesuffix(".dcm") for name in row.wanted() or ()}


def _row(found: Row, node: Node, archive: Archive, scheme: str) -> PlannedSeries:
    study, series = found.get("StudyInstanceUID", ""), found.get("SeriesInstanceUID", "")
    if not (is_uid(study) and is_uid(series)):
        raise SelectionError(
            node.name, f"{node.name} lists a series without valid UIDs ({study[:70]!r}, {series[:70]!r})."
        )
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    uids = [row.get("SOPInstanceUID", "") for row in archive.find("image", keys, _INSTANCE)]
    if wrong := next((uid for uid in uids if not is_uid(uid)), None):
        raise SelectionError(node.name, f"{node.name} lists an instance of {series} as {wrong[:70]!r}.")
    told = found.get("NumberOfSeriesRelatedInstances", "")
    if not uids or (told.isdigit() and int(told) > len(set(uids))):
        raise SelectionError(
            node.name,
            f"{node.name} says that the series {series} has {told or 'some'} instances, but lists"
            f" {len(set(uids)):,}; nothing was started, because some would be lost.",
            "Ask again: it may have been receiving them. If not, its database needs its administrator.",
        )
    return PlannedSeries(
        collection_id=node.name,
        PatientID=found.get("PatientID") or None,
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        Modality=found.get("Modality") or None,
        license_short_name=None,
        source_DOI=None,
        key=key_of(node.name, series),
        address=str(Address(scheme, node.name, keys)),
        directory="",
        instanceCount=len(set(uids)),
        size_bytes=None,
        estimated_bytes=len(set(uids)) * _BYTES.get(found.get("Modality", ""), _USUAL_BYTES),
        files="/".join(f"{name_of(uid)}:" for uid in sorted(set(uids))),
    )


def _problem(row: PlannedSeries) -> str | None:
    """Return why this source would not have made a row."""
    try:
        address = Address.of(row.address)
    except SelectionError as error:
        return error.message.rpartition(";")[0]
    series = address.conditions.get("SeriesInstanceUID")
    if str(address) != row.address or set(address.conditions) != {"StudyInstanceUID", "SeriesInstanceUID"}:
        return f"{row.address} is not the address of a series"
    if (row.SeriesInstanceUID, row.StudyInstanceUID, row.key) != (
        series, address.conditions["StudyInstanceUID"], key_of(address.node, str(series))
    ):  # fmt: skip
        return f"{row.key} is not what {row.address} is called"
    if not row.files or not all(map(is_uid, uids_of(row))):
        return f"{row.address} names no instances"
    return None


DICOMWEB, DIMSE = _Archives("dicomweb"), _Archives("dimse")
