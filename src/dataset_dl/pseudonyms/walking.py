"""Walks over the elements of a data set, and says what takes the place of each."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms import elements
from dataset_dl.pseudonyms.dates import moved
from dataset_dl.pseudonyms.elements import Buffer, encoded, text
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.pseudonyms.profile import Action, Profile
from dataset_dl.pseudonyms.review import BURNED_IN, IMAGE_TYPE, MODALITY, OVERLAY_BIT

_AGE = 0x00101010
_TEXTS = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
# In what a dummy replaces as a whole, like the content of a report, all of these go.
_FREE = _TEXTS | {"UN", "OB"}
_DUMMIES = {
    "AS": b"000Y", "CS": b"REMOVED", "DA": b"19000101", "DS": b"0", "DT": b"19000101", "IS": b"0",
    "TM": b"000000", "UR": b"urn:removed",
}  # fmt: skip
_DUMMY = b"REMOVED"
# As HIPAA has it, all ages beyond are one.
_OLDEST_YEARS = 90
_MOST_DEPTH = 64
_PIXELS = 0x7FE00010
# Times of the day (PS3.5, 6.2), also as ACR-NEMA wrote them; several, and ranges.
_TIME = re.compile(r"[0-9:.\\ -]*")
_SEQUENCE_END = struct.pack("<HHI", elements.SEQUENCE_END >> 16, elements.SEQUENCE_END & 0xFFFF, 0)
# What tells whether a file is held back, outside sequences.
_TOLD = (MODALITY, IMAGE_TYPE, BURNED_IN)


@dataclass
class Walk:
    """Walks over the elements of a data set, and says what takes the place of each."""

    key: Key
    profile: Profile
    actions: Mapping[int, Action] = field(repr=False)
    data: Buffer = field(repr=False)
    days: int
    told: dict[int, str] = field(default_factory=dict)

    def level(
        self, place: int, end: int, depth: int, *, is_implicit: bool, is_dummy: bool
    ) -> tuple[dict[int, list[Buffer]], int]:
        """Rewrite a data set, or an item.

        Parameters
        ----------
        place, end
            Where it begins, and where it ends at the latest.
        depth
            In how many sequences it is.
        is_implicit
            Whether elements have no VR.
        is_dummy
            Whether it belongs to what a dummy replaces.

        Returns
        -------
        tuple
            Tag → the bytes of the element in its place, and the offset behind the data set.
        """
        if depth > _MOST_DEPTH:
            raise Unreadable("its sequences are nested too deeply")
        data, actions, found = self.data, self.actions, {}  # type: ignore[var-annotated]
        read = elements.implicit if is_implicit else elements.explicit
        creators: dict[int, tuple[str, bytes]] = {}
        while place < end:
            tag, vr, length, begin = read(data, place)
            group = tag >> 16
            if group == 0xFFFE:
                if tag == elements.ITEM_END and depth:
                    return found, begin
                raise Unreadable(f"it has an item outside a sequence, at byte {place:,}")
            behind = begin + length
            if length == elements.UNDEFINED:
                behind = self._skipped(begin, end, depth, is_implicit=is_implicit or vr == "UN")
            if behind > end:
                raise Unreadable("it is cut off")
            if not depth and (tag in _TOLD or tag & 0xFF00FFFF == OVERLAY_BIT):
                self._tell(tag, vr, data[begin:behind])
            made: list[Buffer] | None
            if group & 1:
                made = self._private(tag, place, begin, behind, creators, found)
            else:
                action = actions.get(tag)
                known = elements.known_vr(tag)
                if vr == "UN":
                    vr = known or vr
                if _has_no_place(tag) or not known or (known == "SQ") != (vr == "SQ"):
                    action = "remove"
                elif action is None:
                    action = "keep"
                if is_dummy and vr in _FREE and action != "remove":
                    action = "dummy"
                if length == elements.UNDEFINED and vr != "SQ" and tag != _PIXELS and action != "remove":
                    raise Unreadable(f"an element without a length is no sequence, at byte {place:,}")
                if action == "keep" and vr != "SQ" and tag != _AGE:
                    made = [data[place:behind]]
                elif action == "remove":
                    made = None
                else:
                    value = (begin, end if length == elements.UNDEFINED else behind)
                    made = self._made(
                        tag, vr, action, value, place, depth, is_implicit=is_implicit, is_dummy=is_dummy
                    )
            if made is not None:
                found[tag] = made
            place = behind
        return found, place

    def _made(
        self,
        tag: int,
        vr: str,
        action: Action,
        value: tuple[int, int],
        place: int,
        depth: int,
        *,
        is_implicit: bool,
        is_dummy: bool,
    ) -> list[Buffer]:
        """Return what takes the place of an element."""
        if vr == "SQ":
            if action == "empty":
                return [encoded(tag, vr, b"", is_implicit=is_implicit)]
            # What is called UN has items without VRs (PS3.5, 6.2.2), and an end that says so.
            is_unknown = not is_implicit and bytes(self.data[place + 4 : place + 6]) == b"UN"
            content = self._items(
                value, depth, is_implicit=is_implicit or is_unknown, is_dummy=is_dummy or action == "dummy"
            )
            if is_unknown:
                begin = elements.header(tag, "UN", elements.UNDEFINED, is_implicit=False)
                return [begin, content, _SEQUENCE_END]
            return [encoded(tag, vr, content, is_implicit=is_implicit)]
        new = self._value(tag, vr, action, self.data[value[0] : value[1]])
        return [encoded(tag, vr, new, is_implicit=is_implicit)]

    def _value(self, tag: int, vr: str, action: Action, old: Buffer) -> bytes:
        if action == "empty" or not len(old):
            return b""
        if action == "keep":
            return _capped(old)
        if action == "shift":
            if vr in ("DA", "DT"):
                dates = [moved(each, self.days) for each in text(old).split("\\")]
                return b"" if None in dates else "\\".join(filter(None, dates)).encode()
            if vr == "TM":
                return bytes(old) if _TIME.fullmatch(text(old)) else b""
        if vr == "UI":
            return "\\".join(self.key.uid(each.strip()) for each in text(old).split("\\")).encode()
        return dummy(vr)

    def _items(self, value: tuple[int, int], depth: int, *, is_implicit: bool, is_dummy: bool) -> bytes:
        """Return the items of a sequence, rewritten, each with its length."""
        at, end = value
        parts = []
        while at < end:
            mark, _, length, begin = elements.implicit(self.data, at)
            if mark == elements.SEQUENCE_END:
                break
            if mark != elements.ITEM:
                raise Unreadable(f"a sequence does not end, at byte {at:,}")
            is_open = length == elements.UNDEFINED
            if not is_open and begin + length > end:
                raise Unreadable("it is cut off")
            found, at = self.level(
                begin,
                end if is_open else begin + length,
                depth + 1,
                is_implicit=is_implicit,
                is_dummy=is_dummy,
            )
            content = b"".join(chunk for each in sorted(found) for chunk in found[each])
            parts.append(elements.item(content))
        return b"".join(parts)

    def _tell(self, tag: int, vr: str, value: Buffer) -> None:
        """Keep what tells whether the file is held back; of several overlays the one that does."""
        said = str(int.from_bytes(value[:2], "little")) if vr == "US" else text(value)
        if tag >> 24 != OVERLAY_BIT >> 24:
            self.told[tag] = said
        elif self.told.get(OVERLAY_BIT, "0") in ("0", ""):
            self.told[OVERLAY_BIT] = said

    def _private(
        self,
        tag: int,
        place: int,
        begin: int,
        behind: int,
        creators: dict[int, tuple[str, bytes]],
        found: dict[int, list[Buffer]],
    ) -> list[Buffer] | None:
        """Return a private element if it stays; with the first one of a block, its creator stays, too."""
        if not self.profile.has_private:
            return None
        group, element = tag >> 16, tag & 0xFFFF
        if 0x10 <= element <= 0xFF:
            creators[tag] = text(self.data[begin:behind]), bytes(self.data[place:behind])
            return None
        reserved = group << 16 | element >> 8
        name, creator = creators.get(reserved, ("", b""))
        if not self.profile.keeps(group, element & 0xFF, name):
            return None
        found[reserved] = [creator]
        return [self.data[place:behind]]

    def _skipped(self, place: int, end: int, depth: int, *, is_implicit: bool) -> int:
        """Return the offset behind a sequence, or fragments of pixels, of unknown length."""
        if depth > _MOST_DEPTH:
            raise Unreadable("its sequences are nested too deeply")
        read = elements.implicit if is_implicit else elements.explicit
        while True:
            mark, _, length, begin = elements.implicit(self.data, place)
            if mark == elements.SEQUENCE_END:
                return begin
            if mark != elements.ITEM:
                raise Unreadable(f"a sequence does not end, at byte {place:,}")
            place = begin + length
            if length == elements.UNDEFINED:
                place = begin
                while True:
                    tag, vr, size, value = read(self.data, place)
                    if tag == elements.ITEM_END:
                        place = value
                        break
                    place = value + size
                    if size == elements.UNDEFINED:
                        place = self._skipped(value, end, depth + 1, is_implicit=is_implicit or vr == "UN")
                    if place > end:
                        raise Unreadable("it is cut off")
            if place > end:
                raise Unreadable("it is cut off")


def dummy(vr: str) -> bytes:
    """Return a value that is valid and says nothing."""
    if vr in _TEXTS and vr not in _DUMMIES:
        return _DUMMY
    return _DUMMIES[vr] if vr in _DUMMIES else elements.zeros(vr)


def _has_no_place(tag: int) -> bool:
    """Whether an element goes whatever the table says.

    What belongs to messages, files and directories; lengths of groups, which are others; curves, overlays.
    """
    group = tag >> 16
    return group < 0x0008 or not tag & 0xFFFF or 0x5000 <= group <= 0x501E or 0x6000 <= group <= 0x601E


def _capped(old: Buffer) -> bytes:
    age = text(old)
    if age[-1:] == "Y" and age[:-1].isdigit() and int(age[:-1]) > _OLDEST_YEARS:
        return f"{_OLDEST_YEARS:03}Y".encode()
    return bytes(old)
