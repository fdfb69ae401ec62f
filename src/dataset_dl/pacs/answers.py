"""What archives answer: statuses of DIMSE (PS3.7, annex C; PS3.4, annexes B and C)."""

from __future__ import annotations

from typing import NamedTuple

SUCCESS = 0x0000
PENDING = (0xFF00, 0xFF01)
OUT_OF_RESOURCES, CANNOT_UNDERSTAND, NOT_AUTHORISED = 0xA700, 0xC000, 0x0124


class Answer(NamedTuple):
    """How a request for an instance ended.

    Attributes
    ----------
    status
        The status of the answer; None if it had none.
    words
        What the archive said.
    """

    status: int | None
    words: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether the archive has the instance, perhaps with a warning."""
        return self.status is not None and (self.status == SUCCESS or self.is_warning)

    @property
    def is_warning(self) -> bool:
        """Whether it was stored with a warning (PS3.4, B.2.3; PS3.7, C)."""
        return self.status is not None and (
            self.status >> 12 == 0xB or self.status in (0x0001, 0x0107, 0x0116)
        )

    @property
    def may_pass(self) -> bool:
        """Whether the reason may pass: the archive is full or busy, or has not answered."""
        return self.status is None or self.status >> 8 == 0xA7 or self.status == 0x0213

    def __str__(self) -> str:
        if self.status is None:
            return f"no answer: {self.words}" if self.words else "no answer"
        said = f": {self.words}" if self.words else ""
        return f"status {self.status:04X} ({_meaning(self.status)}){said}"


class Numbers(NamedTuple):
    """What C-GET or C-MOVE says in the end: a status, and how many went, failed, and had warnings."""

    status: int
    completed: int | None
    failed: int | None
    warning: int | None
    words: str


def _meaning(status: int) -> str:
    from pynetdicom.status import QR_MOVE_SERVICE_CLASS_STATUS, STORAGE_SERVICE_CLASS_STATUS

    known = STORAGE_SERVICE_CLASS_STATUS.get(status) or QR_MOVE_SERVICE_CLASS_STATUS.get(status)
    return " ".join(filter(None, known)) if known else "unknown"
