"""Associations begin: what both sides can is negotiated, by pynetdicom's PDUs."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.network.reasons import unreachable
from dataset_dl.network.rules import CONNECT_SECONDS
from dataset_dl.pacs.association import MOST_PDU_BYTES, Association, Context
from dataset_dl.pacs.pdus import read_pdu
from dataset_dl.pixels.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.wording import visible

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
MOST_CONTEXTS = 128
# Shorter ones would hold next to nothing but their own headers.
_LEAST_PDU_BYTES = 128
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
# PS3.8, 9.3.4: by source and reason.
_REJECTIONS = {
    (1, 1): "gave no reason",
    (1, 2): "does not know DICOM's application context",
    (1, 3): "does not know the calling AE title",
    (1, 7): "does not know the called AE title",
    (2, 1): "gave no reason",
    (2, 2): "does not speak this version of the protocol",
    (3, 1): "is congested",
    (3, 2): "has as many associations as it may",
}
_PASSING = {(2, 1), (3, 1), (3, 2)}


class Peer(NamedTuple):
    """Who is asked.

    Attributes
    ----------
    name
        What people call it.
    host, port, ae_title
        Where it is, and its AE title.
    calling_ae_title
        Our own.
    timeout_seconds
        It is left after this long without a sign.
    tls
        What verifies it; None without TLS.
    """

    name: str
    host: str
    port: int
    ae_title: str
    calling_ae_title: str
    timeout_seconds: float = 60.0
    tls: ssl.SSLContext | None = None


class Proposal(NamedTuple):
    """An abstract syntax with the transfer syntaxes of one context.

    `is_scp`: the peer will send objects of this class (C-GET).
    """

    abstract: str
    syntaxes: tuple[str, ...]
    is_scp: bool = False


class Congested(NetworkError):
    """A peer has no room for another association now."""


def associate(peer: Peer, proposals: Sequence[Proposal]) -> Association:
    """Begin an association.

    Raises
    ------
    NetworkError
        If the peer cannot be reached, or has no room now.
    SelectionError
        If it refuses.
    """
    connection = _connected(peer)
    try:
        connection.sendall(_request(peer, proposals))
        with connection.makefile("rb", buffering=0) as file:
            kind, body = read_pdu(file)
        if kind == ASSOCIATE_AC:
            contexts, most_bytes = _accepted(kind, body, proposals)
            if 0 < most_bytes < _LEAST_PDU_BYTES:
                raise Unreadable(f"it takes PDUs of {most_bytes} bytes only")
            return Association(connection, peer.name, contexts, most_bytes)
    except TimeoutError:
        connection.close()
        raise NetworkError(
            peer.name,
            f"{peer.name} ({peer.host}:{peer.port}) takes the connection, but does not answer.",
            "Is it a DICOM port? Does it await TLS?",
        ) from None
    except (OSError, EOFError, Unreadable):
        connection.close()
        raise NetworkError(
            peer.name,
            f"{peer.name} ({peer.host}:{peer.port}) closes the connection at once.",
            "It may await TLS, or not know this machine.",
        ) from None
    except BaseException:
        connection.close()
        raise
    connection.close()
    raise _refusal(peer, kind, bytes(body))


def accept(
    connection: socket.socket, choose: Callable[[str, Sequence[str]], str | None], own_title: str
) -> Association:
    """Answer the request for an association.

    Parameters
    ----------
    connection
        A connection that was just accepted.
    choose
        Returns the transfer syntax for an abstract syntax, from those that are proposed; None to reject.
    own_title
        The AE title that must be called; empty if any may be.

    Raises
    ------
    NetworkError
        If nobody asks for one, or another AE title is called.
    """
    from pynetdicom.pdu import A_ASSOCIATE_RQ

    no_delay(connection)
    try:
        with connection.makefile("rb", buffering=0) as file:
            kind, body = read_pdu(file)
        if kind != ASSOCIATE_RQ:
            raise Unreadable(f"it sent a PDU of type {kind}")
        asked = A_ASSOCIATE_RQ()
        asked.decode(struct.pack(">BxI", kind, len(body)) + body)
        request = asked.to_primitive()
        name = visible(str(request.calling_ae_title).strip() or "a peer")
        if own_title and str(request.called_ae_title).strip() != own_title:
            connection.sendall(struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, 1, 1, 7))
            raise Unreadable("it called another AE title")
        contexts = [
            (
                int(each.context_id or 0),
                str(each.abstract_syntax),
                choose(str(each.abstract_syntax), [str(one) for one in each.transfer_syntax]),
            )
            for each in request.presentation_context_definition_list
        ]
        connection.sendall(_acceptance(request, contexts))
    except (OSError, EOFError) as error:
        connection.close()
        raise NetworkError("", f"A connection ended before it began ({type(error).__name__}).") from None
    except Exception as error:  # pynetdicom raises whatever strange bytes lead to
        connection.close()
        raise NetworkError("", f"A connection was refused: {error}.") from None
    good = [Context(number, abstract, syntax) for number, abstract, syntax in contexts if syntax]
    return Association(connection, name, good, _most_bytes(request))


def no_delay(connection: socket.socket) -> None:
    """Send small pieces at once: an instance would wait 40 ms for its answer otherwise."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _connected(peer: Peer) -> socket.socket:
    where = f"{peer.name} ({peer.host}:{peer.port})"
    try:
        connection = socket.create_connection(
            (peer.host, peer.port), min(CONNECT_SECONDS, peer.timeout_seconds)
        )
    except TimeoutError:
        raise unreachable(where, "silent") from None
    except ConnectionRefusedError:
        raise unreachable(where, "nothing_listens") from None
    except socket.gaierror:
        raise unreachable(where, "no_name") from None
    except UnicodeError:  # no name of a host
        raise unreachable(where, "no_name") from None
    except OSError as error:
        raise NetworkError(
            peer.name, f"{where} cannot be reached: {error.strerror or error}.", "Check its address."
        ) from None
    try:
        no_delay(connection)
        if peer.tls is not None:
            connection = peer.tls.wrap_socket(connection, server_hostname=peer.host)
        connection.settimeout(peer.timeout_seconds)
    except ssl.SSLCertVerificationError:
        connection.close()
        raise unreachable(where, "untrusted") from None
    except OSError:
        connection.close()
        raise NetworkError(
            peer.name,
            f"{where} does not speak TLS, or not as it should; nothing was sent.",
            "Does it have a port of its own for TLS? Does it ask for a certificate of this machine?",
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _request(peer: Peer, proposals: Sequence[Proposal]) -> bytes:
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

    assert len(proposals) <= MOST_CONTEXTS, "more do not fit into a request"
    primitive = _primitive(peer.calling_ae_title, peer.ae_title)
    primitive.presentation_context_definition_list = [
        _presentation(2 * number + 1, each.abstract, each.syntaxes) for number, each in enumerate(proposals)
    ]
    for abstract in sorted({each.abstract for each in proposals if each.is_scp}):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = abstract, False, True
        primitive.user_information.append(role)
    encoded: bytes = A_ASSOCIATE_RQ(primitive).encode()
    return encoded


def _acceptance(request: Any, contexts: Sequence[tuple[int, str, str | None]]) -> bytes:
    from pynetdicom.pdu import A_ASSOCIATE_AC

    primitive = _primitive(request.calling_ae_title, request.called_ae_title)
    primitive.result, primitive.result_source = 0, 1
    several = []
    for number, abstract, syntax in contexts:
        each = _presentation(number, abstract, [syntax or "1.2.840.10008.1.2"])
        each.result = 0 if syntax else 3
        several.append(each)
    primitive.presentation_context_definition_results_list = several
    encoded: bytes = A_ASSOCIATE_AC(primitive).encode()
    return encoded


def _primitive(calling: str, called: str) -> Any:
    from pynetdicom.pdu_primitives import (
        A_ASSOCIATE,
        ImplementationClassUIDNotification,
        ImplementationVersionNameNotification,
        MaximumLengthNotification,
    )

    made = A_ASSOCIATE()
    made.application_context_name = APPLICATION_CONTEXT
    made.calling_ae_title, made.called_ae_title = calling, called
    longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    longest.maximum_length_received = MOST_PDU_BYTES
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    made.user_information = [longest, implementation, version]
    return made


def _presentation(number: int, abstract: str, syntaxes: Sequence[str]) -> Any:
    from pynetdicom.presentation import PresentationContext

    made = PresentationContext()
    made.context_id, made.abstract_syntax, made.transfer_syntax = number, abstract, list(syntaxes)
    return made


def _accepted(kind: int, body: memoryview, proposals: Sequence[Proposal]) -> tuple[list[Context], int]:
    from pynetdicom.pdu import A_ASSOCIATE_AC

    answer = A_ASSOCIATE_AC()
    try:
        answer.decode(struct.pack(">BxI", kind, len(body)) + body)
        primitive = answer.to_primitive()
        found = [
            Context(number, proposals[number // 2].abstract, str(each.transfer_syntax[0]))
            for each in primitive.presentation_context_definition_results_list
            if each.result == 0 and (number := int(each.context_id or 0))
        ]
    except Exception as error:  # pynetdicom raises whatever strange bytes lead to
        raise Unreadable(f"its acceptance is damaged ({type(error).__name__})") from None
    return found, _most_bytes(primitive)


def _most_bytes(primitive: Any) -> int:
    return next(
        (int(each.maximum_length_received or 0) for each in primitive.user_information
         if hasattr(each, "maximum_length_received")),
        0,
    )  # fmt: skip


def _refusal(peer: Peer, kind: int, body: bytes) -> NetworkError | SelectionError:
    if kind != ASSOCIATE_RJ or len(body) < 4:
        return NetworkError(
            peer.name, f"{peer.name} ended the association before it began.", "Try again later."
        )
    _, _, source, reason = body[:4]
    words = _REJECTIONS.get((source, reason), "gave no reason")
    said = f"{peer.name} refuses associations of {peer.calling_ae_title} with {peer.ae_title}: it {words}."
    if (source, reason) in _PASSING:
        return Congested(peer.name, said, "Try again later.")
    return SelectionError(
        peer.name,
        said,
        "Its administrator has to enter this AE title, and perhaps this machine's address;"
        " CALLING_AE_TITLE sets it.",
    )
