"""Calls for archives: which there are, what they have, and a look at a series."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import EVERYBODY, Call, Given, Place, Right
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.asking import ask
from dataset_dl.pacs.echo import echo
from dataset_dl.pacs.nodes import Nodes
from dataset_dl.pacs.query import COLUMNS, KEYWORDS, Query
from dataset_dl.pacs.served.fetching import node_of
from dataset_dl.pacs.served.records import log
from dataset_dl.pixels.identity import is_uid

_VERBS = ("query", "retrieve", "retrieve-pseudonymised", "send", "verify")
_LEVELS = {"patients": "patient", "studies": "study", "series": "series"}
# What was fetched to be looked at goes when somebody looks at something else, this long after.
_LOOK_SECONDS = 12 * 3600.0


def nodes(place: Place, given: Given) -> list[dict[str, Any]]:
    """List the nodes that a person may use, with what they may do there."""
    found = []
    for name, node in sorted(Nodes().all().items()):
        verbs = [verb for verb in _VERBS if given.person.may(verb, name)]
        if verbs:
            kinds = [kind for kind in ("dimse", "dicomweb", "directory") if getattr(node, kind)]
            found.append({"name": name, "kinds": kinds, "hours": node.hours, "may": verbs})
    return found


def echo_node(place: Place, given: Given) -> dict[str, float]:
    """Ask whether a node listens."""
    return {"seconds": round(echo(node_of(given.text("node")), NetworkSettings.gather()), 4)}


def query(place: Place, given: Given) -> dict[str, Any]:
    """Ask a node for patients, studies or series."""
    node, level = node_of(given.text("node")), _LEVELS.get(given.text("level"))
    if level is None:
        raise SelectionError("level", f"The level is one of {', '.join(_LEVELS)}.")
    if unknown := sorted({*given.names()} - {*KEYWORDS, "node", "level"}):
        raise SelectionError(
            unknown[0],
            f"“{unknown[0]}” is no attribute that can be asked for; there are {', '.join(KEYWORDS)}.",
        )
    asked = {name: given.text(name) for name in KEYWORDS if name in given}
    wanted = Query.of(asked, level)
    columns = COLUMNS[wanted.level]
    rows = list(ask(node, wanted, NetworkSettings.gather()))
    log(given.person, "query", node.name, " ".join(f"{name}={value}" for name, value in asked.items()))
    return {"columns": columns, "rows": [{name: row.get(name, "") for name in columns} for row in rows]}


def look(place: Place, given: Given) -> dict[str, str]:
    """Fetch a series, so that the page of series can show it."""
    from dataset_dl.pacs.address import Address
    from dataset_dl.verbs.download import run, transferred
    from dataset_dl.verbs.plan import plan

    node, study, series = node_of(given.text("node")), given.text("study"), given.text("series")
    if not (is_uid(study) and is_uid(series)):
        raise SelectionError(series, "This is no UID.")
    place_of_node = place.directory_for("retrieve", node.name)
    _forget_old(place_of_node)
    if place.directory_of(series) is None:
        address = Address(node.scheme, node.name, {"StudyInstanceUID": study, "SeriesInstanceUID": series})
        report = run(transferred(plan([str(address)]), place_of_node / series, {}))
        if not report.ok:
            raise SelectionError(series, f"{node.name} did not send all of the series.", "Try again.")
    log(given.person, "retrieve", node.name, f"{study}/{series}")
    return {"series": series}


def _forget_old(directory: Path) -> None:
    """Remove series that somebody has looked at some time ago."""
    for each in directory.glob("*") if directory.is_dir() else ():
        if time.time() - each.stat().st_mtime > _LOOK_SECONDS:
            shutil.rmtree(each, ignore_errors=True)


_NODE = {"node": "The name of a node."}
CALLS: tuple[Call, ...] = (
    Call("pacs/nodes", nodes, "The nodes, and what may be done there.", rights=EVERYBODY),
    Call(
        "pacs/nodes/{node}/echo", echo_node, "Whether a node listens.", _NODE,
        rights=(Right("|".join(_VERBS), "node"),),
    ),
    Call(
        "pacs/nodes/{node}/{level}", query, "Patients, studies or series of a node.",
        {**_NODE, "level": "patients, studies or series.", **dict.fromkeys(KEYWORDS, "What must match.")},
        rights=(Right("query", "node"),),
    ),
    Call(
        "pacs/nodes/{node}/look", look, "Fetch a series, to be shown.",
        {**_NODE, "study": "Its StudyInstanceUID.", "series": "Its SeriesInstanceUID."}, method="POST",
        rights=(Right("retrieve", "node"),),
    ),
)  # fmt: skip
