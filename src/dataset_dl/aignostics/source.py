"""Objects of Google Cloud Storage as rows of a plan: one row an object."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dataset_dl.aignostics.account import find_account
from dataset_dl.aignostics.addresses import GsAddress, place_of, places_of
from dataset_dl.aignostics.causes import Refused
from dataset_dl.aignostics.requesting import Found, Requests
from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.model.plan import Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.network import NetworkSettings
from dataset_dl.plans.columns import NAMED_FILES
from dataset_dl.plans.file import PlanFile

_AT_ONCE = 16
_GENERATION = re.compile(r"[0-9]{1,20}")


def rows_of(addresses: Sequence[str], asking: Requests) -> list[PlannedSeries]:
    """Ask the store for objects and folders, and return a row for each object.

    Raises
    ------
    SelectionError
        If an address is wrong, or names nothing.
    NetworkError
        If the account may not read something, or the store cannot be reached.
    """
    wanted = list(dict.fromkeys(map(GsAddress.of, addresses)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda each: _found(each, asking), wanted))
    objects = {each.address: each for several in answers for each in several}
    places = places_of(objects)
    return [_row(each, *places[each.address]) for each in objects.values()]


def _found(address: GsAddress, asking: Requests) -> list[Found]:
    try:
        if not address.is_folder:
            return [asking.find(address)]
        several = list(asking.below(address))
    except Refused as error:
        if error.cause == "not_found":
            raise _nothing(address, error.words) from None
        raise NetworkError(
            str(address),
            f"{address} cannot be planned: {error.words}; nothing was started.",
            "Ask the owner of the bucket for the permission storage.objects.get, for folders also"
            " storage.objects.list."
            if error.cause == "access_denied" and not error.is_for_all
            else "Try again later.",
        ) from None
    if not several:
        raise _nothing(address, f"there is nothing below {address}")
    return several


def _nothing(address: GsAddress, words: str) -> SelectionError:
    sentence = words if words.startswith("gs://") else f"{words[0].upper()}{words[1:]}"
    return SelectionError(
        str(address),
        f"{sentence}; nothing was started.",
        "Addresses are taken literally, without wildcards; that of a folder ends in a slash.",
    )


def _row(found: Found, directory: str, name: str) -> PlannedSeries:
    address = str(found.address)
    return PlannedSeries(
        collection_id=found.address.bucket,
        PatientID=None,
        StudyInstanceUID=None,
        SeriesInstanceUID=None,
        Modality=None,
        license_short_name=None,
        source_DOI=None,
        key=f"{address}#{found.generation}",
        address=address,
        directory=directory,
        instanceCount=1,
        size_bytes=found.size_bytes,
        files=f"{name}:{found.size_bytes}",
    )


class _Gcs:
    """Implements `sources.protocol.Source` with the account that the environment names."""

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        with Requests(NetworkSettings.gather(), find_account()) as asking:
            return rows_of([address], asking)

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        for number, row in enumerate(rows, 1):
            if row.address and row.scheme == "gs" and (reason := _problem(row)):
                yield number, reason

    def rights(self, rows: PlanFile) -> Rights:
        buckets = sorted({GsAddress.of(row.address).bucket for row in rows if row.scheme == "gs"})
        lines = (
            f"What gs://{each} holds was shared with your account; ask its owner what you may do with it.\n"
            for each in buckets
        )
        return Rights("".join(lines), "")


def _problem(row: PlannedSeries) -> str | None:
    """Return why this source would not have made a row."""
    try:
        address = GsAddress.of(row.address)
        places = () if address.is_folder else [place_of(address), place_of(address, is_marked=True)]
    except SelectionError as error:
        return error.message.rpartition(";")[0]
    stem, _, generation = (row.key or "").rpartition("#")
    if stem != str(address) or row.address != stem or not _GENERATION.fullmatch(generation):
        return f"{row.address} is not the address of {row.key}"
    if not NAMED_FILES.fullmatch(row.files or ""):
        return f"it does not name the file of {row.address}"
    if (row.directory, *(row.wanted() or ())) not in places or row.instanceCount != 1:
        return f"{row.address} would go to another file"
    return None


SOURCE = _Gcs()
