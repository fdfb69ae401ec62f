"""One file in place of another: what identifies is removed, emptied, replaced or moved in time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dataset_dl.pixels.identity import Identity
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms import elements
from dataset_dl.pseudonyms.elements import Buffer, encoded
from dataset_dl.pseudonyms.encodings import deflated, inflated, little, meta
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.pseudonyms.profile import Profile
from dataset_dl.pseudonyms.review import MODALITY, reason
from dataset_dl.pseudonyms.walking import Walk

METHOD = "PS3.15 Annex E by dataset-dl"
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED, _BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


class Held(NamedTuple):
    """A file that is held back for review, and why, as half a sentence."""

    reason: str


class Rewritten(NamedTuple):
    """A file with pseudonyms.

    Attributes
    ----------
    chunks
        Its bytes, in parts; some are views of the original.
    SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID, PatientID
        The new ones.
    Modality
        As it was.
    """

    chunks: Sequence[Buffer]
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    Modality: str


class Rewriter:
    """Rewrites files with a key and a profile.

    Parameters
    ----------
    key
        Where pseudonyms, UIDs and intervals come from.
    profile
        What happens to attributes.
    """

    def __init__(self, key: Key, profile: Profile) -> None:
        self.key = key
        self.profile = profile
        self._actions = profile.actions
        self._keeps_uids = "retain-uids" in profile.options

    def patient(self, patient_id: str, study: str) -> str:
        """Return whose a file is; without a PatientID its study stands in for the patient."""
        return patient_id or study

    def uid(self, uid: str) -> str:
        """Return the UID in place of another one of an instance, a series or a study."""
        return uid if self._keeps_uids else self.key.uid(uid)

    def rewrite(self, data: Buffer, identity: Identity, pseudonym: str = "") -> Rewritten | Held:
        """Return a file with pseudonyms, or why it is held back.

        Parameters
        ----------
        data
            The bytes of the original.
        identity
            Which instance it is.
        pseudonym
            The new PatientID; one by the key if empty.

        Raises
        ------
        Unreadable
            If it is not encoded as its transfer syntax says, or cut off.
        """
        syntax, begins_at = identity.TransferSyntaxUID, identity.begins_at
        body: Buffer = memoryview(data)[begins_at:]
        if syntax == _DEFLATED:
            body = inflated(body)
        elif syntax == _BIG:
            body, syntax = little(data), _EXPLICIT
        whose = self.patient(identity.PatientID, identity.StudyInstanceUID)
        patient = pseudonym or self.key.pseudonym(whose)
        is_implicit = syntax == _IMPLICIT
        walk = Walk(self.key, self.profile, self._actions, body, self.key.days(whose))
        try:
            found, end = walk.level(0, len(body), 0, is_implicit=is_implicit, is_dummy=False)
        except (struct.error, IndexError):
            raise Unreadable("it is cut off") from None
        if end != len(body):
            raise Unreadable("it is cut off")
        if why := reason(identity.SOPClassUID, walk.told, self.profile):
            return Held(why)
        for tag, vr, value in self._added(patient):
            found[tag] = [encoded(tag, vr, value, is_implicit=is_implicit)]
        found[0x00120064] = [self._codes(is_implicit=is_implicit)]
        chunks = [chunk for tag in sorted(found) for chunk in found[tag]]
        uid = self.uid(identity.SOPInstanceUID)
        before = meta(identity.SOPClassUID, uid, syntax)
        if syntax == _DEFLATED:
            chunks = [deflated(chunks)]
        return Rewritten(
            [before, *chunks],
            uid,
            self.uid(identity.StudyInstanceUID),
            self.uid(identity.SeriesInstanceUID),
            patient,
            walk.told.get(MODALITY, ""),
        )

    def _added(self, patient: str) -> Iterator[tuple[int, str, bytes]]:
        """Yield the elements that say who it is now, and what was done."""
        profile = self.profile
        yield 0x00100010, "PN", patient.encode()
        yield 0x00100020, "LO", patient.encode()
        yield 0x00120062, "CS", b"YES"
        yield 0x00120063, "LO", METHOD.encode()
        yield 0x00280303, "CS", profile.longitudinal.encode()
        if profile.trial_protocol_id:
            yield 0x00120020, "LO", profile.trial_protocol_id.encode()
        if profile.trial_protocol_name:
            yield 0x00120021, "LO", profile.trial_protocol_name.encode()

    def _codes(self, *, is_implicit: bool) -> bytes:
        items = b""
        for value, meaning in self.profile.codes:
            several = ((0x00080100, "SH", value), (0x00080102, "SH", "DCM"), (0x00080104, "LO", meaning))
            content = b"".join(
                encoded(tag, vr, told.encode(), is_implicit=is_implicit) for tag, vr, told in several
            )
            items += elements.item(content)
        return encoded(0x00120064, "SQ", items, is_implicit=is_implicit)
