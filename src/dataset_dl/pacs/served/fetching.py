"""Instances of a node, fetched for one request: all that were asked for, or an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.model.events import CommandFailed
from dataset_dl.model.page import Forbidden
from dataset_dl.model.series import Fetch
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.address import Address
from dataset_dl.pacs.engine import make
from dataset_dl.pacs.intake import name_of
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.pacs.source import DICOMWEB, DIMSE, uids_of


def node_of(name: str) -> Node:
    """Return a node.

    Raises
    ------
    Forbidden
        If there is none.
    """
    try:
        return Nodes().find(name)
    except SelectionError:
        raise Forbidden(name, f"There is no node “{name}”.") from None


def fetched(node: Node, place: Path, study: str, series: str = "", image: str = "") -> list[Path]:
    """Fetch a study, a series or an instance into an empty directory.

    Returns
    -------
    list
        The files, in the order of their series.

    Raises
    ------
    Forbidden
        If the node has no such thing.
    NetworkError
        If not all of it came.
    """
    conditions = {"StudyInstanceUID": study} | ({"SeriesInstanceUID": series} if series else {})
    source = DICOMWEB if node.scheme == "dicomweb" else DIMSE
    try:
        rows = list(source.rows(str(Address(node.scheme, node.name, conditions))))
    except SelectionError as error:
        raise Forbidden(study, error.message) from None
    if image:
        rows = [row for row in rows if image in uids_of(row)]
    if not rows:
        raise Forbidden(image or study, f"{node.name} has nothing like that.")
    # Each in a directory of its own, whatever its modality or patient is called.
    rows = [row._replace(directory=str(number)) for number, row in enumerate(rows)]
    only = (name_of(image),) if image else None
    return list(_files(node, [Fetch(row, only or Fetch.whole(row).missing) for row in rows], place))


def _files(node: Node, orders: list[Fetch], place: Path) -> Iterator[Path]:
    engine = make(DownloadSettings(), NetworkSettings.gather())
    reasons = [each.message for each in engine.run(orders, place) if isinstance(each, CommandFailed)]
    for order in orders:
        for name in sorted(order.missing or ()):
            path = place / order.series.directory / name
            if not path.is_file():
                reason = f": {reasons[0]}" if reasons else ""
                raise NetworkError(node.name, f"{node.name} did not send all of it{reason}.", "Ask again.")
            yield path
