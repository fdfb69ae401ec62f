"""Nodes: archives by name, kept in a file without secrets."""

from __future__ import annotations

import dataclasses
import os
import re
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from filelock import FileLock
from msgspec.structs import replace

from dataset_dl import configuration
from dataset_dl.errors import CertificateError, SelectionError, StorageError
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.hours import HOURS, opens_at
from dataset_dl.pacs.negotiation import Peer
from dataset_dl.pacs.secrets import variables
from dataset_dl.pacs.titles import Titles
from dataset_dl.scratch import written_whole

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
DIMSE = re.compile(
    r"dimse://(?P<title>[^@/:]+)@(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*):(?P<port>[0-9]{1,5})/?"
)


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An archive.

    Attributes
    ----------
    name
        What the user calls it.
    dimse
        ``dimse://AETITLE@host:port``; empty if it does not speak DIMSE.
    dicomweb
        The address of its DICOMweb services; empty without.
    directory
        A directory in place of an archive.
    tls
        Whether DIMSE is spoken through TLS.
    client_certificate
        A PEM file with this machine's certificate and key, for archives that ask for one.
    calling_ae_title
        Our AE title for this node; empty for that of the settings.
    at_once
        How many associations or requests it takes at once.
    max_rate_mbps
        MB a second at most, in each direction; None without a limit.
    hours
        When it may be asked, like ``20:00-06:00`` in local time; empty for always.
    timeout_seconds
        It is left after this long without a sign.
    any_patient_id
        Whether files may have another PatientID than the archive says.
    in_keyring
        Whether the keyring has what lets someone in; asking it takes long.
    """

    name: str
    dimse: str = ""
    dicomweb: str = ""
    directory: str = ""
    tls: bool = False
    client_certificate: str = ""
    calling_ae_title: str = ""
    at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    max_rate_mbps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    hours: str = ""
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    any_patient_id: bool = False
    in_keyring: bool = False

    def __post_init__(self) -> None:
        if not self.target:
            raise ValueError(f"the node {self.name} has no address")
        if self.dimse and not DIMSE.fullmatch(self.dimse):
            raise ValueError(f"the node {self.name} has no valid DIMSE address")
        if self.hours and not HOURS.fullmatch(self.hours):
            raise ValueError(f"the node {self.name} has no valid hours")
        if self.dicomweb and not urlsplit(self.dicomweb).hostname:
            raise ValueError(f"the node {self.name} has no valid DICOMweb address")

    @property
    def address(self) -> str:
        """Its addresses, as people read them."""
        dimse = self.dimse + (" (TLS)" if self.tls else "")
        return ", ".join(filter(None, (dimse if self.dimse else "", self.dicomweb, self.directory)))

    @property
    def target(self) -> str:
        """The address that instances are sent to."""
        return self.directory or self.dimse or self.dicomweb

    @property
    def scheme(self) -> str:
        """The scheme of the addresses of its series: ``dicomweb`` if it speaks that, else ``dimse``."""
        return "dicomweb" if self.dicomweb else "dimse"

    @property
    def by_dimse(self) -> Node:
        """The node as if it spoke DIMSE alone."""
        return replace(self, dicomweb="")

    def peer(self, network: NetworkSettings) -> Peer:
        """Return whom associations are made with.

        Raises
        ------
        SelectionError
            If it does not speak DIMSE.
        CertificateError
            If its certificates cannot be read.
        """
        match = DIMSE.fullmatch(self.dimse)
        if match is None:
            raise SelectionError(
                self.name, f"The node {self.name} ({self.address}) does not speak DIMSE; nothing was started."
            )
        titles = Titles.gather()
        return Peer(
            self.name,
            match["host"].strip("[]"),
            int(match["port"]),
            match["title"],
            self.calling_ae_title or titles.calling,
            self.timeout_seconds,
            tls_of(network, self.client_certificate) if self.tls else None,
        )

    def opens_at(self, now: datetime) -> datetime:
        """Return when it may be asked: `now`, or the beginning of its hours."""
        return opens_at(self.hours, now)

    def waits_seconds(self) -> float:
        """Return how long to wait until it may be asked; 0 if it may be now."""
        now = datetime.now()
        return max(0.0, (self.opens_at(now) - now).total_seconds())

    def refuse_now(self, what: str) -> None:
        """Refuse to ask it outside its hours.

        Raises
        ------
        SelectionError
            If it may not be asked now.
        """
        now = datetime.now()
        if (at := self.opens_at(now)) > now:
            raise SelectionError(
                self.name,
                f"The node {self.name} may be asked in the hours {self.hours} only, so {what}.",
                f"It opens {at:%Y-%m-%d %H:%M}; adding the node without --hours removes the limit.",
            )


class Nodes:
    """The nodes of this user.

    Parameters
    ----------
    path
        The file; ``DATASET_DL_NODES``, or ``nodes.json`` beside the configuration file, if None.
    """

    def __init__(self, path: Path | None = None) -> None:
        named = os.environ.get("DATASET_DL_NODES")
        beside = configuration.config_path().parent / "nodes.json"
        self.path = path or (Path(named).expanduser() if named else beside)

    def all(self) -> dict[str, Node]:
        """Return the nodes by name.

        Raises
        ------
        SelectionError
            If the file cannot be read.
        """
        try:
            several = msgspec.json.decode(self.path.read_bytes(), type=list[Node])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise SelectionError(
                str(self.path),
                f"The file of the nodes, {self.path}, cannot be read: {error}. Nothing was started.",
                "Mend it, or move it away and add the nodes again.",
            ) from None
        return {each.name: each for each in several}

    def find(self, name: str) -> Node:
        """Return a node.

        Raises
        ------
        SelectionError
            If there is none with this name.
        """
        known = self.all()
        if name not in known:
            has = f"The nodes are {', '.join(sorted(known))}." if known else "No node was added yet."
            raise SelectionError(
                name,
                f"There is no node “{name}”; nothing was started.",
                f"{has} `dataset-dl pacs nodes add NAME ADDRESS` adds one.",
            )
        return known[name]

    def add(self, node: Node) -> None:
        """Add a node, or replace the one with this name.

        Raises
        ------
        SelectionError
            If the variables for its secrets would be those of another node.
        """

        def changed(known: dict[str, Node]) -> dict[str, Node]:
            for name in known:
                if name != node.name and variables(name) == variables(node.name):
                    raise SelectionError(
                        node.name,
                        f"The nodes {name} and {node.name} would share {variables(name)[0]}; nothing was"
                        " changed.",
                        "Choose another name.",
                    )
            before = known.get(node.name)
            # What the keyring has is for the host that it was entered for.
            is_same = before is not None and _host(before) == _host(node)
            kept = replace(node, in_keyring=is_same and before.in_keyring) if before else node
            return {**known, node.name: kept}

        self._change(changed)

    def mark_in_keyring(self, name: str) -> None:
        """Record that the keyring has what lets someone in."""
        self._change(
            lambda known: {**known, name: replace(known[name], in_keyring=True)} if name in known else known
        )

    def remove(self, name: str) -> None:
        """Remove a node.

        Raises
        ------
        SelectionError
            If there is none with this name.
        """
        self.find(name)
        self._change(lambda known: {each: node for each, node in known.items() if each != name})

    def _change(self, change: Callable[[dict[str, Node]], dict[str, Node]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                several = sorted(change(self.all()).values(), key=lambda each: each.name)
                with written_whole(self.path) as path:
                    path.write_bytes(msgspec.json.format(msgspec.json.encode(several), indent=2) + b"\n")
        except OSError as error:
            raise StorageError(
                str(self.path), f"The file of the nodes, {self.path}, cannot be written: {error.strerror}."
            ) from None


def tls_of(network: NetworkSettings, certificate: str) -> ssl.SSLContext:
    """Return what verifies a peer, with this machine's certificate if the peer asks for one.

    Raises
    ------
    CertificateError
        If the certificate cannot be read.
    """
    if not certificate:
        return network.ssl_context
    # Other sessions share the context of their settings.
    context = dataclasses.replace(network).ssl_context
    try:
        context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(
            certificate,
            f"The certificate {certificate} cannot be used ({error.strerror or error}); nothing was sent.",
            "It has to be a PEM file with the certificate and its key, without a password.",
        ) from None
    return context


def _host(node: Node) -> str | None:
    return urlsplit(node.dicomweb).hostname
