"""Peers that speak DICOM and misbehave as they are told: by pynetdicom, and by bytes where it is too correct."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from dataset_dl.pacs import commandsets
from dataset_dl.pacs.association import Association
from dataset_dl.pacs.negotiation import accept

PLAIN = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


@dataclass
class Scp:
    """An archive of pynetdicom that keeps what it gets, and answers as `answer` says.

    Attributes
    ----------
    answer
        Gets the number of the instance, from 1, and the association: returns a status, or does something else.
    stored
        SOPInstanceUID → its data set, as it came.
    counts
        How often each came.
    """

    answer: Callable[[int, Any], int] = lambda number, association: 0x0000
    syntaxes: Sequence[str] = ()
    stored: dict[str, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    port: int = 0

    @property
    def address(self) -> str:
        return f"dimse://SCP@127.0.0.1:{self.port}"


@contextmanager
def scp(
    answer: Callable[[int, Any], int] = lambda number, association: 0x0000,
    *,
    syntaxes: Sequence[str] = (),
    port: int = 0,
) -> Iterator[Scp]:
    """Run an archive that takes instances."""
    made = Scp(answer, syntaxes)
    entity = AE("SCP")
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        if syntaxes:
            entity.add_supported_context(context.abstract_syntax, list(syntaxes))
        else:
            entity.add_supported_context(context.abstract_syntax)
    lock = threading.Lock()

    def store(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        with lock:
            made.counts[uid] += 1
            number = made.counts.total()
        status = made.answer(number, event.assoc)
        if status < 0xA000 or status >> 12 == 0xB:
            made.stored[uid] = event.request.DataSet.getvalue()
        return status

    server: Any = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    made.port = server.server_address[1]
    try:
        yield made
    finally:
        server.shutdown()


@contextmanager
def raw(serve: Callable[[Association], None], *, port: int = 0) -> Iterator[int]:
    """Run a peer that negotiates as it should, then does what `serve` does; yield its port."""
    listening = socket.create_server(("127.0.0.1", port))
    listening.settimeout(0.1)
    is_over = threading.Event()

    def one(connection: socket.socket) -> None:
        try:
            association = accept(connection, lambda abstract, syntaxes: syntaxes[0], "")
            serve(association)
        except Exception:  # a peer that breaks off is what the tests are about
            pass
        finally:
            connection.close()

    def listen() -> None:
        while not is_over.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connection.settimeout(20)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        is_over.set()
        thread.join()
        listening.close()


@contextmanager
def tls_in_front(port: int, key: Path, certificate: Path) -> Iterator[int]:
    """Speak TLS in front of a server on this machine; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.1)
    is_over = threading.Event()

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def one(plain: socket.socket) -> None:
        with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as outer:
            with socket.create_connection(("127.0.0.1", port)) as inner:
                back = threading.Thread(target=copy, args=(inner, outer), daemon=True)
                back.start()
                copy(outer, inner)
                back.join()

    def listen() -> None:
        while not is_over.is_set():
            with suppress(TimeoutError):
                connection, _ = listening.accept()
                connection.settimeout(20)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        is_over.set()
        thread.join()
        listening.close()


def respond(association: Association, message: Any, status: int | None = 0, **more: Any) -> None:
    """Answer a message; without a status if it is None."""
    command = message.command
    answer = {
        "AffectedSOPClassUID": command.get("AffectedSOPClassUID", ""),
        "CommandField": command["CommandField"] | commandsets.RESPONSE,
        "MessageIDBeingRespondedTo": command["MessageID"],
        **more,
    }
    if status is not None:
        answer["Status"] = status
    if "AffectedSOPInstanceUID" in command:
        answer["AffectedSOPInstanceUID"] = command["AffectedSOPInstanceUID"]
    association.send(message.context, answer)


class Most:
    """Counts how many are at work at once.

    Attributes
    ----------
    count
        The most so far.
    """

    def __init__(self, seconds: float = 0.3) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._now = 0
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be at work, for a while at least."""
        self.begin()
        try:
            time.sleep(self._seconds)
            yield
        finally:
            self.end()

    def begin(self) -> None:
        with self._lock:
            self._now += 1
            self.count = max(self.count, self._now)

    def end(self) -> None:
        with self._lock:
            self._now -= 1


def settled(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def node_file(path: Path, **addresses: str) -> Path:
    """Write a file of nodes."""
    import json

    several = []
    for name, address in addresses.items():
        kind = "dimse" if address.startswith("dimse") else "dicomweb" if "://" in address else "directory"
        several.append({"name": name, kind: address})
    path.write_text(json.dumps(several))
    return path
