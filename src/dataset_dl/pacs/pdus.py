"""PDUs of the upper layer (PS3.8, 9.3), read from a connection."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from dataset_dl.pixels.unreadable import Unreadable

_LONGEST_PDU_BYTES = 64 << 20


def plain_pdu(kind: int) -> bytes:
    """Return a PDU without content, for a release."""
    return struct.pack(">BxII", kind, 4, 0)


def read_pdu(file: Any) -> tuple[int, memoryview]:
    """Read a PDU from a connection: its type and its body.

    Raises
    ------
    Unreadable
        If it is too long to be one.
    EOFError
        If the connection ends.
    """
    kind, length = struct.unpack(">BxI", _exactly(file, 6))
    if length > _LONGEST_PDU_BYTES:
        raise Unreadable("it sent a PDU that is far too long")
    return kind, memoryview(_exactly(file, length))


def _exactly(file: Any, count: int) -> bytes:
    data = file.read(count)
    if data and len(data) < count:
        # Without a buffer, a read returns what is there.
        parts = [data]
        missing = count - len(data)
        while missing and (more := file.read(missing)):
            parts.append(more)
            missing -= len(more)
        data = b"".join(parts)
    if len(data or b"") != count:
        raise EOFError
    return bytes(data)


def fragments(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield the context, the control bits and the bytes of each fragment in a PDU."""
    place = 0
    try:
        while place < len(body):
            length, context_id, control = struct.unpack_from(">IBB", body, place)
            end = place + 4 + length
            if length < 2 or end > len(body):
                raise Unreadable("a fragment is longer than its PDU")
            yield context_id, control, body[place + 6 : end]
            place = end
    except struct.error:
        raise Unreadable("a fragment is cut off") from None
