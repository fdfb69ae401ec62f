"""Whether a node listens, and what it can."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from dataset_dl.errors import DatasetDlError, NetworkError, SelectionError, StorageError
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import require, services
from dataset_dl.pacs.dicomweb import DicomWeb
from dataset_dl.pacs.negotiation import MOST_CONTEXTS, Proposal, associate
from dataset_dl.pacs.nodes import Node

_CT = "1.2.840.10008.5.1.4.1.1.2"
# What an archive is asked to take, for the probe.
_CLASSES = (
    _CT,
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.77.1.6",
)
_NOBODY = "2.25.0"


class Ability(NamedTuple):
    """A service, whether a node offers it, and what else is known of it."""

    service: str
    offered: bool
    details: str


def echo(node: Node, network: NetworkSettings) -> float:
    """Ask whether a node listens; return how many seconds it took.

    Raises
    ------
    NetworkError
        If it does not answer.
    SelectionError
        If it lets nobody in.
    StorageError
        If it is a directory that cannot be written to.
    """
    began = time.monotonic()
    if node.directory and not _is_writable(node):
        raise StorageError(node.directory, f"The directory {node.directory} cannot be written to.")
    if node.dimse:
        require()
        proposal = Proposal(services.VERIFICATION, (services.IMPLICIT,))
        with associate(node.peer(network), [proposal]) as association:
            services.echo(association)
    if node.dicomweb:
        with closing(DicomWeb(node, network)) as web:
            next(web.find("study", {"StudyInstanceUID": _NOBODY}, ()), None)
    return time.monotonic() - began


def probe(node: Node, network: NetworkSettings) -> list[Ability]:
    """Find out which services a node offers; nothing is stored there.

    Raises
    ------
    NetworkError
        If it does not answer.
    """
    found: list[Ability] = []
    if node.dimse:
        require()
        found += _of_dimse(node, network)
    if node.dicomweb:
        found += _of_web(node, network)
    if node.directory:
        found.append(Ability("files", _is_writable(node), node.directory))
    return found


def _is_writable(node: Node) -> bool:
    return Path(node.directory).is_dir() and os.access(node.directory, os.W_OK)


def _of_dimse(node: Node, network: NetworkSettings) -> list[Ability]:
    syntaxes = (services.EXPLICIT, services.IMPLICIT)
    asked = {
        "C-ECHO": services.VERIFICATION,
        "C-FIND": services.STUDY_FIND,
        "C-GET": services.STUDY_GET,
        "C-MOVE": services.STUDY_MOVE,
    }
    peer = node.peer(network)
    with associate(peer, [Proposal(uid, syntaxes) for uid in asked.values()]) as association:
        found = [Ability(name, association.context(uid) is not None, "") for name, uid in asked.items()]
    from pydicom.uid import UID

    from dataset_dl.pacs.ways import SYNTAXES

    room = MOST_CONTEXTS // len(SYNTAXES)
    proposals = [Proposal(each, (syntax,)) for each in _CLASSES[:room] for syntax in SYNTAXES]
    with associate(peer, proposals) as association:
        taken = {(each.abstract, each.syntax) for each in association.contexts.values()}
    classes = [UID(each).name for each in _CLASSES[:room] if any(pair[0] == each for pair in taken)]
    stored = Ability("C-STORE", bool(taken), ", ".join(classes))
    return [
        *found,
        stored,
        *(
            Ability("transfer syntax", any(pair[1] == syntax for pair in taken), UID(syntax).name)
            for syntax in SYNTAXES
        ),
    ]


def _of_web(node: Node, network: NetworkSettings) -> list[Ability]:
    found = []
    with closing(DicomWeb(node, network)) as web:
        next(web.find("study", {"StudyInstanceUID": _NOBODY}, ()), None)
        found.append(Ability("QIDO-RS", True, ""))
        found.append(_tried("WADO-RS", lambda: web.retrieve(_NOBODY, _NOBODY).close()))
        try:
            found.append(Ability("STOW-RS", web.can_store(), ""))
        except DatasetDlError as error:
            found.append(Ability("STOW-RS", False, error.message))
    return found


def _tried(name: str, ask: Callable[[], object]) -> Ability:
    try:
        ask()
    except NetworkError as error:
        return Ability(name, False, error.message)
    except SelectionError as error:
        # That there is no such study is an answer of the service.
        is_there = "(404)" in error.message or "(400)" in error.message
        return Ability(name, is_there, "" if is_there else error.message)
    return Ability(name, True, "")
