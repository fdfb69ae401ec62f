"""Command sets of DIMSE (PS3.7, annex E): which service is asked for, and what it answered."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from dataset_dl.pixels.unreadable import Unreadable

C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
C_CANCEL, RESPONSE = 0x0FFF, 0x8000
NO_DATA_SET, DATA_SET = 0x0101, 0x0001
MEDIUM = 0

_LENGTH = 0x00000000
# Keyword → tag, and whether it is a number of two bytes.
_ELEMENTS: Mapping[str, tuple[int, bool]] = {
    "AffectedSOPClassUID": (0x0002, False),
    "CommandField": (0x0100, True),
    "MessageID": (0x0110, True),
    "MessageIDBeingRespondedTo": (0x0120, True),
    "MoveDestination": (0x0600, False),
    "Priority": (0x0700, True),
    "CommandDataSetType": (0x0800, True),
    "Status": (0x0900, True),
    "ErrorComment": (0x0902, False),
    "AffectedSOPInstanceUID": (0x1000, False),
    "NumberOfRemainingSuboperations": (0x1020, True),
    "NumberOfCompletedSuboperations": (0x1021, True),
    "NumberOfFailedSuboperations": (0x1022, True),
    "NumberOfWarningSuboperations": (0x1023, True),
    "MoveOriginatorApplicationEntityTitle": (0x1030, False),
    "MoveOriginatorMessageID": (0x1031, True),
}
_KEYWORDS = {tag: (keyword, is_number) for keyword, (tag, is_number) in _ELEMENTS.items()}
# A UID is padded with a zero byte, other texts with a blank.
_UIDS = frozenset({"AffectedSOPClassUID", "AffectedSOPInstanceUID"})

# Values by keyword: int or str.
Command = Mapping[str, Any]


def encoded(command: Command) -> bytes:
    """Return the bytes of a command set: implicit VR, little endian, with its length in front."""
    parts = []
    for keyword in sorted(command, key=lambda each: _ELEMENTS[each][0]):
        tag, is_number = _ELEMENTS[keyword]
        if is_number:
            value = struct.pack("<H", command[keyword])
        else:
            value = str(command[keyword]).encode("ascii", "replace")
            if len(value) % 2:
                value += b"\0" if keyword in _UIDS else b" "
        parts.append(struct.pack("<HHI", 0, tag, len(value)) + value)
    body = b"".join(parts)
    return struct.pack("<HHII", 0, _LENGTH, 4, len(body)) + body


def decoded(data: bytes) -> dict[str, Any]:
    """Return the known elements of a command set by keyword.

    Raises
    ------
    Unreadable
        If it is none.
    """
    found: dict[str, Any] = {}
    place = 0
    try:
        while place < len(data):
            group, tag, length = struct.unpack_from("<HHI", data, place)
            value = data[place + 8 : place + 8 + length]
            if group != 0 or len(value) != length:
                raise Unreadable("its command set is damaged")
            place += 8 + length
            if tag in _KEYWORDS:
                keyword, is_number = _KEYWORDS[tag]
                if is_number and length:
                    found[keyword] = struct.unpack("<H", value)[0]
                elif not is_number:
                    found[keyword] = value.decode("ascii", "replace").strip("\0 ")
    except struct.error:
        raise Unreadable("its command set is damaged") from None
    return found
