"""An association with a DICOM peer: messages in both directions, once it is negotiated.

pynetdicom itself runs two threads for each association, which wait for each other by polling: a third as many
instances a second come through, and an answer can get lost between the two. Here one thread does everything,
and waits in the socket.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from dataset_dl.errors import NetworkError
from dataset_dl.pacs import commandsets
from dataset_dl.pacs.commandsets import DATA_SET, NO_DATA_SET, Command
from dataset_dl.pacs.pdus import fragments, plain_pdu, read_pdu
from dataset_dl.pixels.unreadable import Unreadable

# What dcmtk takes at most; larger PDUs gain nothing.
MOST_PDU_BYTES = 128 << 10
_BUFFER_BYTES = 1 << 18
# Buffers that the system takes in one call.
_MOST_BUFFERS = 512

_P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 4, 5, 6, 7
_RELEASE_SECONDS = 5.0
_OURS = 0


class Context(NamedTuple):
    """An accepted context."""

    context_id: int
    abstract: str
    syntax: str


class Sink(Protocol):
    """Takes a data set as it comes."""

    def write(self, data: memoryview, /) -> object:
        """Take the next bytes."""


class Message(NamedTuple):
    """A message: its context, its command, and its data set unless a `Sink` has taken it."""

    context: Context
    command: Command
    data: bytes = b""


class Association:
    """An association, for one thread.

    Parameters
    ----------
    connection
        The connection.
    name
        What people call the peer.
    contexts
        The accepted contexts.
    most_bytes
        The longest PDU that the peer takes; 0 if it takes any.

    Attributes
    ----------
    contexts
        By their number.
    is_open
        Whether messages can be sent.
    """

    def __init__(
        self, connection: socket.socket, name: str, contexts: Sequence[Context], most_bytes: int
    ) -> None:
        self._connection = connection
        self._file = connection.makefile("rb", buffering=_BUFFER_BYTES)
        self.name = name
        self.contexts = {each.context_id: each for each in contexts}
        self._by_syntax = {(each.abstract, each.syntax): each for each in contexts}
        self._piece = min(most_bytes or MOST_PDU_BYTES, MOST_PDU_BYTES) - 6
        self._message_id = 0
        self.is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release() if error is None else self.abort()

    def context(self, abstract: str, syntax: str | None = None) -> Context | None:
        """Return the context for an abstract syntax, and a transfer syntax if it matters."""
        if syntax is not None:
            return self._by_syntax.get((abstract, syntax))
        return next((each for each in self.contexts.values() if each.abstract == abstract), None)

    def next_message_id(self) -> int:
        """Return a number for the next request."""
        self._message_id = self._message_id % 65535 + 1
        return self._message_id

    def send(self, context: Context, command: Command, data: Any = None) -> None:
        """Send a message.

        Parameters
        ----------
        context
            A context of this association.
        command
            Its command set, without CommandDataSetType.
        data
            The bytes of its data set; None if it has none.

        Raises
        ------
        NetworkError
            If the peer has left or does not take it.
        """
        kind = NO_DATA_SET if data is None else DATA_SET
        with self._speaking():
            first = self._pieces(context, commandsets.encoded({**command, "CommandDataSetType": kind}), 1)
            if data is None:
                self._write(list(first))
                return
            buffers = list(first)
            for piece in self._pieces(context, data, 0):
                buffers.append(piece)
                if len(buffers) >= _MOST_BUFFERS:
                    self._write(buffers)
                    buffers = []
            self._write(buffers)

    def receive(self, sink: Callable[[Context, Command], Sink | None] | None = None) -> Message | None:
        """Wait for a message; None if the peer ends the association.

        Parameters
        ----------
        sink
            Returns what takes the data set of a message, or None if it should be in the message.

        Raises
        ------
        NetworkError
            If the peer leaves, sends nothing for too long, or what is no DICOM.
        """
        command_bytes, data, command, taker = bytearray(), bytearray(), None, None
        with self._speaking():
            while True:
                kind, body = self._pdu()
                if kind == _RELEASE_RQ:
                    self._write([plain_pdu(_RELEASE_RP)])
                    self._close()
                    return None
                if kind == _ABORT:
                    self._close()
                    raise self._gone("ended the association")
                if kind != _P_DATA:
                    raise Unreadable(f"it sent a PDU of type {kind}")
                for context_id, control, fragment in fragments(body):
                    context = self.contexts.get(context_id)
                    if context is None:
                        raise Unreadable("it used a context that was not negotiated")
                    if control & 1:
                        command_bytes += fragment
                        if control & 2:
                            command = commandsets.decoded(bytes(command_bytes))
                            if command.get("CommandDataSetType", NO_DATA_SET) == NO_DATA_SET:
                                return Message(context, command)
                            taker = sink(context, command) if sink is not None else None
                    elif command is None:
                        raise Unreadable("it sent a data set without a command")
                    else:
                        if taker is not None:
                            taker.write(fragment)
                        else:
                            data += fragment
                        if control & 2:
                            return Message(context, command, bytes(data))

    def is_readable(self, seconds: float) -> bool:
        """Wait until something has come, or the peer has left; False if neither happens in time."""
        if not self.is_open or self._is_buffered():
            return True
        return bool(select.select([self._connection], [], [], seconds)[0])

    def _is_buffered(self) -> bool:
        """Whether something has come already and waits in this program."""
        assert isinstance(self._file, io.BufferedReader), "it was made with a buffer"
        before = self._connection.gettimeout()
        self._connection.settimeout(0)
        try:
            return bool(self._file.peek(1))
        except ssl.SSLWantReadError:
            return False
        finally:
            self._connection.settimeout(before)

    def release(self) -> None:
        """End the association in order, unless it has ended."""
        if not self.is_open:
            return
        try:
            self._connection.settimeout(_RELEASE_SECONDS)
            self._write([plain_pdu(_RELEASE_RQ)])
            while self._pdu()[0] not in (_RELEASE_RP, _ABORT):
                pass
        except (OSError, EOFError, Unreadable):
            pass
        self._close()

    def abort(self) -> None:
        """End the association at once."""
        if self.is_open:
            with suppress(OSError):
                self._connection.settimeout(_RELEASE_SECONDS)
                self._write([struct.pack(">BxI2xBB", _ABORT, 4, _OURS, 0)])
            self._close()

    def interrupt(self) -> None:
        """Wake up the thread that waits for the peer; for another thread."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self.is_open = False
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._connection.close()

    def _pieces(self, context: Context, data: Any, is_command: int) -> Iterator[bytes | memoryview]:
        """Yield the buffers of PDUs: a header, and a piece of the data without copying it."""
        view = memoryview(data)
        total = len(view)
        for begin in range(0, total or 1, self._piece):
            piece = view[begin : begin + self._piece]
            control = is_command | (2 if begin + self._piece >= total else 0)
            length = len(piece)
            yield struct.pack(">BxIIBB", _P_DATA, length + 6, length + 2, context.context_id, control)
            yield piece

    def _write(self, buffers: list[Any]) -> None:
        if isinstance(self._connection, ssl.SSLSocket):
            self._connection.sendall(b"".join(buffers))
            return
        sent = self._connection.sendmsg(buffers)
        if sent < sum(len(each) for each in buffers):
            for each in buffers:
                if sent >= len(each):
                    sent -= len(each)
                    continue
                self._connection.sendall(memoryview(each)[sent:])
                sent = 0

    def _pdu(self) -> tuple[int, memoryview]:
        """Read a PDU: its type and its body."""
        return read_pdu(self._file)

    def _speaking(self) -> _Speaking:
        return _Speaking(self)

    def _gone(self, what: str) -> NetworkError:
        return NetworkError(
            self.name,
            f"{self.name} {what}; what it has confirmed before is on record.",
            "The same command goes on.",
        )


class _Speaking:
    """Turns what goes wrong while speaking into errors, and ends the association then."""

    def __init__(self, association: Association) -> None:
        self._association = association

    def __enter__(self) -> None:
        if not self._association.is_open:
            raise self._association._gone("has ended the association")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        association = self._association
        if error is None:
            return
        if isinstance(error, TimeoutError):
            association.abort()
            raise association._gone("did not answer in time") from None
        if isinstance(error, (OSError, EOFError)):
            association._close()
            raise association._gone("broke off the connection") from None
        if isinstance(error, Unreadable):
            association.abort()
            raise association._gone(f"does not speak DICOM as agreed: {error}") from None
        association.abort()
