"""Nodes are made from what a user writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataset_dl.errors import SelectionError
from dataset_dl.network.bypass import is_loopback
from dataset_dl.network.settings import without_secrets
from dataset_dl.pacs.hours import check_hours
from dataset_dl.pacs.nodes import DIMSE, NAME, Node
from dataset_dl.pacs.titles import checked_title

_HOW = "Write dimse://AETITLE@host:port, https://host/dicom-web, or a directory."


def made(name: str, addresses: Sequence[str], **options: Any) -> Node:
    """Make a node from its addresses, as a user writes them.

    Raises
    ------
    SelectionError
        If something is not valid, or an address contains a password.
    """
    if not NAME.fullmatch(name):
        raise SelectionError(
            name,
            f"“{name}” cannot be the name of a node; nothing was changed.",
            "Use letters, digits, - and _.",
        )
    found: dict[str, Any] = {}
    for address in addresses:
        kind, text = _address(address)
        if kind in found or ("directory" in {kind, *found} and found):
            raise SelectionError(
                address,
                f"{address} cannot be added to {found.get(kind) or next(iter(found.values()))}; nothing was"
                " changed.",
                "A node has one DIMSE address, one DICOMweb address, or both; or it is a directory.",
            )
        found[kind] = text
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    check_hours(given.get("hours", ""))
    node = Node(name=name, **given, **found)
    if node.calling_ae_title:
        checked_title(node.calling_ae_title)
    if node.client_certificate and not Path(node.client_certificate).is_file():
        raise SelectionError(
            node.client_certificate,
            f"There is no certificate {node.client_certificate}; nothing was changed.",
        )
    return node


def _address(address: str) -> tuple[str, str]:
    """Return the kind of an address, and the address as it is kept."""
    shown = without_secrets(address) if "://" in address and not address.startswith("dimse://") else address
    if address.startswith("dimse://"):
        match = DIMSE.fullmatch(address)
        if match is None or not 0 < int(match["port"]) < 65536:
            raise SelectionError(address, f"“{address}” is no DIMSE address; nothing was changed.", _HOW)
        checked_title(match["title"])
        return "dimse", address.rstrip("/")
    if "://" in address:
        try:
            parts = urlsplit(address)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or parts.query or parts.fragment:
            raise SelectionError(shown, f"“{shown}” is no address of an archive; nothing was changed.", _HOW)
        if parts.username is not None or parts.password is not None:
            raise SelectionError(
                shown,
                f"The address {shown} contains a password, which would stay in a file; nothing was changed.",
                "Leave it out; `dataset-dl pacs nodes login NAME` keeps it in the keyring.",
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise SelectionError(
                shown,
                f"{shown} has no TLS, so anyone on the way could read patients' names; nothing was changed.",
                "Write https://.",
            )
        return "dicomweb", address.rstrip("/")
    path = Path(address).expanduser().absolute()
    if not path.is_dir():
        raise SelectionError(
            address, f"{address} is no address, and no directory; nothing was changed.", _HOW
        )
    return "directory", str(path)
