"""Where each series of a destination stands on its way to XNAT, by the receipts; no server is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination.consumers import Receipt
from dataset_dl.destination.records import kept_plan, reading_whole, receipts
from dataset_dl.errors import ManifestError

# Where a tree of zips keeps the records of its delivery.
OF_ZIPS = ".xnat"


class Standing(NamedTuple):
    """Where a series stands.

    Attributes
    ----------
    SeriesInstanceUID, PatientID, Modality
        Which series.
    state
        ``absent`` (not downloaded), ``verified`` (on disk), ``uploaded`` (all instances are in the
        prearchive), ``committed`` (XNAT said that the session is in the archive), ``confirmed`` (each
        instance was found there), or ``skipped``.
    subject, session
        Where it went.
    instances
        How many, if known.
    at
        When the last step was recorded, in local time.
    project
        The project.
    """

    SeriesInstanceUID: str | None
    PatientID: str | None
    Modality: str | None
    state: str
    subject: str
    session: str
    instances: int | None
    at: str
    project: str


def standings(destination: Path) -> Iterator[Standing]:
    """Yield where each series stands, for each project that anything of it went to.

    Raises
    ------
    ManifestError
        If no download went there.
    """
    if (destination / OF_ZIPS).is_dir():
        destination = destination / OF_ZIPS
    kept = kept_plan(destination)
    if kept is None:
        raise ManifestError(
            str(destination),
            f"No download went to {destination}, so nothing can have gone from there to XNAT.",
        )
    by_project: dict[str, dict[str, Receipt]] = {}
    for each in receipts(destination, "xnat"):
        by_project.setdefault(each.consumer.removeprefix("xnat:"), {})[each.key] = each
    with reading_whole(destination) as is_whole:
        for project, found in sorted(by_project.items()) or [("", {})]:
            for row in kept:
                receipt = found.get(row.key)
                uid, patient, kind = row.SeriesInstanceUID, row.PatientID, row.Modality
                if receipt is None:
                    state = "verified" if is_whole(row) else "absent"
                    yield Standing(uid, patient, kind, state, "", "", row.instanceCount, "", project)
                    continue
                made, last = receipt.made, receipt
                state = str(made["state"])
                session = found.get(f"group:{made['session']}")
                if state == "uploaded" and session and session.delivered_at >= receipt.delivered_at:
                    state, last = str(session.made["state"]), session
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.delivered_at))
                where = str(made["subject"]), str(made["session"])
                yield Standing(uid, patient, kind, state, *where, made["instances"], at, project)
