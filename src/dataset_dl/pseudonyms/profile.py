"""What happens to each attribute: the table of PS3.15 (E.1-1) with the options that a user chooses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from dataset_dl.errors import SelectionError
from dataset_dl.pseudonyms import columns

Action = Literal["keep", "remove", "empty", "dummy", "uid", "shift"]
Dates = Literal["shift", "remove", "keep"]
Held = Literal["burned-in", "secondary-capture", "documents", "overlays"]

EXCLUDED_VARIABLES = ("DATASET_DL_EXCLUDE_MODALITIES", "EXCLUDE_MODALITIES")
EXCLUDED = "PR,SR"
# Options of the profile → what they keep, and how they are called in PS3.16, CID 7050.
OPTIONS: Mapping[str, tuple[frozenset[int], str, str]] = {
    "retain-uids": (columns.UIDS, "113110", "Retain UIDs Option"),
    "retain-device-identity": (columns.DEVICES, "113109", "Retain Device Identity Option"),
    "retain-institution-identity": (columns.INSTITUTIONS, "113112", "Retain Institution Identity Option"),
    "retain-patient-characteristics": (
        columns.PATIENTS,
        "113108",
        "Retain Patient Characteristics Option",
    ),
}
_BASIC = ("113100", "Basic Application Confidentiality Profile")
_PRIVATE = ("113111", "Retain Safe Private Option")
_OF_DATES: Mapping[Dates, tuple[tuple[str, str] | None, str]] = {
    "shift": (("113107", "Retain Longitudinal Temporal Information Modified Dates Option"), "MODIFIED"),
    "keep": (("113106", "Retain Longitudinal Temporal Information Full Dates Option"), "UNMODIFIED"),
    "remove": (None, "REMOVED"),
}
# The last one of several alternatives is right for every kind of object: a value, else an empty one.
_ACTIONS: Mapping[str, Action] = {
    "X_TAGS": "remove", "Z_TAGS": "empty", "X_Z_TAGS": "empty", "D_TAGS": "dummy", "Z_D_TAGS": "dummy",
    "X_D_TAGS": "dummy", "X_Z_D_TAGS": "dummy", "U_TAGS": "uid", "X_Z_U_STAR_TAGS": "uid",
}  # fmt: skip
# Beyond the table: names, addresses and free texts have no place in what nobody has looked at.
_SPOKEN = frozenset({"PN", "AE", "UR", "LT", "ST", "UT", "UC"})
_PERSONAL = frozenset(
    {"PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "NTPSourceAddress",
     "BreedRegistrationNumber", "PlacerOrderNumberProcedure", "FillerOrderNumberProcedure",
     "PlacerOrderNumberImagingServiceRequestRetired", "FillerOrderNumberImagingServiceRequestRetired",
     "OwnerID", "ContactDisplayName", "SystemStatusComment", "ItineraryID", "BoardingPassID"}
)  # fmt: skip
# UIDs that name a kind of thing, not one of them.
_OF_KINDS = ("Class", "TransferSyntax", "CodingScheme", "Context", "Mapping", "CreatorVersion", "Template")
_PRIVATE_ENTRY = re.compile(r"\(?([0-9A-Fa-f]{4}),\s*(?:xx|XX|10)?([0-9A-Fa-f]{2})\)?[\s,]+(.{1,64})")


def excluded_modalities() -> tuple[str, ...]:
    """Return the modalities that are held back, from ``EXCLUDE_MODALITIES``."""
    text = next((os.environ[name] for name in EXCLUDED_VARIABLES if name in os.environ), EXCLUDED)
    return tuple(each.strip().upper() for each in text.split(",") if each.strip())


@dataclass(frozen=True)
class Profile:
    """The basic profile with options.

    Attributes
    ----------
    options
        Names of options of the profile: ``retain-uids``, ``retain-device-identity`` and others.
    dates
        ``shift``: all dates of a patient by the same number of days; ``remove``, or ``keep``.
    allowed
        What is not held back for review: ``burned-in``, ``secondary-capture``, ``documents``, ``overlays``,
        or a modality.
    excluded
        Modalities that are held back.
    private
        Private elements that stay, like ``0019,xx0C SIEMENS MR HEADER``.
    trial_protocol_id, trial_protocol_name
        Values for ClinicalTrialProtocolID and ClinicalTrialProtocolName; empty for none.

    Raises
    ------
    SelectionError
        If an option is unknown, or an entry wrong.
    """

    options: tuple[str, ...] = ()
    dates: Dates = "shift"
    allowed: tuple[str, ...] = ()
    excluded: tuple[str, ...] = field(default_factory=excluded_modalities)
    private: tuple[str, ...] = ()
    trial_protocol_id: str = ""
    trial_protocol_name: str = ""

    def __post_init__(self) -> None:
        for name in self.options:
            if name not in OPTIONS:
                raise SelectionError(
                    name,
                    f"“{name}” is no option of the profile; nothing was started.",
                    f"There are {', '.join(OPTIONS)}.",
                )
        if self.dates not in get_args(Dates):
            raise SelectionError("dates", f"“{self.dates}” is none of {', '.join(get_args(Dates))}.")
        # Modalities are written in capitals.
        allowed = tuple(each if each in get_args(Held) else each.upper() for each in self.allowed)
        object.__setattr__(self, "allowed", allowed)
        for name in self.allowed:
            if name not in get_args(Held) and not re.fullmatch(r"[A-Z0-9_]{1,16}", name):
                raise SelectionError(
                    name,
                    f"“{name}” is nothing that is held back; nothing was started.",
                    f"There are {', '.join(get_args(Held))}, and modalities like SR.",
                )
        for value in (self.trial_protocol_id, self.trial_protocol_name):
            check_text(value)
        assert self._private_entries is not None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Profile:
        """Make a profile from texts, as consumers and interfaces give them; lists with commas or ``;``.

        Raises
        ------
        SelectionError
            If something is wrong.
        """
        made: dict[str, Any] = {}
        for name, value in given.items():
            key = name.replace("-", "_")
            if key not in cls.__dataclass_fields__:
                known = ", ".join(each.replace("_", "-") for each in cls.__dataclass_fields__)
                raise SelectionError(name, f"Pseudonyms have no option “{name}”.", f"There are {known}.")
            if key == "private":
                made[key] = tuple(filter(None, (each.strip() for each in value.split(";"))))
            elif key in ("options", "allowed", "excluded"):
                made[key] = tuple(filter(None, re.split(r"[,\s]+", value)))
            else:
                made[key] = value
        return cls(**made)

    def to_dict(self) -> dict[str, Any]:
        """Return what the result depends on, as plain values."""
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value
            for name in self.__dataclass_fields__
        }

    @cached_property
    def actions(self) -> Mapping[int, Action]:
        """Tag → what happens to it; attributes of the dictionary that are not here stay."""
        from pydicom._dicom_dict import DicomDictionary

        found = dict(self.table)
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
            if tag not in found and (action := self._beyond(vr[:2], keyword)) is not None:
                found[tag] = action
        return found

    def _beyond(self, vr: str, keyword: str) -> Action | None:
        """Return what happens to an attribute that may identify somebody though it is not in the table."""
        if vr in _SPOKEN or keyword in _PERSONAL:
            return "remove"
        if vr == "UI" and "retain-uids" not in self.options:
            return None if any(each in keyword for each in _OF_KINDS) else "uid"
        if vr in ("DA", "DT") and self.dates != "keep":
            return "shift" if self.dates == "shift" else "empty"
        return None

    @cached_property
    def table(self) -> Mapping[int, Action]:
        """Tag → what happens to it, for the attributes of the standard's table."""
        from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table

        found: dict[int, Action] = {}
        for name, action in _ACTIONS.items():
            for tag in getattr(table, name):
                if len(tag) == 2:  # groups of overlays and curves go as a whole
                    found[tag[0] << 16 | tag[1]] = action
        for option in self.options:
            found |= dict.fromkeys(OPTIONS[option][0] & found.keys(), "keep")
        if self.dates != "remove":
            changed: Action = "shift" if self.dates == "shift" else "keep"
            found |= dict.fromkeys(columns.DATES & found.keys(), changed)
        return found

    def keeps(self, group: int, element: int, creator: str) -> bool:
        """Whether a private element stays; `element` is its last byte."""
        return (group, element, creator) in self._private_entries

    @property
    def has_private(self) -> bool:
        """Whether any private element stays."""
        return bool(self._private_entries)

    @property
    def codes(self) -> list[tuple[str, str]]:
        """Codes and meanings of what was done, as in PS3.16, CID 7050."""
        found = [_BASIC, *(OPTIONS[each][1:] for each in OPTIONS if each in self.options)]
        found += [_PRIVATE] if self.has_private else []
        of_dates = _OF_DATES[self.dates][0]
        return [*found, *([of_dates] if of_dates else [])]

    @property
    def longitudinal(self) -> str:
        """The value of LongitudinalTemporalInformationModified."""
        return _OF_DATES[self.dates][1]

    @cached_property
    def _private_entries(self) -> frozenset[tuple[int, int, str]]:
        found = set()
        for entry in self.private:
            match = _PRIVATE_ENTRY.fullmatch(entry.strip())
            if match is None or not int(match[1], 16) & 1:
                raise SelectionError(
                    entry,
                    f"“{entry}” is no private element; nothing was started.",
                    "Write them like “0019,xx0C SIEMENS MR HEADER”.",
                )
            found.add((int(match[1], 16), int(match[2], 16), match[3].strip()))
        return frozenset(found)


def check_text(value: str) -> None:
    """Refuse what an attribute of identification could not hold.

    Raises
    ------
    SelectionError
        If it cannot.
    """
    is_fine = value.isascii() and value.isprintable() and not set(value) & set("\\*?") and len(value) <= 64
    if not is_fine or value != value.strip():
        raise SelectionError(
            value[:70],
            f"“{value[:70]}” can be no pseudonym: it has at most 64 characters of ASCII, without a backslash,"
            " * or ?, and no blank at its ends.",
        )


def private_of(paths: Iterable[Path]) -> tuple[str, ...]:
    """Read private elements that stay from files, one a line; ``#`` begins a comment.

    Raises
    ------
    SelectionError
        If a file cannot be read.
    """
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SelectionError(str(path), f"{path} cannot be read: {error}; nothing was started.") from None
        found += [text for line in lines if (text := line.partition("#")[0].strip())]
    return tuple(found)
